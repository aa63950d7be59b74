"""Expected hypervolume improvement: by how much the dominated volume grows, for any number of objectives.

What is not dominated is cut into disjoint boxes (pareto.boxes). With independent objectives a box contributes a product,

    E[HVI(x)] = sum over boxes prod_i (psi_i(high_i) - psi_i(low_i)),   psi_i(e) = E[(e - f_i(x))+] = sd_i h((e - mean_i) / sd_i)

exactly: for two objectives these are strips (Yang, Emmerich, Deutz, Baeck 2019, "Multi-objective Bayesian global
optimization using expected hypervolume improvement gradient"), for more the cells of Couckuyt et al. 2014. M objectives
with k points on the front need about k^(M - 1) / (M - 1)! boxes. Fronts that need more than BOXES in all are thinned to
their best and most remote points, which changes nothing for two objectives: it begins at 89 points for three, at 28 for
four, and with 16 drawn fronts at 22 and 11.

In log space. Everything below a box's upper corner is not dominated either, so prod_i psi_i(high_i) is never more than
the whole sum: after division by the greatest of these products the sum is at least 1, and no difference can spoil it.

Notation     e  edges of boxes, one list an objective     g  number of the draw that an edge belongs to (0 without draws)
             means_i (m, q), sd_i (m,) of objective i     N  boxes, of all draws together
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from surrogates.acquisitions.context import Context
from surrogates.acquisitions.normal import log_h
from surrogates.acquisitions.pareto import boxes, pareto_front, reference_point, thin_front
from surrogates.domain import Array
from surrogates.gp import GaussianProcess
from surrogates.linalg import one_thread

BOXES = 4000
Moments = tuple[Array, Array]  # means (m, q) and sd (m,) of one objective


@dataclass(frozen=True)
class EHVI:
    """log of the expected hypervolume improvement on the front of posterior means at told and pending rows.

    Pending rows are hallucinated: they stand on the front at their mean, and are conditioned on.
    """

    log_scale: ClassVar[bool] = True
    several: ClassVar[bool] = True

    @one_thread
    def score(self, context: Context) -> EHVIScore:
        """Cuts what is not dominated into boxes."""
        means = np.column_stack([gp.mean(context.started_rows) for gp in context.gps])
        reference = reference_point(means) if context.reference is None else context.reference
        return EHVIScore(context.hallucinated_gps, Improvement([means], reference))


class EHVIScore:
    """The score of rows."""

    log_scale = True

    def __init__(self, gps: tuple[GaussianProcess, ...], improvement: Improvement) -> None:
        self.gps, self.improvement = gps, improvement

    def __call__(self, X: Array) -> Array:
        """(m,) log of the expected improvement."""
        found = [gp.moments(X) for gp in self.gps]
        return self.improvement([(mean[:, None], np.sqrt(variance)) for mean, variance in found])

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        found = [gp.predict_gradient(X) for gp in self.gps]
        value, by = self.improvement.gradient([(mean[:, None], np.sqrt(variance)) for mean, variance, _, _ in found])
        slope = np.zeros(np.shape(X))
        for (_, variance, d_mean, d_variance), (by_means, by_sd) in zip(found, by, strict=True):
            slope += by_means * d_mean + (by_sd / (2.0 * np.sqrt(variance)))[:, None] * d_variance
        return value, slope


class Improvement:
    """log of the expected hypervolume improvement, averaged over q sets of points (k, M) with means of their own."""

    def __init__(self, fronts: Sequence[Array], reference: Array) -> None:
        M = len(reference)
        most = int((BOXES / len(fronts) * factorial(M - 1)) ** (1.0 / max(M - 1, 1)))
        kept = [pareto_front(front[(front < reference).all(axis=1)]) for front in fronts]
        cut = [boxes(thin_front(front, most), reference) for front in kept]
        draw = np.concatenate([np.full(len(low), j) for j, (low, _) in enumerate(cut)])
        low, high = (np.concatenate(corners) for corners in zip(*cut, strict=True))
        self.q = len(fronts)
        self.sides = [Side(draw, low[:, i], high[:, i], self.q) for i in range(M)]

    def __call__(self, moments: Sequence[Moments]) -> Array:
        """(m,) log of the mean over fronts."""
        top, scale, parts = self._boxes(self._psi(moments))
        return np.asarray(top + np.log((scale * np.prod(parts, axis=0)).sum(axis=1) / self.q))

    def gradient(self, moments: Sequence[Moments]) -> tuple[Array, list[Moments]]:
        """With its derivatives by every objective's means (m, q) and sd (m,)."""
        psi = self._psi(moments)
        top, scale, parts = self._boxes(psi)
        total = (scale * np.prod(parts, axis=0)).sum(axis=1)
        scale = scale / total[:, None]
        derivatives = []
        for i, (side, p) in enumerate(zip(self.sides, psi, strict=True)):
            others = scale * np.prod([part for j, part in enumerate(parts) if j != i], axis=0)
            derivatives.append(p.pull(side, others))
        return np.asarray(top + np.log(total / self.q)), derivatives

    def _psi(self, moments: Sequence[Moments]) -> list[Psi]:
        return [side.psi(*moment) for side, moment in zip(self.sides, moments, strict=True)]

    def _boxes(self, psi: list[Psi]) -> tuple[Array, Array, list[Array]]:
        """top (m,), scale (m, N) and for every objective parts (m, N): a box gives e^top scale times all its parts.

        scale is prod_i psi_i(high_i), relative to the greatest of them; a part is 1 - psi_i(low_i) / psi_i(high_i).
        """
        logs = np.sum([np.take(p.log, side.high, axis=1) for side, p in zip(self.sides, psi, strict=True)], axis=0)
        top = logs.max(axis=1)
        return top, np.exp(logs - top[:, None]), [1.0 - p.ratio(side) for side, p in zip(self.sides, psi, strict=True)]


class Side:
    """The edges (E,) that the boxes' bounds in one objective take, with the draw that each belongs to."""

    def __init__(self, draw: np.ndarray, low: Array, high: Array, q: int) -> None:
        pairs = np.column_stack([np.concatenate([draw, draw]), np.concatenate([low, high])])
        edges, number = np.unique(pairs, axis=0, return_inverse=True)
        number = np.reshape(number, (2, -1))
        self.low, self.high = number[0], number[1]  # (N,) numbers of edges
        self.draw, self.edge = edges[:, 0].astype(int), edges[:, 1]
        one, N, E = np.ones(len(low)), np.arange(len(low)), len(edges)
        self.to_low = csr_array((one, (self.low, N)), shape=(E, len(low)))
        self.to_high = csr_array((one, (self.high, N)), shape=(E, len(low)))
        self.to_draw = csr_array((np.ones(E), (self.draw, np.arange(E))), shape=(q, E))

    def psi(self, means: Array, sd: Array) -> Psi:
        """At means (m, q) and sd (m,)."""
        finite = np.isfinite(self.edge)
        z = (np.where(finite, self.edge, 0.0) - np.take(means, self.draw, axis=1)) / sd[:, None]
        value, first, second = log_h(z)
        return Psi(np.where(finite, np.log(sd)[:, None] + value, -np.inf), -first / sd[:, None], second / sd[:, None])


@dataclass(frozen=True, eq=False)
class Psi:
    """log psi (m, E) at the edges of one objective, and its derivatives by the edge's mean and by sd."""

    log: Array
    by_mean: Array
    by_sd: Array

    def ratio(self, side: Side) -> Array:
        """(m, N) psi(low) / psi(high) of every box, at most 1."""
        return np.minimum(np.exp(np.take(self.log, side.low, axis=1) - np.take(self.log, side.high, axis=1)), 1.0)

    def pull(self, side: Side, weights: Array) -> Moments:
        """Derivatives by means (m, q) and sd (m,) of sum_N weights (m, N) (psi(high) - psi(low)) / psi(high)."""
        share = (side.to_high @ weights.T - side.to_low @ (weights * self.ratio(side)).T).T  # (m, E)
        return (side.to_draw @ (share * self.by_mean).T).T, (share * self.by_sd).sum(axis=1)
