"""Marginal acquisitions: functions f(posterior, incumbent) -> score of the mean and standard deviation at each point.

posterior.mean and posterior.sd are (m,) arrays; incumbent is the value to beat. `gradient` is optional: the scores and
their derivatives with respect to mean and sd. Without it, f is differentiated numerically in these two numbers
(`Numerical`; exact enough, because the model's own part of the chain rule stays analytic). For an f in torch
operations, `Autograd(f)` uses torch's autograd; it is never chosen by itself, because then a proposal would depend on
what else is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from surrogates.acquisitions.tails import SD_FLOOR
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess

Scores = tuple[Array, Array, Array]  # score, d score / d mean, d score / d sd, all (m,)


class Belief(Protocol):
    """What a marginal acquisition reads: means and standard deviations of f, without noise."""

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
    """A function f(posterior, incumbent) -> score that also knows its derivatives.

    An attribute log_scale = True says that the score is the logarithm of a worth, so that terms may be added to it.
    """

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """(m,) scores, higher is better."""

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Scores (m,) with their derivatives with respect to mean (m,) and sd (m,)."""


def standardised(posterior: Belief, incumbent: float) -> tuple[Array, Array]:
    """z = (incumbent - mean) / sd and sd, both (m,), with sd kept away from zero."""
    sd = np.maximum(posterior.sd, SD_FLOOR)
    return (incumbent - posterior.mean) / sd, sd


@dataclass(frozen=True, eq=False)
class Score:
    """A marginal acquisition as a function of rows X (m, d): what the maximiser climbs. NaN scores become -inf."""

    gp: GaussianProcess
    acquisition: Acquisition
    incumbent: float

    @property
    def domain(self) -> Domain:
        """The domain of the rows."""
        return self.gp.domain

    @property
    def log_scale(self) -> bool:
        """Whether the score is the logarithm of a worth."""
        return bool(getattr(self.acquisition, "log_scale", False))

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


# --- anybody's acquisition --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numerical:
    """f with derivatives by central differences in mean and sd: four more calls of f, error about 1e-9 relative.

    f must treat its m points independently.
    """

    f: AcquisitionFunction
    step: float = 1e-5  # about eps^(1/3), times the scale of the argument
    log_scale: bool = False

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
    log_scale: bool = False

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
