"""Acquisitions: how much a point is worth, given what the model believes. Minimisation, standardised targets.

An acquisition is a function f(posterior, incumbent) -> score, (m,); higher is better. posterior.mean and posterior.sd
are (m,) arrays; incumbent is the value to beat. `gradient` is optional: the scores and their derivatives with respect
to mean and sd. Without it, f is differentiated numerically in these two numbers (`Numerical`; exact enough, because the
model's own part of the chain rule stays analytic). For an f in torch operations, `Autograd(f)` uses torch's autograd;
it is never chosen by itself, because then a proposal would depend on what else is installed.

Notation     z = (incumbent - mean) / sd     phi, Phi  the normal density and distribution
             h(z) = phi(z) + z Phi(z)        EI = sd h(z)        R(z) = Phi(z) / phi(z), the Mills ratio of -z
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess

LOG_SQRT_2PI = 0.5 * log(2 * pi)
SD_FLOOR = 1e-12  # standardised targets; keeps scores and derivatives finite at sd = 0
FAR = -50.0  # below this z the series is more exact than the differences
Scores = tuple[Array, Array, Array]  # score, d score / d mean, d score / d sd, all (m,)


class Belief(Protocol):
    """What an acquisition reads: marginal means and standard deviations of f, without noise."""

    @property
    def mean(self) -> Array:
        """(m,)"""

    @property
    def sd(self) -> Array:
        """(m,)"""


@dataclass(frozen=True, eq=False)
class Normal:
    """A Belief."""

    mean: Array
    sd: Array


AcquisitionFunction = Callable[[Belief, float], Any]


@runtime_checkable
class Acquisition(Protocol):
    """A function f(posterior, incumbent) -> score that also knows its derivatives."""

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """(m,) scores, higher is better."""

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Scores (m,) with their derivatives with respect to mean (m,) and sd (m,)."""


# --- log h and its relatives ------------------------------------------------------------------------------------------


def mills(z: Array) -> Array:
    """R(z) = Phi(z) / phi(z) for z <= 0, without underflow."""
    return np.asarray(sqrt(pi / 2) * erfcx(-z / sqrt(2)))


def log_h(z: Array) -> tuple[Array, Array, Array]:
    """log h(z), Phi(z)/h(z) = d log h / dz, and phi(z)/h(z), to full relative accuracy at every z.

    Ament et al. 2023, "Unexpected improvements to expected improvement", eq. 9, with another third branch:
    z > -1        phi + z Phi as it stands, nothing cancels
    -50 < z <= -1 h / phi = 1 + z R, which loses 2 log10|z| digits, three at the worst
    z <= -50      h / phi = z^-2 (1 - 3 z^-2 + 15 z^-4 - 105 z^-6 + 945 z^-8 - ...), next term below 1e-13
    """
    z = np.asarray(z, dtype=float)
    value, first, second = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    near, far = z > -1.0, z <= FAR
    a = z[near]
    phi = np.exp(-0.5 * a * a - LOG_SQRT_2PI)
    h = phi + a * ndtr(a)
    value[near], first[near], second[near] = np.log(h), ndtr(a) / h, phi / h
    b = z[~near]
    q = np.where(far[~near], _far_ratio(b), 1.0 + np.maximum(b, FAR) * mills(b))  # h / phi
    value[~near], first[~near], second[~near] = np.log(q) - 0.5 * b * b - LOG_SQRT_2PI, mills(b) / q, 1.0 / q
    return value, first, second


def _far_ratio(z: Array) -> Array:
    u = 1.0 / (z * z)
    return u * (1.0 - u * (3.0 - u * (15.0 - u * (105.0 - u * 945.0))))


def _z(posterior: Belief, incumbent: float) -> tuple[Array, Array]:
    sd = np.maximum(posterior.sd, SD_FLOOR)
    return (incumbent - posterior.mean) / sd, sd


# --- the built-in acquisitions ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogEI:
    """log E[max(incumbent - f, 0)]: expected improvement that never vanishes (Ament et al. 2023, eq. 8)."""

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """log sd + log h(z)."""
        return self.gradient(posterior, incumbent)[0]

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d/dmean = -Phi / (sd h); d/dsd = (h - z Phi) / (sd h) = phi / (sd h), with no difference taken."""
        z, sd = _z(posterior, incumbent)
        value, first, second = log_h(z)
        return np.log(sd) + value, -first / sd, second / sd


@dataclass(frozen=True)
class EI:
    """E[max(incumbent - f, 0)] (Jones et al. 1998, eq. 15), as exp(LogEI): underflows 37 sd away, LogEI does not."""

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """sd h(z)."""
        return np.exp(LogEI()(posterior, incumbent))

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d/dmean = -Phi; d/dsd = phi."""
        z, _ = _z(posterior, incumbent)
        return self(posterior, incumbent), -ndtr(z), np.exp(-0.5 * z * z - LOG_SQRT_2PI)


@dataclass(frozen=True)
class LogPI:
    """log P[f < incumbent - margin] (Kushner 1964). margin is in standardised units; without one PI never explores."""

    margin: float = 0.01

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """log Phi(z)."""
        return np.asarray(log_ndtr(_z(posterior, incumbent - self.margin)[0]))

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d/dmean = -1 / (sd R); d/dsd = -z / (sd R)."""
        z, sd = _z(posterior, incumbent - self.margin)
        below = 1.0 / mills(np.minimum(z, 0.0))
        above = np.exp(-0.5 * z * z - LOG_SQRT_2PI) / ndtr(np.maximum(z, 0.0))
        inverse = np.where(z < 0, below, above)  # phi / Phi
        return np.asarray(log_ndtr(z)), -inverse / sd, -z * inverse / sd


@dataclass(frozen=True)
class UCB:
    """The lower confidence bound, negated: sqrt(beta) sd - mean (Srinivas et al. 2010, eq. 6)."""

    beta: float = 4.0

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """Does not depend on the incumbent."""
        return sqrt(self.beta) * posterior.sd - posterior.mean

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Constants."""
        ones = np.ones_like(posterior.mean)
        return self(posterior, incumbent), -ones, sqrt(self.beta) * ones


ACQUISITIONS: dict[str, Acquisition] = {"logei": LogEI(), "ei": EI(), "pi": LogPI(), "ucb": UCB()}


# --- anybody's acquisition ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numerical:
    """f with derivatives by central differences in mean and sd: four more calls of f, error about 1e-9 relative.

    f must treat its m points independently.
    """

    f: AcquisitionFunction
    step: float = 1e-5  # about eps^(1/3), times the scale of the argument

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """f itself."""
        return np.asarray(self.f(posterior, incumbent), dtype=float)

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Steps are a fraction of sd: that is the scale on which f changes, and it keeps sd positive."""
        mean, sd = posterior.mean, np.maximum(posterior.sd, SD_FLOOR)
        h = self.step * sd
        d_mean = (self(Normal(mean + h, sd), incumbent) - self(Normal(mean - h, sd), incumbent)) / (2 * h)
        d_sd = (self(Normal(mean, sd + h), incumbent) - self(Normal(mean, sd - h), incumbent)) / (2 * h)
        return self(posterior, incumbent), d_mean, d_sd


@dataclass(frozen=True)
class Autograd:
    """f, written in torch operations, with derivatives by torch's autograd."""

    f: AcquisitionFunction

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """f on tensors, back as an array."""
        return self.gradient(posterior, incumbent)[0]

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """One forward and one backward pass in float64."""
        import torch  # here: only who asks for autograd pays for it

        mean = torch.tensor(posterior.mean, dtype=torch.float64, requires_grad=True)
        sd = torch.tensor(np.maximum(posterior.sd, SD_FLOOR), dtype=torch.float64, requires_grad=True)
        score = self.f(cast(Belief, Normal(cast(Array, mean), cast(Array, sd))), incumbent)
        slopes = torch.autograd.grad(score.sum(), (mean, sd), allow_unused=True)
        d_mean, d_sd = (np.zeros(len(mean)) if slope is None else slope.numpy() for slope in slopes)
        return score.detach().numpy(), d_mean, d_sd


def acquisition(chosen: str | Acquisition | AcquisitionFunction) -> Acquisition:
    """An Acquisition from a name, an Acquisition, or any f(posterior, incumbent). ValueError for an unknown name."""
    if isinstance(chosen, str):
        if chosen not in ACQUISITIONS:
            raise ValueError(f"acquisition {chosen!r} is not one of {', '.join(ACQUISITIONS)}")
        return ACQUISITIONS[chosen]
    return chosen if isinstance(chosen, Acquisition) else Numerical(chosen)


@dataclass(frozen=True, eq=False)
class Score:
    """An acquisition as a function of rows X (m, d): what the maximiser climbs. Scores that are NaN become -inf."""

    gp: GaussianProcess
    acquisition: Acquisition
    incumbent: float

    @property
    def domain(self) -> Domain:
        """The domain of the rows."""
        return self.gp.domain

    def __call__(self, X: Array) -> Array:
        """(m,) scores."""
        mean, variance = self.gp.predict(X)
        score = np.asarray(self.acquisition(Normal(mean, np.sqrt(variance)), self.incumbent), dtype=float)
        return np.where(np.isnan(score), -np.inf, score)

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """(m,) scores and their derivatives (m, d) with respect to the rows."""
        mean, variance, d_mean, d_variance = self.gp.predict_gradient(X)
        sd = np.sqrt(variance)
        score, by_mean, by_sd = self.acquisition.gradient(Normal(mean, sd), self.incumbent)
        return np.asarray(score), by_mean[:, None] * d_mean + (by_sd / (2.0 * sd))[:, None] * d_variance
