"""A Gaussian process of a function that drifts: the time-varying GP bandit (Bogunovic, Scarlett and Cevher 2016, section 3).

    z_i = f_t(x_i) + e_i at t = t_i,   e_i ~ N(0, v)
    k((x, t), (x', t')) = s exp(-|x - x'|^2 / (2 l^2)) (1 - w)^(|t - t'| / 2),   (1 - w)^(1/2) = e^-a

What was seen long ago counts little: its correlation with today falls by e^-a a step. The mean is zero: targets are
standardised, and higher is better.

Notation
    n, m, k   training rows, query rows, columns       X (n, k)  positions in [0, 1]      t (n,)  times      z (n,)  targets
    C = L L'  K + v I       alpha = C^-1 z       theta  logarithms of l, s, v, a

Hyperparameters are the most probable ones: PB2's authors maximise the marginal likelihood alone, which a dozen rows leave
flat, so there are wide log-normal priors here (PRIOR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, pi

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from surrogates.columns import Array
from surrogates.linalg import cholesky, inverse_upper, one_thread, solve_lower

# of log l, log s, log v, log a: mean and sd of a normal prior, and bounds
PRIOR = np.array([[log(0.5), 1.0], [0.0, 1.0], [log(0.1), 1.5], [log(0.1), 1.5]])
BOUNDS = np.log([[0.02, 20.0], [0.02, 50.0], [1e-4, 10.0], [1e-4, 10.0]])
STARTS = ((0.0, 0.0, 0.0, 0.0), (-1.0, 0.0, -1.0, -1.0), (1.0, 0.0, 1.0, 1.0))  # of a fit, in sd from the prior's mean
CLIMBED = 8  # of the candidates of `climb_bound`, the best that are
APART = 0.1  # from each other at least so far, in the column in which they differ most: else all may lie in one basin
VARIANCE_FLOOR = 1e-14


@dataclass(frozen=True)
class Drift:
    """The hyperparameters; four floats that a log keeps bit for bit."""

    log_lengthscale: float
    log_outputscale: float
    log_noise: float
    log_rate: float

    def to_list(self) -> list[float]:
        return [self.log_lengthscale, self.log_outputscale, self.log_noise, self.log_rate]

    @classmethod
    def from_list(cls, values: Sequence[float]) -> Drift:
        return cls(*map(float, values))

    def covariance(self, X: Array, t: Array, Y: Array, u: Array) -> Array:
        """(m, n) between rows X (m, k) at times t (m,) and rows Y (n, k) at times u (n,)."""
        distances = cdist(X, Y, "sqeuclidean") / (2.0 * np.exp(2.0 * self.log_lengthscale))
        return np.asarray(np.exp(self.log_outputscale - distances - np.exp(self.log_rate) * np.abs(t[:, None] - u)))


@dataclass(frozen=True, eq=False)
class TimeVaryingProcess:
    """The posterior of f given rows, times and targets, at fixed hyperparameters."""

    theta: Drift
    X: Array
    t: Array
    L: Array
    alpha: Array

    @classmethod
    @one_thread
    def of(cls, theta: Drift, X: Array, t: Array, z: Array) -> TimeVaryingProcess:
        """From n rows, n >= 0. ValueError if a target is not finite."""
        if not np.isfinite(z).all():
            raise ValueError("targets must be finite: standardise them first")
        L = _factor(theta, X, t)
        return cls(theta, X, t, L, solve_lower(L, solve_lower(L, z), transposed=True))

    @one_thread
    def condition(self, X: Array, t: Array) -> TimeVaryingProcess:
        """With pending rows taken as observed at their own mean: it stays, and the variance shrinks (Desautels et al. 2014)."""
        rows, times = np.concatenate([self.X, X]), np.concatenate([self.t, t])
        alpha = np.concatenate([self.alpha, np.zeros(len(X))])  # C^-1 z is exactly this for such targets
        return replace(self, X=rows, t=times, L=_factor(self.theta, rows, times), alpha=alpha)

    @one_thread
    def moments(self, X: Array, t: float) -> tuple[Array, Array]:
        """Mean (m,) and variance (m,) of f at the rows X (m, k) and one time."""
        K = self.theta.covariance(X, np.full(len(X), t), self.X, self.t)
        V = solve_lower(self.L, K.T)
        variance = np.exp(self.theta.log_outputscale) - np.einsum("nm,nm->m", V, V)
        return K @ self.alpha, np.maximum(variance, VARIANCE_FLOOR)

    def upper_bound(self, X: Array, t: float, beta: float) -> Array:
        """(m,) mean + sqrt(beta) sd."""
        mean, variance = self.moments(X, t)
        return mean + np.sqrt(beta * variance)

    @one_thread
    def bound_gradients(self, X: Array, t: float, beta: float) -> tuple[Array, Array]:
        """The upper bounds (m,) at the rows X (m, k), and their gradients (m, k)."""
        K = self.theta.covariance(X, np.full(len(X), t), self.X, self.t)
        V = solve_lower(self.L, K.T)
        variance = np.maximum(np.exp(self.theta.log_outputscale) - np.einsum("nm,nm->m", V, V), VARIANCE_FLOOR)
        weights = K * (self.alpha - np.sqrt(beta / variance)[:, None] * solve_lower(self.L, V, transposed=True).T)  # (m, n)
        slopes = (weights @ self.X - weights.sum(axis=1)[:, None] * X) / np.exp(2.0 * self.theta.log_lengthscale)
        return K @ self.alpha + np.sqrt(beta * variance), slopes


def _factor(theta: Drift, X: Array, t: Array) -> Array:
    C = theta.covariance(X, t, X, t)
    C[np.diag_indices(len(C))] += np.exp(theta.log_noise)
    return cholesky(C)[0]


@one_thread
def climb_bound(process: TimeVaryingProcess, t: float, beta: float, candidates: Array, free: Sequence[int]) -> Array:
    """(m + c, k) the candidates (m, k) in [0, 1], and what the best c <= CLIMBED of them climb to; highest upper bound first.

    free: the columns that may move; in the others a candidate stays where it is.
    """
    bounds = process.upper_bound(candidates, t, beta)
    starts = np.array(_apart(candidates[np.argsort(-bounds, kind="stable")])).reshape(-1, candidates.shape[1])
    tops = np.clip(_climb(process, t, beta, starts, free), 0.0, 1.0)
    rows, heights = np.concatenate([tops, candidates]), np.concatenate([process.upper_bound(tops, t, beta), bounds])
    return np.asarray(rows[np.argsort(-heights, kind="stable")])


def _climb(process: TimeVaryingProcess, t: float, beta: float, starts: Array, free: Sequence[int]) -> Array:
    """(c, k) what the starts climb to: all by one L-BFGS-B over the sum of their bounds, which takes a quarter of the time."""
    box = [(0.0, 1.0) if column in free else (u, u) for row in starts for column, u in enumerate(row)]

    def negated(flat: Array) -> tuple[float, Array]:
        values, slopes = process.bound_gradients(flat.reshape(starts.shape), t, beta)
        return -float(values.sum()), -slopes.ravel()

    return np.asarray(minimize(negated, starts.ravel(), jac=True, method="L-BFGS-B", bounds=box).x).reshape(starts.shape)


def _apart(rows: Array) -> list[Array]:
    """The first CLIMBED rows that are apart from those before."""
    chosen: list[Array] = []
    for x in rows:
        if len(chosen) == CLIMBED:
            break
        if all(np.abs(x - other).max() >= APART for other in chosen):
            chosen.append(x)
    return chosen


# -- the fit -----------------------------------------------------------------------------------------------------------


@one_thread
def fit_drift(X: Array, t: Array, z: Array) -> Drift:
    """The most probable hyperparameters of n >= 1 rows. The same arguments give the same bits."""
    if len(z) == 0 or not np.isfinite(z).all():
        raise ValueError("fit_drift needs at least one target, and all targets finite: standardise them first")
    squares, lags = cdist(X, X, "sqeuclidean"), np.abs(t[:, None] - t)
    found = []
    for start in STARTS:
        done = minimize(
            lambda point: _negative_log_posterior(point, squares, lags, z), PRIOR[:, 0] + np.array(start) * PRIOR[:, 1], jac=True,
            method="L-BFGS-B", bounds=BOUNDS,
        )  # fmt: skip
        found.append((float(done.fun), done.x))
    return Drift.from_list(min(found, key=lambda pair: pair[0])[1])


def _negative_log_posterior(point: Array, squares: Array, lags: Array, z: Array) -> tuple[float, Array]:
    """-log N(z | 0, C) - log prior at (log l, log s, log v, log a), up to the prior's constant, and its gradient (4,)."""
    (log_l, log_s, log_v, log_a), n = point, len(z)
    scaled, decay = squares * np.exp(-2.0 * log_l), np.exp(log_a) * lags
    K = np.exp(log_s - 0.5 * scaled - decay)
    C = K.copy()
    C[np.diag_indices(n)] += np.exp(log_v)
    L = cholesky(C)[0]
    inverse = inverse_upper(L)
    inverse = np.triu(inverse) + np.triu(inverse, 1).T
    alpha = inverse @ z
    value = 0.5 * float(z @ alpha) + float(np.log(np.diag(L)).sum()) + 0.5 * n * log(2.0 * pi)
    G = 0.5 * (inverse - np.outer(alpha, alpha))  # d value / d C
    slope = np.array([(G * K * scaled).sum(), (G * K).sum(), np.exp(log_v) * np.trace(G), -(G * K * decay).sum()])
    u = (point - PRIOR[:, 0]) / PRIOR[:, 1]
    return value + 0.5 * float(u @ u), slope + u / PRIOR[:, 1]
