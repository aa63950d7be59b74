"""Hyperparameters drawn from their posterior by slice sampling: fully Bayesian optimisation (Snoek et al. 2012, section 3.1).

One coordinate of t at a time (Neal 2003, "Slice sampling", figures 3 and 5): a level u below the density at t, an interval
stepped out until both of its ends lie below the level, and draws from it that shrink it towards t until one lies above.
The mean mu is integrated out and drawn given t, whose parameters are logarithms: with p the variance of its prior and
A = 1'C^-1 1 + 1/p,

    p(t | y) ~ N(y | mu*, C) N(mu* | 0, p) sqrt(2 pi / A) p(t),   mu | t, y ~ N(mu*, 1/A),   mu* = 1'C^-1 y / A
"""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt

import numpy as np

from surrogates.domain import Array, Domain
from surrogates.fitting import MEAN_PRIOR, NOISE_FLOOR, Objective, fit
from surrogates.hyperparameters import Hyperparameters
from surrogates.linalg import one_thread
from surrogates.priors import LogNormal

WIDTH = 1.0  # of the first interval, in units of a logarithm
OUT = 8  # steps by which an interval grows at most
BURN, THIN = 5, 3  # sweeps before the first sample that is kept, and between two


@one_thread
def draw(X: Array, y: Array, domain: Domain, seed: int, n: int, start: Hyperparameters | None = None,
         kernel: str = "matern52", prior: LogNormal | None = None, noise_floor: float = NOISE_FLOOR,
         warped: bool = False) -> list[Hyperparameters]:
    """n samples of the hyperparameters of a GP for rows X (n, d) and standardised targets y (n,).

    The chain begins at `start` (say the last sample of an earlier chain), or else at the most probable point. The other
    arguments are those of `fit`. The same arguments give the same bits. ValueError as in `fit`.
    """
    objective = Objective.of(X, y, domain, kernel, prior, noise_floor, warped)
    first = start or fit(X, y, domain, seed, None, kernel, prior, noise_floor, warped)
    chain = Chain(objective, objective.point(first), np.random.default_rng(seed))
    for _ in range(BURN):
        chain.sweep()
    found = []
    for i in range(n):
        for _ in range(THIN if i else 1):
            chain.sweep()
        found.append(chain.hyperparameters())
    return found


class Chain:
    """A Markov chain over t within the objective's bounds."""

    def __init__(self, objective: Objective, t: Array, rng: np.random.Generator) -> None:
        self.objective, self.t, self.rng = objective, t, rng
        self.density = self._density(t)

    def sweep(self) -> None:
        """Every coordinate once, in random order."""
        for c in self.rng.permutation(len(self.t)):
            self._move(int(c))

    def hyperparameters(self) -> Hyperparameters:
        """The present hyperparameters of the chain, with a mean drawn given them."""
        found = self.objective.likelihood(self.t, mean_prior=MEAN_PRIOR, slope=False)
        mean = found.mean + float(self.rng.standard_normal()) / sqrt(found.precision + 1.0 / MEAN_PRIOR)
        return replace(self.objective.hyperparameters(self.t), mean=mean)

    def _density(self, t: Array) -> float:
        """log p(t | data) up to a constant; the objective's prior is a density of e^t, hence the Jacobian."""
        found = self.objective.likelihood(t, mean_prior=MEAN_PRIOR, slope=False)
        value = found.value - 0.5 * found.mean**2 / MEAN_PRIOR - 0.5 * log(found.precision + 1.0 / MEAN_PRIOR)
        value += self.objective.prior.log_density(t)[0] + float(t.sum())
        return value if np.isfinite(value) else -np.inf

    def _at(self, c: int, value: float) -> float:
        low, high = self.objective.bounds[c]
        if not low <= value <= high:
            return -np.inf
        t = self.t.copy()
        t[c] = value
        return self._density(t)

    def _move(self, c: int) -> None:
        level = self.density - self.rng.exponential()
        here = float(self.t[c])
        low, high = self._interval(c, here, level)
        while True:
            value = float(self.rng.uniform(low, high))
            density = self._at(c, value)
            if density >= level:
                self.t = self.t.copy()
                self.t[c], self.density = value, density
                return
            if high - low < 1e-12:
                return  # nothing but t itself is left of the slice
            low, high = (value, high) if value < here else (low, value)

    def _interval(self, c: int, here: float, level: float) -> tuple[float, float]:
        """Stepping out, at most OUT steps divided at random between the two sides."""
        low = here - WIDTH * float(self.rng.random())
        high = low + WIDTH
        left = int(self.rng.integers(OUT + 1))
        right = OUT - left
        while left > 0 and self._at(c, low) > level:
            low, left = low - WIDTH, left - 1
        while right > 0 and self._at(c, high) > level:
            high, right = high + WIDTH, right - 1
        return low, high
