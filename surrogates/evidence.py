"""The log marginal likelihood and its gradient: what a fit climbs and what a sampler of hyperparameters draws from.

    log N(y | mu 1, C),   C = s K + v I   (Rasmussen & Williams 2006, eq. 5.8; gradient: eq. 5.9)

Notation     t (p,) = log l (d,), log s, log v, and with warping log a (d,), log b (d,);   mu is given or profiled out
             G = alpha alpha' - C^-1, of which d value = 1/2 tr(G dC);   alpha = C^-1 (y - mu)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi

import numpy as np
from scipy.spatial.distance import squareform

from surrogates.domain import Array, Domain, Mask
from surrogates.hyperparameters import Hyperparameters, kumaraswamy
from surrogates.kernels import KERNELS, Pairs
from surrogates.linalg import cholesky, inverse_upper, one_thread, solve_lower, subtract_outer


@dataclass(frozen=True, eq=False)
class Evidence:
    """The value at t, with what its gradient is made of."""

    value: float
    gradient: Array  # (p,) with respect to t at fixed mu
    alpha: Array  # (n,)
    mean: float  # mu


class Likelihood:
    """log N(y | mu 1, C(t)) of features Z (n, d) and targets y (n,)."""

    def __init__(self, Z: Array, categorical: Mask, y: Array, kernel: str, warped: bool = False) -> None:
        self.Z, self.categorical, self.y = Z, categorical, y
        self.kernel, self.warped = KERNELS[kernel], warped
        self._plain = None if warped else Pairs(Z, categorical)  # with warping the pairs move with t

    def __call__(self, t: Array, mean: float | None = None, mean_prior: float = 1.0, slope: bool = True) -> Evidence:
        """With mu given, or else at the mu that maximises log N(y | mu 1, C) + log N(mu | 0, mean_prior).

        Without slope the gradient, two thirds of the work, is left empty.
        """
        (n, d), y = self.Z.shape, self.y
        log_l, s, v = t[:d], exp(t[d]), exp(t[d + 1])
        warp = kumaraswamy(self.Z, t[d + 2 : 2 * d + 2], t[2 * d + 2 :]) if self.warped else None
        pairs = self._plain if warp is None else Pairs(np.where(self.categorical, self.Z, warp[0]), self.categorical)
        assert pairs is not None
        k, steep = self.kernel(pairs.r2(log_l))
        L, _ = cholesky(square(s * k, s + v, n))
        if mean is None:
            ones = solve_lower(L, solve_lower(L, np.ones(n)), transposed=True)
            mean = float(ones @ y) / (float(ones.sum()) + 1.0 / mean_prior)
        r = y - mean
        alpha = solve_lower(L, solve_lower(L, r), transposed=True)
        value = -0.5 * float(r @ alpha) - float(np.log(np.diag(L)).sum()) - 0.5 * n * log(2 * pi)  # eq. 5.8
        if not slope:
            return Evidence(value, np.zeros(0), alpha, mean)
        G = subtract_outer(inverse_upper(L), alpha)  # -G of the head, of which the upper triangle means something
        trace = -float(np.diag(G).sum())
        g = squareform(G, checks=False) if n > 1 else np.zeros(0)
        by_r2 = np.multiply(g, steep, out=steep)
        by_r2 *= -s  # the weight of every pair's r2
        W, inverse = square(by_r2, 0.0, n), np.exp(-2.0 * log_l)
        lengths = -2.0 * inverse * pairs.sums(W, by_r2)
        scales = [s * (0.5 * trace - float(g @ k)), 0.5 * v * trace]
        bends = [] if warp is None else [self._bend(W, pairs, moved, inverse) for moved in warp[1:]]
        return Evidence(value, np.concatenate([lengths, scales, *bends]), alpha, mean)

    def _bend(self, W: Array, pairs: Pairs, moved: Array, inverse: Array) -> Array:
        """(d,) sum over pairs of W_ij d r2_ij / d log a_c (or log b_c), with `moved` (n, d) = d w / d log a_c."""
        found = np.zeros(len(inverse))
        columns = pairs.numeric
        push = pairs.Z * W.sum(axis=1, keepdims=True) - W @ pairs.Z  # sum_j W_ij (z_i - z_j)
        found[columns] = 2.0 * inverse[columns] * np.einsum("nd,nd->d", push, moved[:, columns])
        return found


def square(pairs: Array, diagonal: float, n: int) -> Array:
    """The symmetric (n, n) matrix of pairs i < j with a constant diagonal."""
    C = squareform(pairs, checks=False) if n > 1 else np.zeros((n, n))
    C[np.diag_indices(n)] = diagonal
    return np.asarray(C)


@one_thread
def log_marginal_likelihood(X: Array, y: Array, domain: Domain, theta: Hyperparameters) -> tuple[float, Array]:
    """log N(y | mu, C) and its gradient in the order of theta.to_list(): (d + 3,), with warping (3d + 3,)."""
    d = domain.d
    given, y = np.array(theta.to_list()), np.asarray(y, dtype=float)
    likelihood = Likelihood(domain.features(X), domain.categorical, y, theta.kernel, bool(theta.log_warp))
    found = likelihood(np.delete(given, d + 2), theta.mean)
    return found.value, np.insert(found.gradient, d + 2, found.alpha.sum())
