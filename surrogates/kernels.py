"""Stationary kernels: functions of the distance between two rows, and the distribution of their frequencies.

    K_ij = s k(r_ij^2),   r^2 the scaled squared distance of distances.py, in some R^p

Every kernel here is a mixture of Gaussians, k(r2) = E[exp(-h^2 r2 / 2)] over a scale h > 0, and so positive definite on every
R^p (Schoenberg 1938). By Bochner's theorem frequencies of such a function are h times a standard normal vector (Rahimi & Recht
2007): functions drawn from the posterior (paths.py), and with them Thompson sampling, MES and KG, need the draws of h.

A kernel of your own is two functions, and one row of KERNELS:

    evaluate(r2)             (k, dk/dr2), both of the shape of r2; k(0) = 1
    draw_scales(rng, count)  (count,) draws of h

It is then a `kernel` of every GP and passes the tests of all kernels; stored results of other kernels do not get older.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from surrogates.columns import Array


@dataclass(frozen=True)
class Kernel:
    """A row of the table. See above for both functions."""

    evaluate: Callable[[Array], tuple[Array, Array]]
    draw_scales: Callable[[np.random.Generator, int], Array]

    def __call__(self, r2: Array) -> tuple[Array, Array]:
        """k and dk/dr2 at squared distances of any shape."""
        return self.evaluate(r2)


@dataclass(frozen=True)
class ChiScales:
    """h = sqrt(f / chi2_f), with which frequencies are multivariate t: a Matern kernel's, for f = 2 nu degrees of freedom."""

    freedom: float

    def __call__(self, rng: np.random.Generator, count: int) -> Array:
        """(count,)"""
        return np.asarray(np.sqrt(self.freedom / rng.chisquare(self.freedom, count)))


def unit_scales(rng: np.random.Generator, count: int) -> Array:
    """(count,) ones: the RBF kernel is a single Gaussian."""
    return np.ones(count)


def matern52(r2: Array) -> tuple[Array, Array]:
    """k = (1 + a + a^2/3) e^-a with a = sqrt(5 r2); Rasmussen & Williams 2006, eq. 4.17. dk/dr2 = -5/6 (1 + a) e^-a."""
    b = np.multiply(5.0, r2)  # in place from here on: the kernel is half the cost of a fit, and memory half of that
    np.sqrt(b, out=b)
    k = np.negative(b)
    np.exp(k, out=k)
    b += 1.0
    b *= k
    k *= r2
    k *= 5.0 / 3.0
    k += b
    b *= -5.0 / 6.0
    return k, b


def matern32(r2: Array) -> tuple[Array, Array]:
    """k = (1 + a) e^-a with a = sqrt(3 r2); Rasmussen & Williams 2006, eq. 4.17. dk/dr2 = -3/2 e^-a."""
    a = np.sqrt(3.0 * r2)
    e = np.exp(-a)
    return (1.0 + a) * e, -1.5 * e


def rbf(r2: Array) -> tuple[Array, Array]:
    """k = e^(-r2/2); Rasmussen & Williams 2006, eq. 4.9. dk/dr2 = -k/2."""
    k = np.exp(-0.5 * r2)
    return k, -0.5 * k


KERNELS: dict[str, Kernel] = {
    "matern52": Kernel(matern52, ChiScales(5.0)),
    "matern32": Kernel(matern32, ChiScales(3.0)),
    "rbf": Kernel(rbf, unit_scales),
}
