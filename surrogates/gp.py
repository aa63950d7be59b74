"""Exact Gaussian process with a constant mean and Gaussian noise, for minimisation over a Domain.

    y_i = f(x_i) + e_i,   f ~ GP(mu, s k),   e_i ~ N(0, v),   C = s K(X, X) + v I = L L'

Notation
    n, m, d   training rows, query rows, columns
    X (n, d)  encoded rows          Z (n, d)  their features               y (n,)  standardised targets
    theta     Hyperparameters: log l (d,), log s, log v, mu, and the name of the kernel
    alpha     C^-1 (y - mu), (n,)   L (n, n)  lower Cholesky factor of C   K* (n, m)  s k(X, X*)

Equation numbers: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, pi

import numpy as np
from scipy.spatial.distance import squareform

from surrogates.domain import Array, Domain
from surrogates.kernels import KERNELS, contract_theta, contract_x, distances, pair_differences
from surrogates.linalg import append_rows, cholesky, inverse_upper, one_thread, solve_lower

VARIANCE_FLOOR = 1e-14  # times s: rounding must not make a variance zero or negative


@dataclass(frozen=True)
class Hyperparameters:
    """What is fitted, and all that a log needs to rebuild the posterior bit for bit."""

    log_lengthscales: tuple[float, ...]  # (d,)
    log_outputscale: float  # log s
    log_noise: float  # log v
    mean: float  # mu
    kernel: str = "matern52"

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel {self.kernel!r} is not one of {', '.join(KERNELS)}")

    @property
    def log_l(self) -> Array:
        """(d,) log length scales as an array."""
        return np.array(self.log_lengthscales, dtype=float)

    def to_list(self) -> list[float]:
        """d + 3 floats: log length scales, log output scale, log noise, mean. JSON keeps every bit of them."""
        return [*self.log_lengthscales, self.log_outputscale, self.log_noise, self.mean]

    @classmethod
    def from_list(cls, values: Sequence[float], kernel: str = "matern52") -> Hyperparameters:
        """The inverse of to_list. ValueError with fewer than three values."""
        if len(values) < 3:
            raise ValueError(f"{len(values)} values cannot be hyperparameters: at least 3 are needed")
        *lengthscales, outputscale, noise, mean = (float(value) for value in values)
        return cls(tuple(lengthscales), outputscale, noise, mean, kernel)


@dataclass(frozen=True, eq=False)
class Evidence:
    """log N(y | mu, C) and what its gradient is made of; log_marginal_likelihood and fit share it."""

    value: float  # eq. 5.8
    gradient: Array  # (d + 2,) with respect to log l, log s, log v, at fixed mu
    alpha: Array  # (n,) C^-1 (y - mu)


def evidence(
    D: Array, y: Array, log_l: Array, log_s: float, log_v: float, kernel: str, mean_prior: float
) -> tuple[Evidence, float]:
    """Evidence from precomputed pair differences D, with the mean profiled out; returns (evidence, mu).

    mu maximises log N(y | mu 1, C) + log N(mu | 0, mean_prior), in closed form.
    """
    n, s, v = len(y), exp(log_s), exp(log_v)
    k, slope = KERNELS[kernel](np.exp(-2.0 * log_l) @ D)  # (pairs,)
    C = _square(s * k, s + v, n)
    L, _ = cholesky(C)
    ones = solve_lower(L, solve_lower(L, np.ones(n)), transposed=True)
    mu = float(ones @ y) / (float(ones.sum()) + 1.0 / mean_prior)
    return _evidence(D, y - mu, L, (k, slope), (log_l, s, v)), mu


def _square(pairs: Array, diagonal: float, n: int) -> Array:
    C = squareform(pairs, checks=False) if n > 1 else np.zeros((n, n))
    C[np.diag_indices(n)] = diagonal
    return np.asarray(C)


def _evidence(
    D: Array, r: Array, L: Array, kernel: tuple[Array, Array], scales: tuple[Array, float, float]
) -> Evidence:
    n, (k, slope), (log_l, s, v) = len(r), kernel, scales
    alpha = solve_lower(L, solve_lower(L, r), transposed=True)
    value = -0.5 * float(r @ alpha) - float(np.log(np.diag(L)).sum()) - 0.5 * n * log(2 * pi)  # eq. 5.8
    G = np.outer(alpha, alpha) - inverse_upper(L)  # eq. 5.9: d value = 1/2 tr(G dC); upper triangle only
    trace = float(np.diag(G).sum())
    pairs = squareform(G, checks=False) if n > 1 else np.zeros(0)
    lengths = contract_theta(pairs * slope * s, D, log_l)
    gradient = np.concatenate([lengths, [s * (float(pairs @ k) + 0.5 * trace), 0.5 * v * trace]])
    return Evidence(value, gradient, alpha)


@one_thread
def log_marginal_likelihood(X: Array, y: Array, domain: Domain, theta: Hyperparameters) -> tuple[float, Array]:
    """log N(y | mu, C) (eq. 5.8) and its gradient (d + 3,) in the order of theta.to_list() (eq. 5.9)."""
    n, log_l, s, v = len(y), theta.log_l, exp(theta.log_outputscale), exp(theta.log_noise)
    D = pair_differences(domain.features(X), domain.categorical)
    kernel = KERNELS[theta.kernel](np.exp(-2.0 * log_l) @ D)
    L, _ = cholesky(_square(s * kernel[0], s + v, n))
    found = _evidence(D, np.asarray(y, dtype=float) - theta.mean, L, kernel, (log_l, s, v))
    return found.value, np.append(found.gradient, found.alpha.sum())


class GaussianProcess:
    """The posterior of f given (X, y) at fixed hyperparameters: a pure function of its four arguments.

    jitter: what had to be added to the diagonal of C for its Cholesky factor to exist (0.0 as a rule).
    """

    @one_thread
    def __init__(self, domain: Domain, X: Array, y: Array, theta: Hyperparameters) -> None:
        y = np.asarray(y, dtype=float)
        X = np.asarray(X, dtype=float).reshape(len(y), domain.d)
        if len(theta.log_lengthscales) != domain.d:
            raise ValueError(f"{len(theta.log_lengthscales)} length scales do not fit {domain.d} columns")
        if not np.isfinite(y).all():
            raise ValueError("targets must be finite: standardise them first")
        self.domain, self.theta, self.y = domain, theta, y
        self._s, self._v = exp(theta.log_outputscale), exp(theta.log_noise)
        self._log_l, self._kernel = theta.log_l, KERNELS[theta.kernel]
        self.Z = domain.features(X)
        self.L, self.jitter = cholesky(self._noisy(self.Z))
        self.alpha = solve_lower(self.L, solve_lower(self.L, y - theta.mean), transposed=True)

    def _noisy(self, Z: Array) -> Array:
        C = self._covariance(Z, Z)[0]
        C[np.diag_indices(len(Z))] += self._v
        return C

    def _covariance(self, A: Array, B: Array) -> tuple[Array, Array]:
        """s k and s dk/dr2, both (m, n), between features."""
        k, slope = self._kernel(distances(A, B, self._log_l, self.domain.categorical))
        return self._s * k, self._s * slope

    @one_thread
    def predict(self, X: Array, noise: bool = False) -> tuple[Array, Array]:
        """Mean (m,) and variance (m,) of f at the rows X (m, d) (eq. 2.25, 2.26); of a new observation with noise."""
        K = self._covariance(self.domain.features(X), self.Z)[0]  # (m, n)
        mean = self.theta.mean + K @ self.alpha
        V = solve_lower(self.L, K.T)
        return mean, self._positive(np.einsum("nm,nm->m", V, V)) + (self._v if noise else 0.0)

    def _positive(self, explained: Array) -> Array:
        return np.maximum(self._s - explained, VARIANCE_FLOOR * self._s)

    @one_thread
    def predict_gradient(self, X: Array) -> tuple[Array, Array, Array, Array]:
        """Mean (m,), variance (m,) of f, and their derivatives (m, d) with respect to the rows X (m, d).

        Zero at categorical and inactive columns; at an int column the slope of the kernel through its levels.
        """
        A = self.domain.features(X)
        K, slope = self._covariance(A, self.Z)
        V = solve_lower(self.L, K.T)  # (n, m)
        B = solve_lower(self.L, V, transposed=True).T  # (m, n) C^-1 k*
        mean = self.theta.mean + K @ self.alpha
        variance = self._positive(np.einsum("nm,nm->m", V, V))
        d_mean, d_variance = self._slopes(slope * self.alpha, A), -2.0 * self._slopes(slope * B, A)
        if self.domain.conditional:
            off = ~self.domain.active(self.domain.snap(X))
            d_mean[off], d_variance[off] = 0.0, 0.0
        return mean, variance, d_mean, d_variance

    def _slopes(self, W: Array, A: Array) -> Array:
        return contract_x(W, A, self.Z, self._log_l, self.domain.categorical)

    @one_thread
    def condition(self, X: Array) -> GaussianProcess:
        """The posterior with pending rows X (m, d) taken as observed at their own posterior mean.

        The mean does not move and the variance shrinks: hallucinated updates (Desautels et al. 2014, GP-BUCB, eq. 7),
        the kriging believer (Ginsbourger et al. 2010). C'^-1 (y' - mu) is exactly [alpha; 0] for such targets, so
        only the Cholesky factor grows, by m rows.
        """
        X = np.asarray(X, dtype=float).reshape(-1, self.domain.d)
        Z = self.domain.features(X)
        K = self._covariance(Z, self.Z)[0]  # (m, n)
        grown = object.__new__(GaussianProcess)
        grown.__dict__.update(self.__dict__)
        grown.L, jitter = append_rows(self.L, K.T, self._noisy(Z))
        grown.jitter = max(self.jitter, jitter)
        grown.Z = np.concatenate([self.Z, Z])
        grown.y = np.concatenate([self.y, self.theta.mean + K @ self.alpha])
        grown.alpha = np.concatenate([self.alpha, np.zeros(len(Z))])
        return grown
