"""Domains, posteriors and contexts that the tests of acquisitions share."""

import numpy as np

from surrogates import Context, Domain, GaussianProcess, Hyperparameters


def box(d):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)


def mixed():
    return Domain(
        ("float", "categorical", "float", "int"), (None, None, None, np.linspace(0, 1, 5)), (0, 3, 0, 5), ((),) * 4
    )


def conditional():
    return Domain(
        ("float", "categorical", "float", "int"),
        (None, None, None, np.linspace(0, 1, 4)),
        (0, 3, 0, 4),
        ((), (), ((1, (1.0, 2.0)),), ((1, (2.0,)),)),
    )


def curves():
    """Columns of all kinds, and a budget."""
    return Domain(
        ("float", "categorical", "float", "int", "budget"),
        (None, None, None, np.linspace(0, 1, 4), None),
        (0, 3, 0, 4, 1),
        ((), (), ((1, (1.0, 2.0)),), (), ()),
    )


LINE = Domain(("float", "budget"), (None, None), (0, 1), ((), ()))


def without(domain):
    """The domain less its budget."""
    return Domain(domain.kinds[:-1], domain.levels[:-1], domain.sizes[:-1], domain.parents[:-1])


DOMAINS = {"box": box(3), "mixed": mixed(), "conditional": conditional(), "curves": curves()}
AT_ONE_BUDGET = [name for name, domain in DOMAINS.items() if not domain.has_budget]  # a context's rows are those of its model
BUDGETS = (0.04, 0.12, 0.36, 1.0)
DECAY = (-0.2, -0.5, 0.5)  # log r, log q, log a


def hyperparameters(domain, noise=1e-2, kernel="matern52", seed=0, warped=False):
    rng = np.random.default_rng(seed)
    warp = tuple(rng.normal(0.0, 0.3, 2 * domain.d)) if warped else ()
    lengths, decay = tuple(rng.normal(-0.7, 0.3, domain.d)), DECAY if domain.has_budget else ()
    return Hyperparameters(lengths, 0.2, float(np.log(noise)), 0.1, kernel, warp, decay)


def context(domain, n=15, pending=0, objectives=1, noise=1e-2, seed=0, kernel="matern52", warped=False, **more):
    """Targets of each objective are one draw of the prior that the posterior has, with its noise.

    With a budget they stand at several, and so do pending rows; what they are compared with is at the horizon.
    """
    rng = np.random.default_rng(seed)
    rows = at_budgets(domain, domain.random(rng, n))
    gps = []
    for i in range(objectives):
        theta = hyperparameters(domain, noise, kernel, seed + i, warped)
        empty = GaussianProcess(domain, rows[:0], np.zeros(0), theta)
        C = empty.covariance(empty.features(rows), empty.features(rows))[0] + noise * np.eye(n)
        y = theta.mean + np.linalg.cholesky(C) @ rng.normal(size=n)
        gps.append(GaussianProcess(domain, rows, y, theta))
    at_horizon, pending = at_budgets(domain, rows, (1.0,)), at_budgets(domain, domain.random(rng, pending), BUDGETS[1:])
    incumbent = float(gps[0].predict(at_horizon)[0].min())
    return Context(tuple(gps), at_horizon, pending, incumbent, seed, **more)


def at_budgets(domain, X, budgets=BUDGETS):
    """Rows X (m, d), as a copy, at these budgets in turn where there is a column for them."""
    X = X.copy()
    if domain.has_budget:
        X[:, -1] = np.resize(budgets, len(X))
    return X


def inside(domain, m, seed=1):
    """(m, d) rows whose floats keep away from the bounds."""
    X = domain.random(np.random.default_rng(seed), m)
    X[:, domain.floats] = 0.02 + 0.96 * X[:, domain.floats]
    return X


def differences(f, X, domain, h=2e-5):
    """(m, d) derivatives by the float columns to fourth order, zero in all other and in inactive columns."""
    slope = np.zeros(X.shape)
    for c in np.flatnonzero(domain.floats):
        step = h * np.eye(X.shape[1])[c]
        near, far = f(X + step) - f(X - step), f(X + 2 * step) - f(X - 2 * step)
        slope[:, c] = np.where(np.isnan(X[:, c]), 0.0, (8 * near - far) / (12 * h))
    return slope


def assert_slopes(score, X, domain, rtol=1e-6):
    """The score's derivatives against differences, relative to the longest gradient; zero where they must be."""
    value, slope = score.gradient(X)
    np.testing.assert_allclose(value, score(X), rtol=1e-12, atol=1e-12)
    expected = differences(score, X, domain)
    smooth = domain.floats  # the slope in an int column is the kernel's through its levels, on which the score is flat
    np.testing.assert_allclose(slope[:, smooth], expected[:, smooth], rtol=0, atol=rtol * np.abs(expected).max())
    assert np.abs(expected).max() > 0
    assert (slope[:, domain.categorical] == 0).all() and (slope[np.isnan(X)] == 0).all()
    assert not domain.has_budget or (slope[:, -1] == 0).all()
