"""Where a model, or functions drawn from it, may be least: candidates, then a descent in the float columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from surrogates.acquisitions.situation import Situation, distinct
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess
from surrogates.paths import Paths

SPREAD = 384  # random candidates
STEPS = 30  # of L-BFGS-B
Slope = Callable[[Array], tuple[Array, Array]]  # (m, d) rows -> values (m,) and derivatives (m, d), row by row


def candidates(situation: Situation, rng: np.random.Generator) -> Array:
    """(k, d) told and pending rows, and random feasible ones."""
    return distinct(situation.domain, np.concatenate([situation.started, situation.domain.some(rng, SPREAD)]))


def descend(slope: Slope, X: Array, domain: Domain) -> Array:
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
                     options={"maxiter": STEPS, "maxfun": 2 * STEPS})
    end = X.copy()
    end[free] = np.clip(found.x, 0.0, 1.0)
    better = domain.ok(end) & (slope(end)[0] < slope(X)[0])
    return np.where(better[:, None], end, X)


def minima_of_draws(gp: GaussianProcess, situation: Situation, q: int) -> Array:
    """(q,) minima of q functions drawn from the posterior gp (Wang & Jegelka 2017, section 3.2, with Wilson's paths)."""
    rng = np.random.default_rng(situation.seed)
    paths, X = Paths(gp, rng, q), candidates(situation, rng)
    values = paths(X)
    end = descend(lambda rows: paths.gradient(rows, np.eye(q)), X[values.argmin(axis=0)], gp.domain)
    return np.minimum(values.min(axis=0), np.diag(paths(end)))


def minima_of_mean(gp: GaussianProcess, situation: Situation, q: int) -> Array:
    """(k, d) at most q different local minima of the posterior mean, found from the candidates with the least mean."""
    X = candidates(situation, np.random.default_rng(situation.seed))
    start = X[np.argsort(gp.mean(X), kind="stable")[:q]]

    def slope(rows: Array) -> tuple[Array, Array]:
        mean, _, d_mean, _ = gp.predict_gradient(rows)
        return mean, d_mean

    return distinct(gp.domain, descend(slope, start, gp.domain))
