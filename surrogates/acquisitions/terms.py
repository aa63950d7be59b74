"""Terms that are added to a score on a log scale: cost, constraints, what the user believes.

    log EI(x) - cooling log cost(x) + sum_c log P[constraint c holds at x] + (beta / n) log prior(x)

is written  pibo(with_constraints(cost_aware(score, ...), ...), ...)  or as one Sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogates.acquisitions.context import ScoreFunction
from surrogates.acquisitions.normal import log_cdf
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess

STEP = 1e-6  # of central differences, on columns in [0, 1]


@dataclass(frozen=True, eq=False)
class Sum:
    """sum_i weights_i terms_i(x). ValueError when a term does not live on a log scale."""

    terms: Sequence[ScoreFunction]
    weights: Sequence[float]

    log_scale: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for term in self.terms:
            if not term.log_scale:
                raise ValueError(f"{term_name(term)} is not on a log scale: only logarithms may be added")
        if len(self.terms) != len(self.weights):
            raise ValueError(f"{len(self.terms)} terms came with {len(self.weights)} weights; allowed is one each")

    def __call__(self, X: Array) -> Array:
        """(m,)"""
        return np.sum([w * term(X) for w, term in zip(self.weights, self.terms, strict=True)], axis=0)

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        found = [term.gradient(X) for term in self.terms]
        value = np.sum([w * v for w, (v, _) in zip(self.weights, found, strict=True)], axis=0)
        return value, np.sum([w * slope for w, (_, slope) in zip(self.weights, found, strict=True)], axis=0)


def term_name(score: ScoreFunction) -> str:
    """The name of what is scored, for an error."""
    return type(getattr(score, "acquisition", score)).__name__


# --- what may be added ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Known:
    """A known function of rows that is a logarithm, f(X (m, d)) -> (m,): a cost model, a prior's log density.

    slope gives its derivatives (m, d); without it, central differences are taken in the float columns.
    """

    f: Callable[[Array], Array]
    domain: Domain
    slope: Callable[[Array], Array] | None = None

    log_scale: ClassVar[bool] = True

    def __call__(self, X: Array) -> Array:
        """(m,)"""
        return np.asarray(self.f(X), dtype=float)

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d), zero where they are not defined: where f is infinite, at inactive columns."""
        if self.slope is not None:
            return self(X), np.asarray(self.slope(X), dtype=float)
        slope = np.zeros(np.shape(X))
        for c in np.flatnonzero(self.domain.floats):
            up, down = np.array(X), np.array(X)
            up[:, c], down[:, c] = np.minimum(X[:, c] + STEP, 1.0), np.maximum(X[:, c] - STEP, 0.0)
            with np.errstate(invalid="ignore"):  # infinite on both sides
                rise = (self(up) - self(down)) / (up[:, c] - down[:, c])
            slope[:, c] = np.where(np.isfinite(rise), rise, 0.0)
        return self(X), slope


@dataclass(frozen=True, eq=False)
class PosteriorMean:
    """The posterior mean of a GP of some logarithm, such as log seconds: shift + scale * mean.

    shift and scale undo the standardisation of the GP's targets (transform.Standardised).
    """

    gp: GaussianProcess
    shift: float = 0.0
    scale: float = 1.0

    log_scale: ClassVar[bool] = True

    def __call__(self, X: Array) -> Array:
        """(m,)"""
        return np.asarray(self.shift + self.scale * self.gp.mean(X))

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        mean, _, d_mean, _ = self.gp.predict_gradient(X)
        return self.shift + self.scale * mean, self.scale * d_mean


@dataclass(frozen=True, eq=False)
class Feasibility:
    """log probability that every constraint c_i(x) <= bound_i holds: sum_i log Phi((bound_i - mean_i) / sd_i).

    Constraints are independent given x (Gardner et al. 2014). bounds are in the units of the GPs' targets.
    """

    gps: Sequence[GaussianProcess]
    bounds: Sequence[float]

    log_scale: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.gps) != len(self.bounds):
            raise ValueError(f"{len(self.gps)} constraints came with {len(self.bounds)} bounds; allowed is one each")

    def __call__(self, X: Array) -> Array:
        """(m,)"""
        total = np.zeros(len(X))
        for gp, bound in zip(self.gps, self.bounds, strict=True):
            mean, variance = gp.moments(X)
            total += log_cdf((bound - mean) / np.sqrt(variance))[0]
        return total

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        total, slope = np.zeros(len(X)), np.zeros(np.shape(X))
        for gp, bound in zip(self.gps, self.bounds, strict=True):
            mean, variance, d_mean, d_variance = gp.predict_gradient(X)
            sd = np.sqrt(variance)
            z = (bound - mean) / sd
            value, by_z = log_cdf(z)
            total += value
            slope -= (by_z / sd)[:, None] * d_mean + (by_z * z / (2.0 * variance))[:, None] * d_variance
        return total, slope


# --- how --------------------------------------------------------------------------------------------------------------


def cost_aware(score: ScoreFunction, log_cost: ScoreFunction, exponent: float = 1.0) -> Sum:
    """log(worth / cost^exponent): expected improvement per second (Snoek et al. 2012, section 3.2).

    An exponent that falls from 1 to 0 as the budget is spent is cost cooling (Lee et al. 2020, "Cost-aware Bayesian
    optimization").
    """
    return Sum((score, log_cost), (1.0, -exponent))


def with_constraints(score: ScoreFunction, feasibility: Feasibility, known: bool) -> ScoreFunction:
    """log(worth x probability of feasibility) (Schonlau et al. 1998; Gardner et al. 2014).

    known: whether a feasible point is known, whose value is the incumbent. If not, feasibility alone is worth anything
    (Gelbart et al. 2014).
    """
    return Sum((score, feasibility), (1.0, 1.0)) if known else feasibility


def pibo(score: ScoreFunction, log_prior: ScoreFunction, beta: float, n: int) -> Sum:
    """log(worth x prior(x)^(beta / n)): a belief about the optimum that fades with n results (Hvarfner 2022, eq. 6).

    beta is how many results the belief weighs; the paper takes a tenth of the study's budget. ValueError when n < 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}; allowed is a number of results of at least 1")
    return Sum((score, log_prior), (1.0, beta / n))
