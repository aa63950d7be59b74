"""Functions drawn from the posterior: pathwise conditioning, that is Matheron's rule with random Fourier features.

    f(x) = mu + phi(x)' w + K(x, Z) C^-1 (y - mu - phi(Z)' w - e),   w ~ N(0, I),   e ~ N(0, E)

E is v I, and where the last column is a budget what it adds to s k among the rows Z: functions are drawn at the horizon,
wherever the budget of a row stands.

Wilson, Borovitskiy, Terenin, Mostowsky, Deisenroth 2020, "Efficiently sampling functions from Gaussian process
posteriors", section 3. phi' phi approximates s k, with an error of order 1/sqrt(F) that only the prior's share has:
the data's share is exact, so paths do not lose their variance as data grow.

phi: r2 is the squared Euclidean distance between images of rows: coordinates over l_c in a numeric column (columns.py), a
one-hot vector over sqrt(2) l_c in a categorical one (inactive is a category of its own). There frequencies are standard
normal, times the scales that the kernel draws (kernels.py): exact in the limit of many features.

Notation     q paths     F frequencies     p (m, F) phases     w (2, F, q) weights of cos p and sin p     G (m, q)
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np

from surrogates.domain import Array
from surrogates.gp import GaussianProcess
from surrogates.kernels import KERNELS
from surrogates.linalg import cholesky, one_thread, solve_lower

FREQUENCIES = 512


class Paths:
    """q functions drawn from the posterior of gp, which share their frequencies."""

    @one_thread
    def __init__(self, gp: GaussianProcess, rng: np.random.Generator, q: int = 1, frequencies: int = FREQUENCIES) -> None:
        self.gp = gp
        self._draw_frequencies(rng, frequencies)
        self._w = rng.standard_normal((2, frequencies, q)) * sqrt(exp(gp.theta.log_outputscale) / frequencies)
        noise = sqrt(exp(gp.theta.log_noise)) * rng.standard_normal((len(gp.Z), q)) + self._beyond(rng, q)
        drawn = solve_lower(gp.L, solve_lower(gp.L, self._prior(gp.Z) + noise), transposed=True)
        self._update = gp.alpha[:, None] - drawn  # (n, q)

    def _beyond(self, rng: np.random.Generator, q: int) -> Array | float:
        """(n, q) how far the told rows are from the horizon; 0 without a budget."""
        if self.gp.theta.decay is None:
            return 0.0
        Z, top = self.gp.Z, self.gp.domain.at_horizon(self.gp.Z)
        more = self.gp.covariance(Z, Z)[0] - self.gp.covariance(top, top)[0]
        return np.asarray(cholesky(more)[0] @ rng.standard_normal((len(Z), q)))

    def _draw_frequencies(self, rng: np.random.Generator, F: int) -> None:
        domain, l = self.gp.domain, np.exp(self.gp.theta.log_l)
        spread = KERNELS[self.gp.theta.kernel].draw_scales(rng, F)
        self._omega = spread * rng.standard_normal((len(domain.columns.owners), F)) / l[domain.columns.owners, None]
        self._levels = {  # a frequency for every category, and one for inactive
            int(c): spread * rng.standard_normal((domain.sizes[c] + 1, F)) / (sqrt(2.0) * l[c])
            for c in np.flatnonzero(domain.categorical)
        }

    def _phase(self, A: Array) -> Array:
        """(m, F) for features A (m, d)."""
        p = self.gp.domain.columns.embed(A) @ self._omega
        for c, omega in self._levels.items():
            p += omega[A[:, c].astype(int)]
        return np.asarray(p)

    def _prior(self, A: Array) -> Array:
        """(m, q) phi' w."""
        p = self._phase(A)
        return np.asarray(np.cos(p) @ self._w[0] + np.sin(p) @ self._w[1])

    @one_thread
    def __call__(self, X: Array) -> Array:
        """(m, q) values at the rows X (m, d)."""
        A = self.gp.domain.at_horizon(self.gp.features(X))
        return np.asarray(self.gp.theta.mean + self._prior(A) + self.gp.covariance(A, self.gp.Z)[0] @ self._update)

    @one_thread
    def gradient(self, X: Array, G: Array) -> tuple[Array, Array]:
        """sum_j G_ij f_j(x_i), (m,), and its gradient (m, d) by the rows; G (m, q) are fixed weights."""
        A = self.gp.domain.at_horizon(self.gp.features(X))
        K, slope = self.gp.covariance(A, self.gp.Z)
        p = self._phase(A)
        cos, sin, W = np.cos(p), np.sin(p), G @ self._update.T  # (m, n)
        by_cos, by_sin = G @ self._w[0].T, G @ self._w[1].T  # (m, F)
        value = self.gp.theta.mean * G.sum(axis=1) + np.einsum("mf,mf->m", cos, by_cos)
        value += np.einsum("mf,mf->m", sin, by_sin) + np.einsum("mn,mn->m", K, W)
        by_features = self.gp.contract(W * slope, A, self.gp.Z)
        by_features += self.gp.domain.columns.pull(A, (cos * by_sin - sin * by_cos) @ self._omega.T)
        return value, by_features * self.gp.stretch(X)
