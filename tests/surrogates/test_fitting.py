"""Fitting: recovers what generated the data, survives ugly data, gives the same bits twice."""

import numpy as np
import pytest

from surrogates import Domain, GaussianProcess, Score, acquisition, fit, maximize, standardise
from surrogates.fitting import Objective


def box(d):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)


def mixed():
    return Domain(
        ("float", "int", "categorical", "float"), (None, np.linspace(0, 1, 6), None, None), (0, 6, 3, 0),
        ((), (), (), ((2, (1.0,)),)),
    )


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
def test_gradient_of_the_objective(kernel):
    rng = np.random.default_rng(0)
    X, y = rng.random((15, 3)), rng.normal(size=15)
    objective = Objective.of(X, y, box(3), kernel)
    t = np.array([-0.5, 0.1, -1.0, 0.3, -3.0])
    numeric = [(objective(t + e)[0] - objective(t - e)[0]) / 2e-5 for e in 1e-5 * np.eye(5)]
    np.testing.assert_allclose(objective(t)[1], numeric, rtol=1e-6, atol=1e-7)


def test_finds_the_length_scales_and_the_noise_of_a_draw():
    rng = np.random.default_rng(1)
    X = rng.random((150, 2))
    K = np.exp(-0.5 * ((X[:, None, 0] - X[None, :, 0]) / 0.2) ** 2) + 1e-10 * np.eye(150)
    y = np.linalg.cholesky(K) @ rng.normal(size=150) + 0.1 * rng.normal(size=150)
    theta = fit(X, y, box(2), seed=0, kernel="rbf")
    assert np.exp(theta.log_lengthscales[0]) == pytest.approx(0.2, rel=0.3)
    assert np.exp(theta.log_lengthscales[1]) > 1.0  # the irrelevant column
    assert np.exp(theta.log_noise / 2) == pytest.approx(0.1, rel=0.3)


def test_same_arguments_same_bits_and_a_warm_start_is_no_worse():
    rng = np.random.default_rng(2)
    X = mixed().random(rng, 30)
    y = standardise(np.nan_to_num(X).sum(axis=1) ** 2).z
    theta = fit(X, y, mixed(), seed=3)
    assert fit(X.copy(), y.copy(), mixed(), seed=3) == theta
    objective = Objective.of(X, y, mixed())
    warm = fit(X, y, mixed(), seed=4, start=theta)
    values = [objective(np.array(t.to_list()[:-1]))[0] for t in (theta, warm)]
    assert values[1] <= values[0] + 1e-6


def test_an_affine_change_of_the_loss_changes_no_bit_if_it_is_a_power_of_two():
    rng = np.random.default_rng(3)
    X, y = rng.random((20, 2)), rng.normal(size=20)
    assert fit(X, standardise(y).z, box(2), seed=0) == fit(X, standardise(y * 2.0**40).z, box(2), seed=0)


def ugly(case):
    """One ugly data set: rows, raw losses, domain."""
    rng = np.random.default_rng(case)
    domain = mixed() if case % 4 == 0 else box(50 if case % 29 == 1 else int(rng.integers(1, 9)))
    n = 1 if case % 11 == 0 else int(rng.integers(1, 26))
    X = domain.random(rng, n)
    if case % 3 == 0:
        X = X[rng.integers(0, max(1, n // 3), n)]  # duplicates
    y = rng.normal(size=n) * 10.0 ** rng.integers(-12, 13) + (10.0 ** rng.integers(-3, 13) if case % 2 else 0.0)
    if case % 5 == 0:
        y[:] = y[0]
    y[rng.random(n) < (0.3 if case % 7 == 0 else 0.0)] = [np.nan, np.inf, -np.inf, 1e9, 1e300][case % 5]
    return X, y, domain


@pytest.mark.parametrize("block", range(6))
def test_ugly_data_give_a_usable_model_and_a_legal_proposal(block):
    for case in range(50 * block, 50 * block + 50):
        X, y, domain = ugly(case)
        z = standardise(y).z
        theta = fit(X, z, domain, seed=case)
        gp = GaussianProcess(domain, X, z, theta).condition(X[:2])
        assert np.isfinite(theta.to_list()).all(), case
        assert np.isfinite(gp.predict(X)).all() and (gp.predict(X)[1] > 0).all(), case
        if case % 5 == 0:
            x = maximize(Score(gp, acquisition("logei"), float(z.min())), domain, case, X, set(domain.keys(X)))
            assert x is not None and domain.keys(x[None])[0] not in domain.keys(X), case
            np.testing.assert_array_equal(domain.snap(x[None])[0], x)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="at least one target"):
        fit(np.zeros((0, 1)), np.zeros(0), box(1), seed=0)
    with pytest.raises(ValueError, match="does not fit 2 columns"):
        fit(np.zeros((1, 2)), np.zeros(1), box(2), seed=0, start=fit(np.zeros((1, 1)), np.zeros(1), box(1), seed=0))
    with pytest.raises(ValueError, match="finite"):
        fit(np.zeros((1, 1)), np.array([np.nan]), box(1), seed=0)


def test_many_rows_reach_what_a_multi_start_on_all_rows_reaches():
    rng = np.random.default_rng(4)
    X = rng.random((230, 3))
    y = standardise(np.sin(5 * X).sum(axis=1) + 0.1 * rng.normal(size=230)).z
    objective = Objective.of(X, y, box(3))
    best = objective(objective.climb(objective.starts(0, 4, [])))[0]
    for start in (None, fit(X[:100], y[:100], box(3), seed=0)):
        theta = fit(X, y, box(3), seed=0, start=start)
        assert objective(np.array(theta.to_list()[:-1]))[0] <= best + 1e-3


def test_no_columns():
    theta = fit(np.zeros((3, 0)), np.array([-1.0, 0.0, 1.0]), box(0), seed=0)
    assert theta.mean == pytest.approx(0, abs=1e-12) and theta.log_lengthscales == ()
