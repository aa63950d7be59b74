"""The log marginal likelihood and its gradient: maximised by a fit, and sampled by slice sampling.

    log N(y | mu 1, C),   C = s K + v I   (Rasmussen & Williams 2006, eq. 5.8; gradient: eq. 5.9)

Notation     t (p,) = log l (d,), log s, log v, and with warping log a (d,), log b (d,);   mu is given or profiled out
             with a budget as last column its log l is log b, and t ends with log r, log q, log a (see learning_curves.py)
             G = alpha alpha' - C^-1, of which d value = 1/2 tr(G dC);   alpha = C^-1 (y - mu)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi

import numpy as np
from scipy.spatial.distance import squareform

from surrogates.columns import OFF, Columns
from surrogates.distances import Pairs
from surrogates.domain import Array, Domain
from surrogates.hyperparameters import Hyperparameters, kumaraswamy
from surrogates.kernels import KERNELS
from surrogates.learning_curves import PARAMETERS, Budgets
from surrogates.linalg import cholesky, inverse_upper, one_thread, solve_lower, subtract_outer


@dataclass(frozen=True, eq=False)
class MarginalLikelihood:
    """The value at t, with what its gradient is made of."""

    value: float
    gradient: Array  # (p,) with respect to t at fixed mu
    alpha: Array  # (n,)
    mean: float  # mu
    precision: float = float("nan")  # 1' C^-1 1, where mu was profiled out


class Likelihood:
    """log N(y | mu 1, C(t)) of features Z (n, d) and targets y (n,). budget: the last column is one."""

    def __init__(
        self, Z: Array, columns: Columns, y: Array, kernel: str, warped: bool = False, budget: bool = False
    ) -> None:
        self.Z, self.columns, self.y = Z, columns, y
        self.kernel, self.warped = KERNELS[kernel], warped
        self._budgets = Budgets(Z[:, -1]) if budget else None
        last = np.arange(Z.shape[1]) == Z.shape[1] - 1
        self._still = columns.categorical | (last & budget) | (Z == OFF)  # (n, d) what is never warped
        self._plain = None if warped else Pairs(Z, columns)  # with warping the pairs move with t

    def __call__(self, t: Array, mean: float | None = None, mean_prior: float = 1.0, slope: bool = True) -> MarginalLikelihood:
        """With mu given, or else at the mu that maximises log N(y | mu 1, C) + log N(mu | 0, mean_prior).

        Without slope the gradient, two thirds of the work, is left empty.
        """
        (n, d), y = self.Z.shape, self.y
        log_l, s, v = t[:d], exp(t[d]), exp(t[d + 1])
        decayed = None if self._budgets is None else self._budgets.at(np.append(t[d - 1], t[-PARAMETERS:]))
        if decayed is not None:
            log_l = np.append(t[: d - 1], np.inf)  # a budget is no part of a distance
        warp = kumaraswamy(self.Z, t[d + 2 : 2 * d + 2], t[2 * d + 2 : 3 * d + 2]) if self.warped else None
        Z = self.Z if warp is None else np.where(self._still, self.Z, warp[0])
        pairs = self._plain or Pairs(Z, self.columns)
        alone, steep = self.kernel(pairs.r2(log_l))
        k, steep, own = (alone, steep, 1.0) if decayed is None else decayed.covariance(alone, steep)
        L, _ = cholesky(square(s * k, s * own + v, n))
        precision = float("nan")
        if mean is None:
            ones = solve_lower(L, solve_lower(L, np.ones(n)), transposed=True)
            precision = float(ones.sum())
            mean = float(ones @ y) / (precision + 1.0 / mean_prior)
        r = y - mean
        alpha = solve_lower(L, solve_lower(L, r), transposed=True)
        value = -0.5 * float(r @ alpha) - float(np.log(np.diag(L)).sum()) - 0.5 * n * log(2 * pi)  # eq. 5.8
        if not slope:
            return MarginalLikelihood(value, np.zeros(0), alpha, mean, precision)
        G = subtract_outer(inverse_upper(L), alpha)  # -G of the head, of which the upper triangle means something
        trace, by_rows = -float(np.diag(G).sum()), -np.diag(G)
        g = squareform(G, checks=False) if n > 1 else np.zeros(0)
        by_r2 = np.multiply(g, steep, out=steep)
        by_r2 *= -s  # the weight of every pair's r2
        W, inverse = square(by_r2, 0.0, n), np.exp(-2.0 * log_l)
        lengths = -2.0 * inverse * pairs.sums(W, by_r2)
        whole = trace if decayed is None else float(by_rows @ own)
        scales = [s * (0.5 * whole - float(g @ k)), 0.5 * v * trace]
        more = [] if warp is None else self._bends(W, Z, pairs, warp[1:], inverse)
        if decayed is not None:
            lengths[-1], amounts = decayed.gradient(alone, -s * g, 0.5 * s * by_rows)
            more.append(amounts)
        return MarginalLikelihood(value, np.concatenate([lengths, scales, *more]), alpha, mean, precision)

    def _bends(self, W: Array, Z: Array, pairs: Pairs, moved: tuple[Array, Array], inverse: Array) -> list[Array]:
        """(d,) sums over pairs of W_ij d r2_ij / d log a_c and d log b_c; moved: (n, d) d w / d log a_c and d log b_c."""
        push = self.columns.pull(Z, pairs.E * W.sum(axis=1, keepdims=True) - W @ pairs.E)  # sum_j W_ij (e_i - e_j), by z_i
        return [2.0 * inverse * np.einsum("nd,nd->d", push, by) for by in moved]


def square(pairs: Array, diagonal: float | Array, n: int) -> Array:
    """The symmetric (n, n) matrix of pairs i < j with a diagonal that is constant or (n,)."""
    C = squareform(pairs, checks=False) if n > 1 else np.zeros((n, n))
    C[np.diag_indices(n)] = diagonal
    return np.asarray(C)


@one_thread
def log_marginal_likelihood(X: Array, y: Array, domain: Domain, theta: Hyperparameters) -> tuple[float, Array]:
    """log N(y | mu, C) and its gradient in the order and with the length of theta.to_list()."""
    d = domain.d
    given, y = np.array(theta.to_list()), np.asarray(y, dtype=float)
    features, warped = domain.features(X), bool(theta.log_warp)
    likelihood = Likelihood(features, domain.columns, y, theta.kernel, warped, domain.has_budget)
    found = likelihood(np.delete(given, d + 2), theta.mean)
    return found.value, np.insert(found.gradient, d + 2, found.alpha.sum())
