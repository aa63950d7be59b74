"""What is fitted: length scales, output scale, noise, mean; a warping of the inputs where it is asked for, and the decay
of learning curves where the last column is a budget (see learning_curves.py).

Input warping (Snoek et al. 2014, with the Kumaraswamy distribution that BoTorch and HEBO use too):

    w(x) = 1 - (1 - x^a)^b,   a, b > 0,   on [0, 1]

takes a column in which the loss changes fast at one end to one in which it changes evenly. a = b = 1 changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from surrogates.columns import OFF, Array, Mask
from surrogates.kernels import KERNELS
from surrogates.learning_curves import PARAMETERS, Decay

EDGE = 1e-6  # positions are kept this far from 0 and 1, where the slope of w can be infinite


@dataclass(frozen=True)
class Hyperparameters:
    """All that a log needs to rebuild a posterior bit for bit."""

    log_lengthscales: tuple[float, ...]  # (d,); that of a budget is log b
    log_outputscale: float  # log s
    log_noise: float  # log v
    mean: float  # mu
    kernel: str = "matern52"
    log_warp: tuple[float, ...] = ()  # (2d,) log a of every column, then log b; () for none
    log_decay: tuple[float, ...] = ()  # log r, log q, log a of a budget; () without one

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel {self.kernel!r} is not one of {', '.join(KERNELS)}")
        if len(self.log_warp) not in (0, 2 * len(self.log_lengthscales)):
            came, d = len(self.log_warp), len(self.log_lengthscales)
            raise ValueError(f"{came} warping parameters do not fit {d} columns: allowed are 0 and {2 * d}")
        if len(self.log_decay) not in (0, PARAMETERS):
            raise ValueError(f"{len(self.log_decay)} parameters of a decay came: allowed are 0 and {PARAMETERS}")

    @cached_property
    def log_l(self) -> Array:
        """(d,) log length scales as an array; infinite at a budget, which is no part of a distance."""
        found = np.array(self.log_lengthscales, dtype=float)
        if self.log_decay:
            found[-1] = np.inf
        return found

    @cached_property
    def decay(self) -> Decay | None:
        """What budgets do; None without one."""
        return Decay.of(np.array([self.log_lengthscales[-1], *self.log_decay])) if self.log_decay else None

    def to_list(self) -> list[float]:
        """d + 3 floats: log length scales, log output scale, log noise, mean; with warping 2d more: log a, log b; with a
        budget 3 more.

        JSON keeps every bit of them.
        """
        plain = [*self.log_lengthscales, self.log_outputscale, self.log_noise, self.mean]
        return [*plain, *self.log_warp, *self.log_decay]

    @staticmethod
    def count(d: int, warped: bool = False, budget: bool = False) -> int:
        """How many floats to_list has for d columns."""
        return d + 3 + 2 * d * warped + PARAMETERS * budget

    @classmethod
    def from_list(
        cls, values: Sequence[float], kernel: str = "matern52", warped: bool = False, budget: bool = False
    ) -> Hyperparameters:
        """The inverse of to_list. ValueError with a number of values that cannot be."""
        none = cls.count(0, warped, budget)
        d = (len(values) - none) // (3 if warped else 1)
        if d < int(budget) or cls.count(d, warped, budget) != len(values):
            allowed = f"{none} and 3 for every column" if warped else f"at least {none + budget}"
            raise ValueError(f"{len(values)} values cannot be hyperparameters: allowed are {allowed}")
        floats = [float(value) for value in values]
        outputscale, noise, mean = floats[d : d + 3]
        end = len(floats) - PARAMETERS * budget
        return cls(tuple(floats[:d]), outputscale, noise, mean, kernel, tuple(floats[d + 3 : end]), tuple(floats[end:]))

    def warp(self, Z: Array, unwarped: Mask) -> Array:
        """Features (n, d) as the kernel sees them; `unwarped` columns (domain.never_warped) and what is off stay."""
        if not self.log_warp:
            return Z
        log_a, log_b = np.array(self.log_warp).reshape(2, -1)
        return np.where(unwarped | (Z == OFF), Z, kumaraswamy(Z, log_a, log_b)[0])

    def stretch(self, Z: Array, unwarped: Mask) -> Array:
        """dw/dx (n, d) at features Z that are not warped yet: what a derivative with respect to w is multiplied by.

        0 at unwarped columns. Only where there is a warping.
        """
        log_a, log_b = np.array(self.log_warp).reshape(2, -1)
        log_x, _, log_rest = _logs(Z, np.exp(log_a))
        slope = np.exp(log_a + log_b + (np.exp(log_a) - 1.0) * log_x + (np.exp(log_b) - 1.0) * log_rest)
        return np.where(unwarped, 0.0, slope)


def kumaraswamy(Z: Array, log_a: Array, log_b: Array) -> tuple[Array, Array, Array]:
    """w(Z), dw / d log a, dw / d log b, all (n, d). Z is clipped to [EDGE, 1 - EDGE]."""
    a, b = np.exp(log_a), np.exp(log_b)
    log_x, power, log_rest = _logs(Z, a)
    rest = np.exp(b * log_rest)  # (1 - x^a)^b
    by_a = b * np.exp((b - 1.0) * log_rest) * power * log_x * a
    return -np.expm1(b * log_rest), by_a, -rest * log_rest * b


def _logs(Z: Array, a: Array) -> tuple[Array, Array, Array]:
    """log x, x^a and log(1 - x^a), all (n, d), at positions x that are kept away from 0 and 1.

    1 - x^a is taken from whichever of x^a and a log x is small: near an edge the other has few of its digits left.
    """
    log_x = np.log(np.clip(Z, EDGE, 1.0 - EDGE))
    power = np.exp(a * log_x)
    with np.errstate(divide="ignore"):  # log1p(-1), where a log x is the one that is taken
        log_rest = np.where(power < 0.5, np.log1p(-power), np.log(-np.expm1(a * log_x)))
    return log_x, power, log_rest
