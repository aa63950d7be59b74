"""What an acquisition of the whole model gets, beyond each point's mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from surrogates.acquisitions.pareto import dominators
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess


@runtime_checkable
class ScoreFunction(Protocol):
    """How much rows are worth: what the maximiser climbs."""

    @property
    def log_scale(self) -> bool:
        """Whether scores are logarithms, so that terms may be added and worths averaged as exp(score)."""

    def __call__(self, X: Array) -> Array:
        """(m,) scores of the rows X (m, d), higher is better."""

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """(m,) scores and their derivatives (m, d); zero at categorical and inactive columns."""


@dataclass(frozen=True, eq=False)
class Context:
    """A study as an acquisition sees it. Everything is minimised; targets are standardised.

    gps        one posterior an objective, all over the same domain and without pending rows
    rows       (n, d) told rows, n >= 1, in the domain of the gps; at the horizon where the budget is a column
    pending    (p, d) rows in flight, p >= 0, at the budgets at which they will be told
    incumbent  the least posterior mean of the first objective among told rows: what marginal acquisitions beat
    seed       of everything random
    noisy      whether the targets are noisy enough for the noise to be integrated over ("auto" reads it)
    reference  (M,) a point that every useful result dominates; None: see pareto.reference_point
    """

    gps: tuple[GaussianProcess, ...]
    rows: Array
    pending: Array
    incumbent: float
    seed: int
    noisy: bool = False
    reference: Array | None = None

    def __post_init__(self) -> None:
        if not self.gps or len(self.rows) == 0:
            raise ValueError(f"{len(self.gps)} models and {len(self.rows)} told rows came; allowed are one or more of both")
        if self.reference is not None and np.shape(self.reference) != (len(self.gps),):
            came, M = np.shape(self.reference), len(self.gps)
            raise ValueError(f"a reference point of shape {came} came with {M} objectives; allowed is ({M},)")

    @property
    def gp(self) -> GaussianProcess:
        """The posterior of the only objective. ValueError with several."""
        if len(self.gps) != 1:
            raise ValueError(f"{len(self.gps)} objectives came to an acquisition of one; ehvi and nehvi take several")
        return self.gps[0]

    @property
    def hallucinated_gp(self) -> GaussianProcess:
        """The posterior of the only objective with pending rows taken as observed at their mean."""
        return self.gp.condition(self.pending) if len(self.pending) else self.gp

    @property
    def hallucinated_gps(self) -> tuple[GaussianProcess, ...]:
        """The posteriors of all objectives, with pending rows taken as observed at their mean (GaussianProcess.condition)."""
        return tuple(gp.condition(self.pending) for gp in self.gps) if len(self.pending) else self.gps

    @property
    def domain(self) -> Domain:
        """The domain of all rows."""
        return self.gps[0].domain

    @property
    def pending_rows(self) -> Array:
        """(p, d) the pending rows as candidates: at the horizon, not at the budgets that they are trained to."""
        return self.domain.at_horizon(np.reshape(self.pending, (-1, self.domain.d)))

    @property
    def started_rows(self) -> Array:
        """(n + p, d) told and pending rows, all at the horizon."""
        return np.concatenate([self.rows, self.pending_rows])

    def best_rows(self, most: int) -> Array:
        """(k, d) at most so many different told rows that may be the best, by mean and by lower bound in turn; best first.

        With several objectives a row comes before another if fewer rows dominate it.
        """
        rows = distinct(self.domain, self.rows)
        predictions = [gp.moments(rows) for gp in self.gps]
        means = np.column_stack([mean for mean, _ in predictions])
        low = means - 2.0 * np.sqrt(np.column_stack([variance for _, variance in predictions]))
        orders = [np.lexsort((values.sum(axis=1), dominators(values))) for values in (means, low)]
        in_turn = np.column_stack(orders).ravel()
        first = np.sort(np.unique(in_turn, return_index=True)[1])
        return np.asarray(rows[in_turn[first][:most]])


@runtime_checkable
class ModelAcquisition(Protocol):
    """An acquisition of a whole context: joint posteriors, several objectives, draws.

    It may say that it takes several objectives, or that its scores are draws (traits.py).
    """

    @property
    def log_scale(self) -> bool:
        """The score's log_scale."""

    def score(self, context: Context) -> ScoreFunction:
        """Everything that does not depend on the rows to be scored is computed here, once."""


def distinct(domain: Domain, rows: Array, besides: Sequence[bytes] = ()) -> Array:
    """The rows (k, d) without repetitions, and without those whose key is given."""
    seen, kept = set(besides), []
    for i, key in enumerate(domain.keys(rows) if len(rows) else []):
        if key not in seen:
            seen.add(key)
            kept.append(i)
    return np.reshape(rows, (-1, domain.d))[kept]
