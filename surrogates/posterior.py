"""The joint posterior of a Gaussian process: covariances between rows, draws, and one reverse pass for all gradients.

Notation (that of gp.py, and)
    X (m, d)  query rows            A (k, d)  fixed rows             c(x, a)  posterior covariance of f(x) and f(a)
    B (b, d)  basis: the features of the training rows, then of those rows of A that are not among them
    M (b, r)  weights: every linear functional of the posterior that is wanted at x is a column of K(x, B) M

What depends on x only through K(x, B), namely the mean, the variance and any covariance with fixed rows, is computed
from one covariance matrix and differentiated in one pass backwards (`Probe.pull`), however many functionals there are.

Told rows are not subtracted away. For a training row a = z_i, K(Z, a) = C e_i - v e_i, hence

    c(x, z_i) = v (C^-1 K(Z, x))_i              c(z_i, z_j) = v [i = j] - v^2 (C^-1)_ij

which keep all digits when v is tiny, where K(x, a) - K(x, Z) C^-1 K(Z, a) (eq. 2.24) has none left.

Equation numbers: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from surrogates.domain import Array
from surrogates.gp import GaussianProcess
from surrogates.linalg import cholesky, one_thread, solve_lower

JITTER = 3e-11  # times the diagonal of C: what a factor's squared rows exceed it by is jitter if more, rounding if less


class Probe:
    """The posterior at rows X (m, d): mean (m,), variance (m,) of f and cross (m, r), with their gradients."""

    @one_thread
    def __init__(self, functionals: Functionals, X: Array) -> None:
        gp, n = functionals.gp, len(functionals.gp.Z)
        self._functionals, self._X, self._A = functionals, X, gp.features(X)
        K, self._slope = gp.covariance(self._A, functionals.basis)  # (m, b)
        self._V = solve_lower(gp.L, K[:, :n].T)  # (n, m)
        self.mean = gp.theta.mean + K[:, :n] @ gp.alpha  # eq. 2.25
        self.variance = gp.positive(gp.prior(self._A) - np.einsum("nm,nm->m", self._V, self._V))  # eq. 2.26
        self.cross = K @ functionals.weights

    @one_thread
    def pull(self, by_mean: Array, by_variance: Array, by_cross: Array) -> Array:
        """(m, d): the gradient by the rows of a score with these derivatives, (m,), (m,) and (m, r).

        Zero at categorical and inactive columns.
        """
        gp, n = self._functionals.gp, len(self._functionals.gp.Z)
        explained = solve_lower(gp.L, self._V, transposed=True).T  # (m, n) C^-1 K(Z, x)
        W = by_cross @ self._functionals.weights.T  # (m, b)
        W[:, :n] += by_mean[:, None] * gp.alpha - 2.0 * by_variance[:, None] * explained
        return gp.contract(W * self._slope, self._A, self._functionals.basis) * gp.stretch(self._X)


@dataclass(frozen=True, eq=False)
class Functionals:
    """r linear functionals of the posterior: basis (b, d), of which the first rows are gp.Z, and weights (b, r)."""

    gp: GaussianProcess
    basis: Array
    weights: Array

    def at(self, X: Array) -> Probe:
        """Their values at the rows X (m, d)."""
        return Probe(self, X)


# --- covariances ------------------------------------------------------------------------------------------------------


@one_thread
def covariances_with(gp: GaussianProcess, A: Array) -> tuple[Functionals, Array]:
    """The covariances c(., A) as functionals, r = k, and the covariance (k, k) of f at the rows A themselves."""
    F = gp.features(A)
    told = _told(gp.Z, F)
    known, new, n = told >= 0, np.flatnonzero(told < 0), len(gp.Z)
    v = np.append(_noise(gp), 0.0)[told]  # (k,), meaningless at new rows
    right = gp.covariance(gp.Z, F)[0]  # (n, k)
    right[:, known] = np.eye(n)[:, told[known]]
    solved = solve_lower(gp.L, solve_lower(gp.L, right), transposed=True)
    weights = np.zeros((n + len(new), len(F)))
    weights[:n] = np.where(known, v, -1.0) * solved
    weights[n + np.arange(len(new)), new] = 1.0
    basis = np.concatenate([gp.Z, F[new]])
    covariance = gp.covariance(F, basis)[0] @ weights
    covariance[np.ix_(known, ~known)] = covariance[np.ix_(~known, known)].T
    i = told[known]
    covariance[np.ix_(known, known)] = v[known] * ((i[:, None] == i) - v[known, None] * solved[np.ix_(i, known)])
    return Functionals(gp, basis, weights), 0.5 * (covariance + covariance.T)


def _told(Z: Array, F: Array) -> np.ndarray:
    """(k,) the number of the training row that each row of F equals, or -1."""
    number = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(Z + 0.0))}
    return np.array([number.get(row.tobytes(), -1) for row in np.ascontiguousarray(F + 0.0)], dtype=int)


def _noise(gp: GaussianProcess) -> Array:
    """(n,) v, and the jitter where C took some: L L' - K is what the identities above are about."""
    diagonal = gp.prior(gp.Z) + exp(gp.theta.log_noise)
    excess = np.einsum("ij,ij->i", gp.L, gp.L) - diagonal
    return exp(gp.theta.log_noise) + np.where(excess > JITTER * diagonal, excess, 0.0)


def joint(gp: GaussianProcess, X: Array) -> tuple[Array, Array]:
    """Mean (m,) and covariance (m, m) of f at the rows X (m, d), without noise (eq. 2.23, 2.24)."""
    return gp.mean(X), covariances_with(gp, X)[1]


def cross(gp: GaussianProcess, X: Array, A: Array) -> Array:
    """(m, k) posterior covariances of f between the rows X (m, d) and A (k, d) (eq. 2.24)."""
    return covariances_with(gp, A)[0].at(X).cross


# --- draws ------------------------------------------------------------------------------------------------------------


def factor(gp: GaussianProcess, covariance: Array) -> Array:
    """Lower T (k, k) with T T' = covariance.

    Taken of the correlations, so that jitter is relative to each row's own variance: told rows may have a variance of
    1e-6 beside pending ones of 1.
    """
    sd = np.sqrt(gp.positive(np.diag(covariance)))
    L, _ = cholesky(covariance / np.outer(sd, sd))
    return np.asarray(sd[:, None] * L)


@one_thread
def sample(gp: GaussianProcess, X: Array, q: int, rng: np.random.Generator) -> Array:
    """(q, m) joint draws of f at the rows X (m, d), without noise."""
    mean, covariance = joint(gp, X)
    return np.asarray(mean + rng.standard_normal((q, len(mean))) @ factor(gp, covariance).T)
