"""Where a model, or functions drawn from it, may be least: candidates, then a descent in the float columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from surrogates.acquisitions.context import Context, distinct
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess
from surrogates.paths import FREQUENCIES, Paths

SPREAD = 384  # random candidates
STEPS = 30  # of L-BFGS-B
ROUGH = 256, 10  # frequencies and steps where only the places of minima are wanted, and not their values
BASIN = 0.7  # prior correlation above which two starts are taken to be in one basin
Slope = Callable[[Array], tuple[Array, Array]]  # (m, d) rows -> values (m,) and derivatives (m, d), row by row


def candidates(context: Context, rng: np.random.Generator) -> Array:
    """(k, d) told and pending rows, and random feasible ones."""
    return distinct(context.domain, np.concatenate([context.started_rows, context.domain.try_rows(rng, SPREAD)]))


def descend(slope: Slope, X: Array, domain: Domain, steps: int = STEPS) -> Array:
    """(m, d) rows with lower values, all descended at once; a row that gets infeasible or no better stays."""
    free = domain.floats & ~np.isnan(X)
    if not free.any():
        return X

    def total(x: Array) -> tuple[float, Array]:
        rows = X.copy()
        rows[free] = x
        values, slopes = slope(rows)
        return float(values.sum()), slopes[free]

    found = minimize(total, X[free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * int(free.sum()),
                     options={"maxiter": steps, "maxfun": 2 * steps})
    end = X.copy()
    end[free] = np.clip(found.x, 0.0, 1.0)
    better = domain.is_feasible(end) & (slope(end)[0] < slope(X)[0])
    return np.where(better[:, None], end, X)


def minima_of_draws(gp: GaussianProcess, context: Context, q: int) -> Array:
    """(q,) minima of q functions drawn from the posterior gp (Wang & Jegelka 2017, section 3.2, with Wilson's paths)."""
    paths, least, end = _drawn(gp, context, q, FREQUENCIES, STEPS)
    return np.minimum(least, np.diag(paths(end)))


def places_of_minima(gp: GaussianProcess, context: Context, q: int) -> Array:
    """(k, d) different rows, at most q, at which functions drawn from the posterior gp are least: where min f may be."""
    return distinct(gp.domain, _drawn(gp, context, q, *ROUGH)[2])


def _drawn(gp: GaussianProcess, context: Context, q: int, frequencies: int, steps: int) -> tuple[Paths, Array, Array]:
    """q functions, the least value (q,) of each at the candidates, and the rows (q, d) to which they descend from there."""
    rng = np.random.default_rng(context.seed)
    paths, X = Paths(gp, rng, q, frequencies), candidates(context, rng)
    values = paths(X)
    end = descend(lambda rows: paths.gradient(rows, np.eye(q)), X[values.argmin(axis=0)], gp.domain, steps)
    return paths, values.min(axis=0), end


def minima_of_mean(gp: GaussianProcess, context: Context, q: int) -> Array:
    """(k, d) at most q different local minima of the posterior mean, found from low candidates that are apart."""
    X = candidates(context, np.random.default_rng(context.seed))

    def slope(rows: Array) -> tuple[Array, Array]:
        mean, _, d_mean, _ = gp.predict_gradient(rows)
        return mean, d_mean

    return distinct(gp.domain, descend(slope, X[_lowest_apart(gp, X, q)], gp.domain))


def _lowest_apart(gp: GaussianProcess, X: Array, q: int) -> list[int]:
    """Numbers of at most q rows X (m, d): each has the least mean of those that are in no basin of one before it."""
    mean, F = gp.mean(X), gp.features(X)
    sd, taken = np.sqrt(gp.prior(F)), [int(mean.argmin())]
    nearest = np.zeros(len(X))  # the largest correlation with a row that was taken
    for _ in range(q - 1):
        i = taken[-1]
        nearest = np.maximum(nearest, gp.covariance(F[i : i + 1], F)[0][0] / (sd[i] * sd))
        if (nearest > BASIN).all():
            break
        taken.append(int(np.where(nearest > BASIN, np.inf, mean).argmin()))
    return taken
