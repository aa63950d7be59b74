"""Exact Gaussian process with a constant mean and Gaussian noise, for minimisation over a Domain.

    y_i = f(x_i) + e_i,   f ~ GP(mu, s k),   e_i ~ N(0, v),   C = s K(X, X) + v I = L L'

Notation
    n, m, d   training rows, query rows, columns
    X (n, d)  encoded rows          Z (n, d)  their features, warped          y (n,)  standardised targets
    theta     Hyperparameters: log l (d,), log s, log v, mu, the name of the kernel, and a warping of the columns
              where the last column is a budget, what budgets add to s k (see learning_curves.py)
    alpha     C^-1 (y - mu), (n,)   L (n, n)  lower Cholesky factor of C   K* (n, m)  s k(X, X*)

Equation numbers: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning.
"""

from __future__ import annotations

from math import exp

import numpy as np

from surrogates.distances import contract_x, distances
from surrogates.domain import Array, Domain
from surrogates.hyperparameters import Hyperparameters
from surrogates.kernels import KERNELS
from surrogates.linalg import Factor, append_rows, one_thread, solve_lower

BLOCK = 2048  # rows whose mean is taken at once: a covariance of all of a large study's rows would take its square in memory
VARIANCE_FLOOR = 1e-14  # times s: rounding must not make a variance zero or negative


class GaussianProcess:
    """The posterior of f given (X, y) at fixed hyperparameters: a pure function of its four arguments.

    jitter: what had to be added to the diagonal of C for its Cholesky factor to exist (0.0 as a rule).
    """

    @one_thread
    def __init__(self, domain: Domain, X: Array, y: Array, theta: Hyperparameters) -> None:
        y = np.asarray(y, dtype=float)
        X = domain.rows_for(y, X)
        if len(theta.log_lengthscales) != domain.d:
            raise ValueError(f"{len(theta.log_lengthscales)} length scales do not fit {domain.d} columns")
        if domain.has_budget != (theta.decay is not None):
            raise ValueError("a decay belongs to a budget column, and every budget column needs one")
        if not np.isfinite(y).all():
            raise ValueError("targets must be finite: standardise them first")
        self.domain, self.theta = domain, theta
        self._s, self._v = exp(theta.log_outputscale), exp(theta.log_noise)
        self._log_l, self._kernel = theta.log_l, KERNELS[theta.kernel]
        self.Z = self.features(X)
        self._take(Factor.of(self._noisy(self.Z)), y)

    def _take(self, factor: Factor, y: Array) -> None:
        self._factor, self.L, self.jitter, self.y = factor, factor.L, factor.jitter, y
        self.alpha = solve_lower(self.L, solve_lower(self.L, y - self.theta.mean), transposed=True)

    def features(self, X: Array) -> Array:
        """What the kernel compares of the rows X (m, d): the domain's features, warped where theta says so."""
        return self.theta.warp(self.domain.features(X), self.domain.never_warped)

    def stretch(self, X: Array) -> Array:
        """(m, d), or (1, 1) without warping: how fast the features of rows X (m, d) move with the rows."""
        if not self.theta.log_warp:
            return np.ones((1, 1))
        return self.theta.stretch(self.domain.features(X), self.domain.never_warped)

    def _noisy(self, Z: Array) -> Array:
        C = self.covariance(Z, Z)[0]
        C[np.diag_indices(len(Z))] += self._v
        return C

    def covariance(self, A: Array, B: Array) -> tuple[Array, Array]:
        """s k and s dk/dr2, both (m, n), between features."""
        k, slope = self._kernel(distances(A, B, self._log_l, self.domain.columns))
        if self.theta.decay is not None:
            k, slope = self.theta.decay.covariance(k, slope, A[:, -1], B[:, -1])
        return self._s * k, self._s * slope

    def prior(self, A: Array) -> Array:
        """(m,) variance of f at features A (m, d) before anything was observed: s, and what a budget adds."""
        more = self.theta.decay.variance(A[:, -1]) if self.theta.decay is not None else np.zeros(len(A))
        return self._s + self._s * more

    @one_thread
    def mean(self, X: Array) -> Array:
        """(m,) the mean of `predict` alone, which costs O(n) a row where the variance costs O(n^2)."""
        A = self.features(X)
        if len(A) <= BLOCK:
            return np.asarray(self.theta.mean + self.covariance(A, self.Z)[0] @ self.alpha)
        parts = [self.covariance(A[i : i + BLOCK], self.Z)[0] @ self.alpha for i in range(0, len(A), BLOCK)]
        return np.asarray(self.theta.mean + np.concatenate(parts))

    @one_thread
    def moments(self, X: Array, noise: bool = False) -> tuple[Array, Array]:
        """`predict` without a check of the rows, for rows that are known to be legal; it is called often."""
        if len(X) > BLOCK:
            both = [self.moments(X[i : i + BLOCK], noise) for i in range(0, len(X), BLOCK)]
            return np.concatenate([mean for mean, _ in both]), np.concatenate([variance for _, variance in both])
        A = self.features(X)
        K = self.covariance(A, self.Z)[0]  # (m, n)
        mean = self.theta.mean + K @ self.alpha
        V = solve_lower(self.L, K.T)
        return mean, self.positive(self.prior(A) - np.einsum("nm,nm->m", V, V)) + (self._v if noise else 0.0)

    def predict(self, X: Array, noise: bool = False) -> tuple[Array, Array]:
        """Mean (m,) and variance (m,) of f at the rows X (m, d) (eq. 2.25, 2.26); of a new observation with noise.

        ValueError for rows outside of the domain.
        """
        self.domain.check(X, "X")
        return self.moments(X, noise)

    def positive(self, variance: Array) -> Array:
        """Variances that rounding has not made zero or negative."""
        return np.maximum(variance, VARIANCE_FLOOR * self._s)

    @one_thread
    def predict_gradient(self, X: Array) -> tuple[Array, Array, Array, Array]:
        """Mean (m,), variance (m,) of f, and their derivatives (m, d) with respect to the rows X (m, d).

        Zero at categorical, budget and inactive columns; at an int column the slope of the kernel through its levels.
        """
        A = self.features(X)
        K, slope = self.covariance(A, self.Z)
        V = solve_lower(self.L, K.T)  # (n, m)
        B = solve_lower(self.L, V, transposed=True).T  # (m, n) C^-1 k*
        mean = self.theta.mean + K @ self.alpha
        variance = self.positive(self.prior(A) - np.einsum("nm,nm->m", V, V))
        both = self.contract(np.concatenate([slope * self.alpha, slope * B]), np.concatenate([A, A]), self.Z)
        stretch = self.stretch(X)
        return mean, variance, stretch * both[: len(A)], -2.0 * stretch * both[len(A) :]

    def contract(self, W: Array, A: Array, B: Array) -> Array:
        """sum_j W_ij d r2(a_i, b_j) / d a_i, (m, d), for W (m, b) between features A (m, d) and B (b, d).

        Zero at categorical, budget and inactive columns.
        """
        return contract_x(W, A, B, self._log_l, self.domain.columns)

    @one_thread
    def extend(self, X: Array, y: Array) -> GaussianProcess:
        """With the rows X (m, d) after its own, and the targets y (n + m,) of all rows; O(n^2) a row.

        The same bits come out however the rows are divided into calls, so a posterior that grew during a study is the
        one that is rebuilt from its log: GaussianProcess(the rows that were fitted).extend(the rows since).
        """
        y = np.asarray(y, dtype=float)
        Z = self.features(np.asarray(X, dtype=float).reshape(-1, self.domain.d))
        if len(y) != len(self.Z) + len(Z) or not np.isfinite(y).all():
            raise ValueError(f"{len(self.Z) + len(Z)} rows need as many finite targets, and {len(y)} came")
        grown = object.__new__(GaussianProcess)
        grown.__dict__.update(self.__dict__)
        grown.Z = np.concatenate([self.Z, Z])
        grown._take(self._factor.grow(self.covariance(self.Z, Z)[0], self._noisy(Z)) if len(Z) else self._factor, y)
        return grown

    @one_thread
    def condition(self, X: Array) -> GaussianProcess:
        """The posterior with pending rows X (m, d) taken as observed at their own posterior mean.

        The mean does not move and the variance shrinks: hallucinated updates (Desautels et al. 2014, GP-BUCB, eq. 7),
        the kriging believer (Ginsbourger et al. 2010). C'^-1 (y' - mu) is exactly [alpha; 0] for such targets, so
        only the Cholesky factor grows, by m rows.
        """
        X = np.asarray(X, dtype=float).reshape(-1, self.domain.d)
        Z = self.features(X)
        K = self.covariance(Z, self.Z)[0]  # (m, n)
        grown = object.__new__(GaussianProcess)
        grown.__dict__.update(self.__dict__)
        grown.L, jitter = append_rows(self.L, K.T, self._noisy(Z))
        grown.jitter = max(self.jitter, jitter)
        grown._factor = Factor.whole(grown.L, grown.jitter)
        grown.Z = np.concatenate([self.Z, Z])
        grown.y = np.concatenate([self.y, self.theta.mean + K @ self.alpha])
        grown.alpha = np.concatenate([self.alpha, np.zeros(len(Z))])
        return grown
