"""The posterior in 40 digits, from the definition: which of two float64 answers that differ is nearer to the truth.

Row by row and one multiplication at a time, hence for few rows only: half a second for 50.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from experiments.exactness.formulas import formula_of
from experiments.exactness.measure import Problem
from surrogates.columns import ARC, OFF
from surrogates.domain import Array

Rows = Any  # an array of mpmath numbers: dtype object


def posterior_in_digits(p: Problem) -> tuple[Array, Array, float]:
    """Mean and variance of f at the rows asked about, and the log marginal likelihood; rounded to float64 at the end."""
    with mpmath.workdps(40):
        A, B = exact_digits(p.domain.features(p.X)), exact_digits(p.domain.features(p.asked))
        v, n = mpmath.exp(p.theta.log_noise), len(A)
        L = cholesky_in_digits(covariance_in_digits(p, A, A) + v * np.eye(n, dtype=int))
        right = np.column_stack([covariance_in_digits(p, A, B), exact_digits(p.y) - mpmath.mpf(p.theta.mean)])
        for i in range(n):
            right[i] = (right[i] - L[i, :i] @ right[:i]) / L[i, i]
        V, r = right[:, :-1], right[:, -1]
        prior = np.array([covariance_in_digits(p, row[None], row[None])[0, 0] for row in B])
        mean, variance = mpmath.mpf(p.theta.mean) + r @ V, prior - (V * V).sum(axis=0)
        evidence = -(r @ r) / 2 - sum(mpmath.log(x) for x in np.diag(L)) - n * mpmath.log(2 * mpmath.pi) / 2
        return mean.astype(float), variance.astype(float), float(evidence)


def exact_digits(values: Array) -> Rows:
    """Exactly the doubles."""
    return np.vectorize(mpmath.mpf, otypes=[object])(values)


def covariance_in_digits(p: Problem, A: Rows, B: Rows) -> Rows:
    """(n, m) between features: s k (Rasmussen & Williams 2006, eq. 4.9, 4.17), and budgets (surrogates/learning_curves.py)."""
    gaps, on, both = A[:, None] - B[None], (A != OFF)[:, None], (B != OFF)[None]
    arcs = np.where(on & both, 2 - 2 * np.vectorize(mpmath.cos, otypes=[object])(ARC * gaps), on ^ both) / mpmath.mpf(ARC) ** 2
    optional = np.array([bool(parents) for parents in p.domain.parents], dtype=bool)
    squares = np.where(p.domain.categorical, gaps != 0, np.where(optional, arcs, gaps * gaps))
    scale = np.array([mpmath.exp(2 * mpmath.mpf(value)) for value in p.theta.log_lengthscales])
    s, numbers = mpmath.exp(p.theta.log_outputscale), p.domain.d - p.domain.has_budget  # a budget is no part of a distance
    k = np.vectorize(lambda r2: unit_kernel(p.theta.kernel, r2), otypes=[object])((squares / scale)[..., :numbers].sum(axis=-1))
    if not p.domain.has_budget:
        return s * k
    r, q, a = (mpmath.exp(mpmath.mpf(value)) for value in p.theta.log_decay)
    b = scale[-1] ** (mpmath.mpf(1) / 2)
    D = np.vectorize(lambda t, u: decay_covariance(t, u, a, b), otypes=[object])(A[:, None, -1], B[None, :, -1])
    return s * (k * (1 + r * D) + q * D)


def decay_covariance(t: Any, u: Any, a: Any, b: Any) -> Any:
    """E[(exp(-w t) - exp(-w)) (exp(-w u) - exp(-w))] for w ~ Gamma(a, rate b): D of surrogates/learning_curves.py."""
    return sum(sign * (b / (b + both)) ** a for sign, both in ((1, t + u), (-1, t + 1), (-1, u + 1), (1, mpmath.mpf(2))))


def unit_kernel(kernel: str, r2: Any) -> Any:
    """k(r2) of one number. ValueError for a kernel without a formula."""
    return formula_of(kernel).value(r2, lambda c: mpmath.sqrt(c * r2), mpmath.exp)


def cholesky_in_digits(C: Rows) -> Rows:
    """Lower factor (n, n), column by column."""
    L = 0 * C
    for j in range(len(C)):
        column = C[j:, j] - L[j:, :j] @ L[j, :j]
        L[j, j] = mpmath.sqrt(column[0])
        L[j + 1 :, j] = column[1:] / L[j, j]
    return L
