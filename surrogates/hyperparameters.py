"""What is fitted: length scales, output scale, noise, mean, and the warping of the inputs where it is asked for.

Input warping (Snoek et al. 2014, with the Kumaraswamy distribution that BoTorch and HEBO use too):

    w(x) = 1 - (1 - x^a)^b,   a, b > 0,   on [0, 1]

takes a column in which the loss changes fast at one end to one in which it changes evenly. a = b = 1 changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from surrogates.domain import Array, Mask
from surrogates.kernels import KERNELS

EDGE = 1e-6  # positions are kept this far from 0 and 1, where the slope of w can be infinite


@dataclass(frozen=True)
class Hyperparameters:
    """All that a log needs to rebuild a posterior bit for bit."""

    log_lengthscales: tuple[float, ...]  # (d,)
    log_outputscale: float  # log s
    log_noise: float  # log v
    mean: float  # mu
    kernel: str = "matern52"
    log_warp: tuple[float, ...] = ()  # (2d,) log a of every column, then log b; () for none

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel {self.kernel!r} is not one of {', '.join(KERNELS)}")
        if len(self.log_warp) not in (0, 2 * len(self.log_lengthscales)):
            came, d = len(self.log_warp), len(self.log_lengthscales)
            raise ValueError(f"{came} warping parameters do not fit {d} columns: allowed are 0 and {2 * d}")

    @cached_property
    def log_l(self) -> Array:
        """(d,) log length scales as an array."""
        return np.array(self.log_lengthscales, dtype=float)

    def to_list(self) -> list[float]:
        """d + 3 floats: log length scales, log output scale, log noise, mean; with warping 2d more: log a, log b.

        JSON keeps every bit of them.
        """
        return [*self.log_lengthscales, self.log_outputscale, self.log_noise, self.mean, *self.log_warp]

    @classmethod
    def from_list(cls, values: Sequence[float], kernel: str = "matern52", warped: bool = False) -> Hyperparameters:
        """The inverse of to_list. ValueError with a number of values that cannot be."""
        d = (len(values) - 3) // 3 if warped else len(values) - 3
        if d < 0 or (warped and len(values) != 3 * d + 3):
            allowed = "3 and 3 for every column" if warped else "at least 3"
            raise ValueError(f"{len(values)} values cannot be hyperparameters: allowed are {allowed}")
        floats = [float(value) for value in values]
        outputscale, noise, mean = floats[d : d + 3]
        return cls(tuple(floats[:d]), outputscale, noise, mean, kernel, tuple(floats[d + 3 :]))

    def warp(self, Z: Array, categorical: Mask) -> Array:
        """Features (n, d) as the kernel sees them."""
        if not self.log_warp:
            return Z
        log_a, log_b = np.array(self.log_warp).reshape(2, -1)
        return np.where(categorical, Z, kumaraswamy(Z, log_a, log_b)[0])

    def unwarped_slope(self, W: Array, categorical: Mask) -> Array:
        """dw/dx (n, d) at warped features W: what a derivative with respect to W is multiplied by. 0 at categoricals."""
        log_a, log_b = np.array(self.log_warp).reshape(2, -1)
        a, b = np.exp(log_a), np.exp(log_b)
        rest = np.where(categorical, 0.5, 1.0 - W)  # (1 - x^a)^b
        power = 1.0 - rest ** (1.0 / b)  # x^a
        x = np.clip(power, 1e-300, 1.0) ** (1.0 / a)
        slope = a * b * power / x * rest ** (1.0 - 1.0 / b)
        return np.where(categorical, 0.0, slope)


def kumaraswamy(Z: Array, log_a: Array, log_b: Array) -> tuple[Array, Array, Array]:
    """w(Z), dw / d log a, dw / d log b, all (n, d). Z is clipped to [EDGE, 1 - EDGE]."""
    a, b, Z = np.exp(log_a), np.exp(log_b), np.clip(Z, EDGE, 1.0 - EDGE)
    log_x = np.log(Z)
    power = np.exp(a * log_x)  # x^a
    log_rest = np.log1p(-np.minimum(power, 1.0 - 1e-16))  # log(1 - x^a)
    rest = np.exp(b * log_rest)  # (1 - x^a)^b
    by_a = b * np.exp((b - 1.0) * log_rest) * power * log_x * a
    return 1.0 - rest, by_a, -rest * log_rest * b
