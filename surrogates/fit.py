"""Maximum a posteriori hyperparameters: multi-start L-BFGS-B on analytic gradients, a pure function of its arguments.

The mean mu is profiled out: given the kernel its best value is known in closed form (generalised least squares with a
N(0, 1) prior on standardised targets), which saves a dimension of the search and, by the envelope theorem, leaves the
other gradients as they are. The prior keeps mu near the data where long length scales would let it drift away.
What is left is t = (log l (d,), log s, log v), (p,) = (d + 2,).
"""

from __future__ import annotations

from math import log

import numpy as np
from scipy.optimize import minimize

from surrogates.domain import Array, Domain
from surrogates.gp import Hyperparameters, evidence
from surrogates.kernels import pair_differences
from surrogates.linalg import one_thread
from surrogates.priors import LogNormal, default_prior

NOISE_FLOOR = 1e-6  # noise variance of standardised targets; low enough for deterministic functions to converge
MEAN_PRIOR = 1.0  # variance of the prior of mu
DRAWS = 8  # random starts that are looked at, of which the best two are climbed from
LARGE = 200  # with more rows than this, a multi-start fit of COARSE of them comes first and one climb follows
COARSE = 150
BIG = 1e25  # the value of hyperparameters that overflow


@one_thread
def fit(X: Array, y: Array, domain: Domain, seed: int, start: Hyperparameters | None = None, kernel: str = "matern52",
        prior: LogNormal | None = None, noise_floor: float = NOISE_FLOOR) -> Hyperparameters:
    """MAP hyperparameters of a GP for rows X (n, d) and standardised targets y (n,), n >= 1.

    start: climbed from too, as a warm start (an earlier fit). prior: over t, default_prior(d) if None. noise_floor:
    least noise variance. The same arguments give the same bits. ValueError when n = 0, a target is not finite, or
    start has another number of columns.
    """
    y = np.asarray(y, dtype=float)
    if len(y) == 0 or not np.isfinite(y).all():
        raise ValueError("fit needs at least one target, and all targets finite: standardise them first")
    Z = domain.features(np.asarray(X, dtype=float).reshape(len(y), domain.d))
    if start is not None and len(start.log_lengthscales) != domain.d:
        raise ValueError(f"a start with {len(start.log_lengthscales)} length scales does not fit {domain.d} columns")
    prior, bounds = prior or default_prior(domain.d), _bounds(domain.d, noise_floor)
    warm = [] if start is None else [np.clip(start.to_list()[:-1], bounds[:, 0], bounds[:, 1])]
    objective = Objective(pair_differences(Z, domain.categorical), y, kernel, prior)
    if len(y) <= LARGE:
        starts = warm + _starts(objective, bounds, seed, 2 - len(warm))
    else:
        rows = np.linspace(0, len(y) - 1, COARSE).round().astype(int)
        coarse = Objective(pair_differences(Z[rows], domain.categorical), y[rows], kernel, prior)
        starts = _better(objective, [*warm, _climb(coarse, _starts(coarse, bounds, seed, 2), bounds)])
    return objective.hyperparameters(_climb(objective, starts, bounds))


def _better(objective: Objective, starts: list[Array]) -> list[Array]:
    """Only the most probable start."""
    return starts if len(starts) == 1 else [min(starts, key=lambda t: objective(t)[0])]


class Objective:
    """Negative log posterior of t, and its gradient, over precomputed pair differences D (d, n(n-1)/2)."""

    def __init__(self, D: Array, y: Array, kernel: str, prior: LogNormal) -> None:
        self.D, self.y, self.kernel, self.prior = D, y, kernel, prior

    def __call__(self, t: Array) -> tuple[float, Array]:
        found, mu = evidence(self.D, self.y, t[:-2], t[-2], t[-1], self.kernel, MEAN_PRIOR)
        density, slope = self.prior.log_density(t)
        value = found.value - 0.5 * mu * mu / MEAN_PRIOR + density
        if not np.isfinite(value):
            return BIG, np.zeros_like(t)
        return -value, -(found.gradient + slope)

    def hyperparameters(self, t: Array) -> Hyperparameters:
        """t with its profiled mean, as plain floats."""
        _, mu = evidence(self.D, self.y, t[:-2], t[-2], t[-1], self.kernel, MEAN_PRIOR)
        return Hyperparameters(tuple(map(float, t[:-2])), float(t[-2]), float(t[-1]), float(mu), self.kernel)


def _bounds(d: int, noise_floor: float) -> Array:
    """(d + 2, 2): l in [0.005, 2000], s in [0.01, 1000], v in [noise_floor, 10]."""
    return np.asarray(np.log([(5e-3, 2e3)] * d + [(1e-2, 1e3), (noise_floor, max(10.0, noise_floor))]))


def _starts(objective: Objective, bounds: Array, seed: int, n: int) -> list[Array]:
    """A point a little above the mode of the prior, and the most probable n of a few draws from its middle."""
    prior, rng = objective.prior, np.random.default_rng(seed)
    smooth = prior.mode.copy()
    smooth[:-2] += log(2.0)  # the evidence is far steeper towards short length scales than towards long ones
    draws = rng.normal(prior.mode + 0.5 * prior.sigma**2, 0.7 * prior.sigma, size=(DRAWS, len(prior.mu)))
    draws = np.clip(draws, bounds[:, 0], bounds[:, 1])
    best = np.argsort([objective(t)[0] for t in draws], kind="stable")[:n]
    return [np.clip(smooth, bounds[:, 0], bounds[:, 1]), *draws[best]]


def _climb(objective: Objective, starts: list[Array], bounds: Array) -> Array:
    results = [minimize(objective, t, jac=True, method="L-BFGS-B", bounds=bounds,
                        options={"maxiter": 200, "ftol": 1e-8, "gtol": 1e-3}) for t in starts]
    best = min(results, key=lambda result: float(result.fun))  # the first of equals
    return np.asarray(best.x)
