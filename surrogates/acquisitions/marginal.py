"""Marginal acquisitions: functions f(posterior, incumbent) -> score of the mean and standard deviation at each point.

posterior.mean and posterior.sd are (m,) arrays; incumbent is the value to beat. `gradient` is optional: the scores and
their derivatives with respect to mean and sd. An f in torch operations is differentiated by autograd (`Autograd`), any
other one numerically in these two numbers (`Numerical`; exact enough, because the model's own part of the chain rule
stays analytic). adapt.py finds out which of them an f needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from surrogates.acquisitions.normal import SD_FLOOR
from surrogates.acquisitions.traits import is_logarithmic
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess

LEAST = 64  # units in the last place of a mean: the least step of differences
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

    It may have a log_scale (traits.py).
    """

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """(m,) scores, higher is better."""

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Scores (m,) with their derivatives with respect to mean (m,) and sd (m,)."""


def standardise_gap(posterior: Belief, incumbent: float) -> tuple[Array, Array]:
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
        return is_logarithmic(self.acquisition)

    def __call__(self, X: Array) -> Array:
        """(m,) scores."""
        mean, variance = self.gp.moments(X)
        came = call_read_only(self.acquisition, self.acquisition, mean, np.sqrt(variance), self.incumbent)
        score = check_scores(self.acquisition, "scores", came, len(X))
        return np.where(np.isnan(score), -np.inf, score)

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """(m,) scores and their derivatives (m, d) with respect to the rows."""
        mean, variance, d_mean, d_variance = self.gp.predict_gradient(X)
        sd = np.sqrt(variance)
        came = call_read_only(self.acquisition, self.acquisition.gradient, mean, sd, self.incumbent)
        names = ("scores", "derivatives by the mean", "derivatives by the sd")
        score, by_mean, by_sd = (check_scores(self.acquisition, *part, len(X)) for part in zip(names, came, strict=True))
        return score, by_mean[:, None] * d_mean + (by_sd / (2.0 * sd))[:, None] * d_variance


def check_scores(acquisition: Acquisition, name: str, came: Any, m: int) -> Array:
    """What an acquisition gave for m points, as an array (m,). ValueError for any other shape."""
    array = np.asarray(came, dtype=float)
    if array.shape != (m,):
        raise ValueError(f"acquisition {title(acquisition)} gave {name} of shape {array.shape} for {m} points; "
                         f"allowed is (m,), one a point")
    return array


class Written(ValueError):
    """An acquisition wrote into one of its arguments."""


def call_read_only(acquisition: Any, f: AcquisitionFunction, mean: Array, sd: Array, incumbent: float) -> Any:
    """f(posterior, incumbent), with arrays that cannot be written: differences and the chain rule read them again.

    acquisition: whose f it is. Written, in one sentence, where it tries to.
    """
    try:
        return f(Normal(read_only(mean), read_only(sd)), incumbent)
    except ValueError as error:
        if "read-only" not in str(error):  # numpy's words
            raise
        raise Written(f"acquisition {title(acquisition)} writes into posterior.mean or posterior.sd, which others read too; "
                      "allowed is to write into a copy, such as posterior.mean - incumbent makes") from error


def read_only(array: Array) -> Array:
    """The same numbers as a read-only array."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def title(acquisition: Any) -> str:
    """The name of a function, also inside of Numerical or Autograd; else that of the class."""
    f = getattr(acquisition, "f", acquisition)
    return str(getattr(f, "__qualname__", type(f).__name__))


# --- anybody's acquisition --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numerical:
    """f with derivatives by central differences in mean and sd, to fourth order: eight more calls of f.

    Steps are a fraction of sd: the scale on which f changes as a rule, and sd stays positive. Measured against the
    derivatives of log EI, EI and a confidence bound, from 6 sd above the incumbent to 3 below it, with means of about 1 and
    sds from 1 to 1e-7, the least that a model gives: relative errors are at most 1e-9 for log EI, and 1e-7 for all.

    f must treat its m points independently, and may not write into what it is given (`call_read_only`).
    """

    f: AcquisitionFunction
    step: float = 1e-3  # about eps^(1/5), times the sd
    log_scale: bool = False

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """f itself."""
        return np.asarray(call_read_only(self, self.f, posterior.mean, posterior.sd, incumbent), dtype=float)

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Where sd is tiny beside the mean, steps are so many units in the last place of the mean."""
        mean, sd = posterior.mean, np.maximum(posterior.sd, SD_FLOOR)
        step = np.maximum(self.step * sd, LEAST * np.spacing(np.abs(mean)))
        by_mean = _slope(lambda moved: self(Normal(moved, sd), incumbent), mean, step)
        by_sd = _slope(lambda moved: self(Normal(mean, moved), incumbent), sd, self.step * sd)
        return self(posterior, incumbent), by_mean, by_sd


def _slope(score: Callable[[Array], Array], centre: Array, step: Array) -> Array:
    """(m,) derivatives of scores at the centre (m,): (8 (s(h) - s(-h)) - (s(2h) - s(-2h))) / 12h."""
    h = (centre + step) - centre  # a number of units in the last place: centre + h is not rounded
    near, far = score(centre + h) - score(centre - h), score(centre + 2 * h) - score(centre - 2 * h)
    return np.asarray((8.0 * near - far) / (12.0 * h))


@dataclass(frozen=True)
class Autograd:
    """f, written in torch operations, with derivatives by torch's autograd."""

    f: AcquisitionFunction
    log_scale: bool = False

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """f on tensors, back as an array; without a backward pass."""
        import torch  # here: only who asks for autograd pays for it

        mean, sd = (cast(Array, torch.tensor(part, dtype=torch.float64)) for part in (posterior.mean, posterior.sd))
        with torch.no_grad():
            return np.asarray(self.f(Normal(mean, sd), incumbent))

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """One forward and one backward pass in float64."""
        import torch

        mean = torch.tensor(posterior.mean, dtype=torch.float64, requires_grad=True)
        sd = torch.tensor(np.maximum(posterior.sd, SD_FLOOR), dtype=torch.float64, requires_grad=True)
        score = self.f(Normal(cast(Array, mean), cast(Array, sd)), incumbent)
        slopes = torch.autograd.grad(score.sum(), (mean, sd), allow_unused=True)
        d_mean, d_sd = (np.zeros(len(mean)) if slope is None else slope.numpy() for slope in slopes)
        return score.detach().numpy(), d_mean, d_sd
