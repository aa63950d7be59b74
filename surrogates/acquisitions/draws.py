"""Draws of f at rows that were told or are pending, and the posterior given each draw, without noise.

    f_j = mean_S + T u_j,   T T' = c(S, S) + nugget,   u_j quasi-normal (Sobol)
    mean_j(x) = mean(x) + t(x)' u_j,    var(x | f_S) = var(x) - t(x)' t(x),    t(x) = T^-1 c(S, x)

which is conditioning on f(S) = f_j written without solving with f_j: the draws differ only in the nodes u_j, and share
their variance. Everything but t(x) is computed once. "Without noise" means a millionth of each row's own posterior
variance: with none at all, a smooth kernel leaves nothing but rounding between the rows.

Notation     S (k, d)  the rows     u (q, k)  nodes     q  draws, each of the same weight
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from surrogates.domain import Array
from surrogates.gp import GaussianProcess
from surrogates.linalg import solve_lower
from surrogates.posterior import Functionals, covariances_with, factor


def quasi_normal(seed: int, q: int, k: int) -> Array:
    """(q, k) standard normal nodes from a scrambled Sobol sequence; q is a power of two."""
    from scipy.stats import qmc  # here, because importing it takes most of a second

    U = qmc.Sobol(k, scramble=True, rng=np.random.default_rng(seed)).random_base2(q.bit_length() - 1)
    return np.asarray(ndtri(np.clip(U, 1e-12, 1.0 - 1e-12)))


NUGGET = 1e-6  # times the posterior variance of f at each of the rows S


class Draws:
    """q draws of f at the rows S (k, d); values (q, k). ValueError when q is not a power of two."""

    def __init__(self, gp: GaussianProcess, S: Array, seed: int, q: int) -> None:
        if q < 1 or q & (q - 1):
            raise ValueError(f"{q} draws were asked for; allowed is a power of two")
        functionals, covariance = covariances_with(gp, S)
        T = factor(gp, covariance + np.diag(NUGGET * np.diag(covariance)))
        self.gp, self.u = gp, quasi_normal(seed, q, len(S))
        self.values = gp.mean(S) + self.u @ T.T
        self._t = Functionals(gp, functionals.basis, solve_lower(T, functionals.weights.T).T)

    def at(self, X: Array) -> Given:
        """The posteriors at rows X (m, d)."""
        return Given(self, X)


class Given:
    """means (m, q) and sd (m,) of f at m rows, given each of the draws."""

    def __init__(self, draws: Draws, X: Array) -> None:
        self._probe, self._u = draws._t.at(X), draws.u
        t = self._probe.cross  # (m, k)
        self.means = self._probe.mean[:, None] + t @ self._u.T
        self.sd = np.sqrt(draws.gp.positive(self._probe.variance - np.einsum("mk,mk->m", t, t)))

    def pull(self, by_means: Array, by_sd: Array) -> Array:
        """(m, d): the gradient by the rows of a score with these derivatives, (m, q) and (m,)."""
        by_variance = by_sd / (2.0 * self.sd)
        by_t = by_means @ self._u - 2.0 * by_variance[:, None] * self._probe.cross
        return self._probe.pull(by_means.sum(axis=1), by_variance, by_t)
