"""The drifting process beside dense inverses and differences, and its fit beside random hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from surrogates import time_varying
from surrogates.time_varying import PRIOR, Drift, TimeVaryingProcess, climb_bound, fit_drift

SIZES = [(1, 1), (12, 2), (60, 3)]


def data(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X, t = rng.random((n, k)), np.sort(rng.integers(2, 6, n)).astype(float)
    return X, t, np.sin(4 * X.sum(1) + 0.3 * t) + 0.1 * rng.normal(size=n)


def kernel(theta: Drift, X: np.ndarray, t: np.ndarray, Y: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Bogunovic et al. 2016, with w for the rate of forgetting, pair by pair."""
    s, lengthscale, w = np.exp(theta.log_outputscale), np.exp(theta.log_lengthscale), 1 - np.exp(-2 * np.exp(theta.log_rate))
    return np.array([[s * np.exp(-((x - y) ** 2).sum() / (2 * lengthscale**2)) * (1 - w) ** (abs(a - b) / 2)
                      for y, b in zip(Y, u, strict=True)] for x, a in zip(X, t, strict=True)])  # fmt: skip


def dense(theta: Drift, X: np.ndarray, t: np.ndarray, z: np.ndarray, Q: np.ndarray, now: float) -> tuple[Any, Any]:
    inverse = np.linalg.inv(kernel(theta, X, t, X, t) + np.exp(theta.log_noise) * np.eye(len(X)))
    times = np.full(len(Q), now)
    K = kernel(theta, Q, times, X, t)
    return K @ inverse @ z, np.diag(kernel(theta, Q, times, Q, times) - K @ inverse @ K.T)


THETA = Drift(np.log(0.4), np.log(1.3), np.log(0.05), np.log(0.2))


@pytest.mark.parametrize("n, k", SIZES)
def test_moments_are_those_of_dense_inverses(n: int, k: int) -> None:
    X, t, z = data(n, k)
    Q = np.random.default_rng(1).random((7, k))
    mean, variance = TimeVaryingProcess.of(THETA, X, t, z).moments(Q, 6.0)
    expected = dense(THETA, X, t, z, Q, 6.0)
    assert np.allclose(mean, expected[0], rtol=0, atol=1e-9) and np.allclose(variance, expected[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("n, k", SIZES)
def test_pending_rows_leave_the_mean_and_shrink_the_variance(n: int, k: int) -> None:
    X, t, z = data(n, k)
    pending, Q = np.random.default_rng(2).random((3, k)), np.random.default_rng(1).random((7, k))
    process = TimeVaryingProcess.of(THETA, X, t, z)
    at = process.moments(pending, 6.0)[0]
    mean, variance = process.condition(pending, np.full(3, 6.0)).moments(Q, 6.0)
    expected = dense(THETA, np.vstack([X, pending]), np.append(t, [6.0] * 3), np.append(z, at), Q, 6.0)
    assert np.allclose(mean, expected[0], atol=1e-8) and np.allclose(variance, expected[1], atol=1e-8)
    assert np.allclose(mean, process.moments(Q, 6.0)[0]) and (variance <= process.moments(Q, 6.0)[1] + 1e-12).all()


def test_a_process_without_rows_is_its_prior() -> None:
    process = TimeVaryingProcess.of(THETA, np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    mean, variance = process.moments(np.random.default_rng(0).random((3, 2)), 1.0)
    assert np.allclose(mean, 0.0) and np.allclose(variance, 1.3)


def difference(f: Any, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(len(x))])


@pytest.mark.parametrize("n, k", SIZES)
def test_gradients_are_differences(n: int, k: int) -> None:
    X, t, z = data(n, k)
    process, x = TimeVaryingProcess.of(THETA, X, t, z), np.full(k, 0.37)
    rows = np.array([x, x / 2])
    values, slopes = process.bound_gradients(rows, 6.0, 2.0)
    assert np.allclose(values, process.upper_bound(rows, 6.0, 2.0))
    for row, slope in zip(rows, slopes, strict=True):
        assert np.allclose(slope, difference(lambda u: process.upper_bound(u[None], 6.0, 2.0)[0], row), atol=1e-6)
    squares, lags = ((X[:, None] - X) ** 2).sum(-1), np.abs(t[:, None] - t)
    point = np.array(THETA.to_list())
    _, gradient = time_varying._negative_log_posterior(point, squares, lags, z)
    numeric = difference(lambda p: time_varying._negative_log_posterior(p, squares, lags, z)[0], point)
    assert np.allclose(gradient, numeric, rtol=1e-4, atol=1e-5)


def log_posterior(theta: Drift, X: np.ndarray, t: np.ndarray, z: np.ndarray) -> float:
    from scipy.stats import multivariate_normal

    C = kernel(theta, X, t, X, t) + np.exp(theta.log_noise) * np.eye(len(X))
    u = (np.array(theta.to_list()) - PRIOR[:, 0]) / PRIOR[:, 1]
    return float(multivariate_normal(np.zeros(len(X)), C).logpdf(z) - 0.5 * u @ u)


@pytest.mark.parametrize("n, k", SIZES[1:])
def test_a_fit_is_more_probable_than_random_ones(n: int, k: int) -> None:
    X, t, z = data(n, k)
    found, rng = fit_drift(X, t, z), np.random.default_rng(3)
    best = log_posterior(found, X, t, z)
    others = [Drift.from_list(np.clip(rng.normal(PRIOR[:, 0], PRIOR[:, 1]), *time_varying.BOUNDS.T)) for _ in range(100)]
    near = [Drift.from_list(np.array(found.to_list()) + rng.normal(0, 0.05, 4)) for _ in range(30)]
    assert best >= max(log_posterior(theta, X, t, z) for theta in [*others, *near]) - 1e-6
    assert Drift.from_list(found.to_list()) == found and fit_drift(X, t, z) == found


def test_what_drifts_is_told_from_what_stays() -> None:
    rng = np.random.default_rng(0)
    X, t = rng.random((80, 1)), np.repeat(np.arange(8.0), 10)
    stays, drifts = np.sin(6 * X[:, 0]), np.sin(6 * X[:, 0] + 1.2 * t)
    assert fit_drift(X, t, stays).log_rate < np.log(0.02) < np.log(0.1) < fit_drift(X, t, drifts).log_rate


def test_climbing_moves_the_free_columns_alone_and_ends_above_a_grid() -> None:
    X, t, z = data(30, 2)
    process = TimeVaryingProcess.of(THETA, X, t, z)
    candidates = np.column_stack([np.random.default_rng(0).random(64), np.full(64, 0.25)])
    rows = climb_bound(process, 6.0, 2.0, candidates, [0])
    assert (rows[:, 1] == 0.25).all() and 64 < len(rows) <= 64 + 8
    values = process.upper_bound(rows, 6.0, 2.0)
    assert (np.diff(values) <= 0).all()
    grid = np.column_stack([np.linspace(0, 1, 2001), np.full(2001, 0.25)])
    assert values[0] >= process.upper_bound(grid, 6.0, 2.0).max() - 1e-9


def test_targets_that_are_not_finite_are_refused() -> None:
    X, t, z = data(3, 1)
    for call in (TimeVaryingProcess.of, lambda theta, *rows: fit_drift(*rows)):
        with pytest.raises(ValueError, match=r"targets must be finite|all targets finite"):
            call(THETA, X, t, np.array([0.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match="at least one target"):
        fit_drift(X[:0], t[:0], z[:0])


def forget(self: Drift, X: Any, t: Any, Y: Any, u: Any) -> Any:
    """The wrong kernel: (1 - w)^|t - t'|, without the half."""
    return kernel(Drift(self.log_lengthscale, self.log_outputscale, self.log_noise, self.log_rate + np.log(2.0)), X, t, Y, u)


def test_a_wrong_kernel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drift, "covariance", forget)
    with pytest.raises(AssertionError):
        test_moments_are_those_of_dense_inverses(12, 2)


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = time_varying._negative_log_posterior
    monkeypatch.setattr(time_varying, "_negative_log_posterior", lambda *a: (right(*a)[0], right(*a)[1] * [1, 1, 1, -1]))
    with pytest.raises(AssertionError):
        test_gradients_are_differences(12, 2)
