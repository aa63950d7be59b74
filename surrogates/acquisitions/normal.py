"""Normal tails in log space, so that no acquisition underflows, overflows or takes a difference of equals.

Notation     phi, Phi  the normal density and distribution     R(z) = Phi(z) / phi(z), the Mills ratio of -z
             h(z) = phi(z) + z Phi(z)     E[(a - f)+] = sd h((a - mean) / sd)
"""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from surrogates.domain import Array

LOG_SQRT_2PI = 0.5 * log(2 * pi)
SD_FLOOR = 1e-12  # standardised targets; keeps scores and derivatives finite at sd = 0
FAR = -50.0  # below this z the series are more exact than the differences


def mills(z: Array) -> Array:
    """R(z) = Phi(z) / phi(z) for z <= 0, without underflow."""
    return np.asarray(sqrt(pi / 2) * erfcx(-z / sqrt(2)))


def density(z: Array) -> Array:
    """phi(z)."""
    return np.exp(-0.5 * z * z - LOG_SQRT_2PI)


def log_cdf(z: Array) -> tuple[Array, Array]:
    """log Phi(z) and its derivative phi / Phi, at every z."""
    slope = np.where(z < 0, 1.0 / mills(np.minimum(z, 0.0)), density(z) / ndtr(np.maximum(z, 0.0)))
    return np.asarray(log_ndtr(z)), slope


def log_h(z: Array) -> tuple[Array, Array, Array]:
    """log h(z), Phi(z)/h(z) = d log h / dz, and phi(z)/h(z), to full relative accuracy at every z.

    Ament et al. 2023, "Unexpected improvements to expected improvement", eq. 9, with another third branch:
    z > -1        phi + z Phi as it stands, nothing cancels
    -50 < z <= -1 h / phi = 1 + z R, which loses 2 log10|z| digits, three at the worst
    z <= -50      h / phi = z^-2 (1 - 3 z^-2 + 15 z^-4 - 105 z^-6 + 945 z^-8 - ...), next term below 1e-13
    """
    z = np.asarray(z, dtype=float)
    value, first, second = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    near = z > -1.0
    a = z[near]
    phi = density(a)
    h = phi + a * ndtr(a)
    value[near], first[near], second[near] = np.log(h), ndtr(a) / h, phi / h
    b = z[~near]
    R = mills(b)
    q = tail_ratio(b, R)
    value[~near], first[~near], second[~near] = np.log(q) - 0.5 * b * b - LOG_SQRT_2PI, R / q, 1.0 / q
    return value, first, second


def tail_ratio(z: Array, R: Array) -> Array:
    """h / phi = 1 + z R(z) for z <= 0, given R = mills(z)."""
    far = np.minimum(z, FAR)
    u = 1.0 / (far * far)
    return np.where(z <= FAR, u * (1.0 - u * (3.0 - u * (15.0 - u * (105.0 - u * 945.0)))), 1.0 + np.maximum(z, FAR) * R)


def log_mean_exp(values: Array) -> tuple[Array, Array]:
    """log of the mean of exp(values) over the last axis, and its derivatives by the values: weights that sum to 1."""
    top = values.max(axis=-1, keepdims=True)
    scaled = np.exp(values - top)
    total = scaled.sum(axis=-1, keepdims=True)
    return (top + np.log(total / values.shape[-1]))[..., 0], scaled / total
