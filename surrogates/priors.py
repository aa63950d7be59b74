"""Log-normal priors of the hyperparameters, as densities of the parameter itself, evaluated at its logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from surrogates.domain import Array
from surrogates.learning_curves import MEDIANS, SPREADS


@dataclass(frozen=True, eq=False)
class LogNormal:
    """log p(e^t) = -t - (t - mu)^2 / (2 sigma^2) + const, for t = log of the parameter. mu, sigma: (p,)."""

    mu: Array
    sigma: Array

    def log_density(self, t: Array) -> tuple[float, Array]:
        """Sum over the p parameters, up to a constant, and its gradient (p,) with respect to t."""
        u = (t - self.mu) / self.sigma
        return float(-t.sum() - 0.5 * (u @ u)), -1.0 - u / self.sigma

    @property
    def mode(self) -> Array:
        """(p,) the t at which the density is greatest: mu - sigma^2."""
        return self.mu - self.sigma**2


def default_prior(d: int, warped: bool = False, budget: bool = False) -> LogNormal:
    """Over (log l (d,), log s, log v), for standardised targets and columns in [0, 1]; with warping log a, log b too; with
    a budget log b in the place of its length scale, and log r, log q, log a (see learning_curves.py).

    Length scales LogNormal(sqrt 2 + log(d)/2, sqrt 3): Hvarfner, Hellsten, Nardi 2024, "Vanilla Bayesian optimization
    performs great in high dimensions", so that distances keep their meaning as d grows. Noise variance
    LogNormal(-4, 2), wider than BoTorch's LogNormal(-4, 1): a deterministic function may have hardly any noise, and what
    the model takes for noise it does not refine. Output scale
    LogNormal(1, 1), whose mode is the standardised variance 1. Warping: LogNormal(0.5, sqrt 0.5), whose mode is 1, no
    bend. Decay: b around 0.4 of the horizon, r and q around the variance at the horizon, each within a factor of three, a
    around 1.6 within a factor of two: that of 8 x 1000 learning curves and of 40 of language models stays near them.
    """
    mu = np.full(d + 2, sqrt(2) + log(max(d - budget, 1)) / 2)
    sigma = np.full(d + 2, sqrt(3))
    mu[d:], sigma[d:] = (1.0, -4.0), (1.0, 2.0)
    if budget:
        mu[d - 1], sigma[d - 1] = MEDIANS[0], SPREADS[0]
    if warped:
        mu, sigma = np.concatenate([mu, np.full(2 * d, 0.5)]), np.concatenate([sigma, np.full(2 * d, sqrt(0.5))])
    if budget:
        mu, sigma = np.concatenate([mu, MEDIANS[1:]]), np.concatenate([sigma, SPREADS[1:]])
    return LogNormal(mu, sigma)
