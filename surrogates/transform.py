"""Targets for a Gaussian process: mean 0, variance 1, failures made finite, little effect of a diverged run.

With m the median and g = m - (10 % quantile) the spread of the good half, the knee is c = m + 3 g, and

    w(y) = y                            y <= c     the good side is never touched
    w(y) = c + g L(L((y - c) / g))      y > c      L(t) = log(1 + t); order kept, slope continuous

so that a run that diverged to 1e9 stands out by three g and one of 1e300 by seven, not by a billion. One logarithm is not
enough (experiments/LOG.md, 2026-11-22). Up to half of the results may have diverged before the good ones are squeezed.

A failure (inf, -inf or NaN) gets the worst finite w plus a tenth of the range of w. Then z = (w - mean) / sd.

Multiplying y by a power of two changes no bit of z: y is first scaled, by a power of two, to magnitudes below 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, sqrt

import numpy as np
from scipy.spatial.distance import cdist

from surrogates.columns import Array, Columns

KNEE = 3.0  # in units of the good half's spread; for normal targets 3.8 standard deviations above the median
MARGIN = 0.1  # of the range of w: how much worse a failure is than the worst result
WIDTH = 0.1  # a share of the diagonal of the unit cube: rows this near count as one another's neighbours
TIE = 16 * float(np.finfo(float).eps)  # relative differences below this are rounding


@dataclass(frozen=True, eq=False)
class Standardised:
    """z (n,) finite; y = shift + scale * z at and below the knee."""

    z: Array
    shift: float
    scale: float


def standardise(y: Array, power: bool = False, weights: Array | None = None) -> Standardised:
    """Robustly standardised targets (n,), lower is better; all equal or all failed gives z = 0 (n = 0 too).

    Where the finite values are all equal, failures get z = 1 before centring. power: z is then bent by the Yeo-Johnson
    transform that makes it most nearly normal, and standardised again (as HEBO does; Cowen-Rivers et al. 2022); shift and
    scale are those from before. weights (n,): how much every target counts in m, g, mean and sd; equally if None.
    """
    plain = _standardise(y, weights)
    return Standardised(_bent(plain.z), plain.shift, plain.scale) if power and len(plain.z) > 2 else plain


def _bent(z: Array) -> Array:
    """Yeo-Johnson with its most likely parameter, within [-2, 4] so that no tail is stretched out of proportion."""
    if np.ptp(z) == 0.0:
        return z
    from scipy.stats import yeojohnson, yeojohnson_normmax  # here, because importing it takes most of a second

    w = np.asarray(yeojohnson(z, float(np.clip(yeojohnson_normmax(z), -2.0, 4.0))))
    return np.asarray((w - w.mean()) / w.std())


def isolation(Z: Array, columns: Columns, most: int = 1000) -> Array:
    """(n,) one over the number of rows that lie where each of the features Z (n, d) lies: a crowd counts as one.

    Rows lie together as exp(-r^2 / (2 d WIDTH^2)), where two different choices are at distance 1. A search crowds where
    it found something good; weighted so, its results stand for the space again. Of more than `most` rows as many, evenly
    spaced, are counted for all the others.
    """
    n = len(Z)
    if n <= most:
        return np.asarray(1.0 / _together(Z, Z, columns).sum(axis=1))
    chosen = np.linspace(0, n - 1, most).round().astype(int)
    there = np.zeros(n, dtype=bool)
    there[chosen] = True
    others = np.concatenate([_together(Z[i : i + most], Z[chosen], columns).sum(axis=1) for i in range(0, n, most)]) - there
    return np.asarray(1.0 / (1.0 + np.maximum(others, 0.0) * (n - 1) / (most - there)))


def _together(A: Array, B: Array, columns: Columns) -> Array:
    """(m, n) how far each row of A (m, d) lies where each of B (n, d) does, from 0 to 1."""
    numbers, others = columns.embed(A), columns.embed(B)
    r2 = cdist(numbers, others, "sqeuclidean") if numbers.shape[1] else np.zeros((len(A), len(B)))
    for c in np.flatnonzero(columns.categorical):
        r2 += A[:, c, None] != B[:, c]
    return np.asarray(np.exp(-r2 / (2.0 * WIDTH**2 * max(A.shape[1], 1))))


def _standardise(y: Array, weights: Array | None) -> Standardised:
    y = np.asarray(y, dtype=float)
    good = np.isfinite(y)
    if not good.any():
        return Standardised(np.zeros(len(y)), 0.0, 1.0)
    exponent = frexp(float(np.abs(y[good]).max()))[1]
    w = np.full(len(y), np.nan)
    squeezed = _squeeze(np.ldexp(y[good], -exponent), None if weights is None else weights[good])
    second = frexp(float(np.abs(squeezed).max()))[1]  # again, because squeezing may have taken away 300 digits
    w[good], exponent = np.ldexp(squeezed, -second), exponent + second
    span = float(w[good].max() - w[good].min())
    tied = span <= TIE
    if tied and good.all():
        return Standardised(np.zeros(len(y)), float(y[0]), 1.0)
    if tied:
        w[good] = w[good][0]
    w[~good] = w[good].max() + (1.0 if tied else MARGIN * span)
    mean = float(np.average(w, weights=weights)) if weights is not None else float(w.mean())
    sd = sqrt(float(np.average((w - mean) ** 2, weights=weights))) if weights is not None else float(w.std())
    return Standardised((w - mean) / sd, _scaled(mean, exponent), _scaled(sd, exponent))


def _scaled(value: float, exponent: int) -> float:
    """value 2^exponent, or the largest float where the margin of a failure leads beyond it."""
    largest = float(np.finfo(float).max)
    with np.errstate(over="ignore"):
        return float(np.clip(np.ldexp(value, exponent), -largest, largest))


def _squeeze(y: Array, weights: Array | None) -> Array:
    """w(y) for finite y in [-1, 1]."""
    middle, low = (_quantile(y, weights, q) for q in (0.5, 0.1))
    spread, tie = middle - low, TIE * max(abs(middle), abs(low))
    if spread <= tie:  # half of the results tie at the best value
        differences = np.abs(y - middle)
        differences = differences[differences > tie]
        if len(differences) == 0:
            return y
        spread = float(np.median(differences))
    knee = middle + KNEE * spread
    beyond = np.clip(y - knee, 0.0, 1e300 * spread) / spread  # the quotient must not overflow
    return np.where(y > knee, knee + spread * np.log1p(np.log1p(beyond)), y)


def _quantile(y: Array, weights: Array | None, q: float) -> float:
    if weights is None:
        return float(np.quantile(y, q))
    order = np.argsort(y, kind="stable")
    total = np.cumsum(weights[order])
    return float(np.interp(q, (total - 0.5 * weights[order]) / total[-1], y[order]))
