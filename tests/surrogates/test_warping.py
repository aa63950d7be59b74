"""Input warping: its function, the gradients of the evidence and of the posterior through it, and what it is for."""

import numpy as np
import pytest

from surrogates import (
    Domain,
    GaussianProcess,
    Hyperparameters,
    default_prior,
    fit,
    log_marginal_likelihood,
    standardise,
)
from surrogates.fitting import Objective
from surrogates.hyperparameters import kumaraswamy
from surrogates.paths import Paths
from surrogates.posterior import covariances_with

DOMAIN = Domain(
    ("float", "categorical", "float", "int"), (None, None, None, np.linspace(0, 1, 4)), (0, 3, 0, 4),
    ((), (), ((1, (1.0, 2.0)),), ((1, (2.0,)),)),
)  # fmt: skip


def box(d):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)


def test_the_function_and_its_derivatives():
    Z, log_a, log_b = np.array([[0.0, 0.3, 1.0], [0.9, 0.5, 0.2]]), np.array([0.0, 0.7, -0.9]), np.array([0.0, -0.4, 0.8])
    value, by_a, by_b = kumaraswamy(Z, log_a, log_b)
    np.testing.assert_allclose(value[:, 0], Z[:, 0], atol=2e-6)  # a = b = 1
    np.testing.assert_allclose(value[1, 2], 1 - (1 - 0.2 ** np.exp(-0.9)) ** np.exp(0.8), rtol=1e-12)
    h = 1e-6
    np.testing.assert_allclose(by_a, (kumaraswamy(Z, log_a + h, log_b)[0] - kumaraswamy(Z, log_a - h, log_b)[0]) / (2 * h),
                               rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(by_b, (kumaraswamy(Z, log_a, log_b + h)[0] - kumaraswamy(Z, log_a, log_b - h)[0]) / (2 * h),
                               rtol=1e-6, atol=1e-9)
    assert (np.diff(kumaraswamy(np.linspace(0, 1, 50)[:, None], log_a[1:2], log_b[1:2])[0][:, 0]) > 0).all()


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
@pytest.mark.parametrize("domain", [box(3), DOMAIN])
def test_gradient_of_the_evidence_and_of_the_objective(domain, kernel):
    rng = np.random.default_rng(0)
    X, y, d = domain.random(rng, 18), rng.normal(size=18), domain.d
    theta = Hyperparameters(tuple(rng.normal(-0.7, 0.4, d)), 0.4, -4.0, 0.3, kernel, tuple(rng.normal(0, 0.4, 2 * d)))
    value, gradient = log_marginal_likelihood(X, y, domain, theta)
    t = np.array(theta.to_list())
    assert np.isfinite(value) and gradient.shape == t.shape
    for i, e in enumerate(np.eye(len(t)) * 1e-5):
        moved = (Hyperparameters.from_list(list(t + s * e), kernel, warped=True) for s in (1, -1))
        up, down = (log_marginal_likelihood(X, y, domain, near)[0] for near in moved)
        assert gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-6)
    objective = Objective.of(X, y, domain, kernel, warped=True)
    at = objective.point(theta)
    numeric = [(objective(at + e)[0] - objective(at - e)[0]) / 2e-5 for e in 1e-5 * np.eye(len(at))]
    np.testing.assert_allclose(objective(at)[1], numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("domain", [box(3), DOMAIN])
def test_gradient_of_the_posterior(domain):
    rng = np.random.default_rng(1)
    X, y, d = domain.random(rng, 20), rng.normal(size=20), domain.d
    theta = Hyperparameters(tuple(rng.normal(-0.7, 0.4, d)), 0.4, -4.0, 0.3, log_warp=tuple(rng.normal(0, 0.4, 2 * d)))
    gp, Xs = GaussianProcess(domain, X, y, theta), domain.random(rng, 12)
    mean, variance, d_mean, d_variance = gp.predict_gradient(Xs)
    np.testing.assert_allclose(gp.predict(Xs), (mean, variance), rtol=1e-12)
    for c in np.flatnonzero(domain.floats):
        step = np.where(np.arange(d) == c, 1e-6, 0.0)
        (up, above), (down, below) = gp.predict(Xs + step), gp.predict(Xs - step)
        np.testing.assert_allclose(d_mean[:, c], (up - down) / 2e-6, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(d_variance[:, c], (above - below) / 2e-6, rtol=1e-6, atol=1e-6)
    assert (d_mean[:, domain.categorical] == 0).all()


EXTREMES = [(a, b) for a in (0.05, 0.7, 20.0) for b in (0.05, 1.3, 20.0)]


@pytest.mark.parametrize(("a", "b"), EXTREMES)
def test_a_strong_bend_near_the_edges(a, b):
    """The function and its three derivatives against 300 digits, relative, where either edge is steep or flat."""
    mpmath = pytest.importorskip("mpmath")
    x = np.array([2e-6, 1e-4, 0.03, 0.5, 0.97, 1 - 1e-4, 1 - 2e-6])
    logs = np.log([a]), np.log([b])
    theta = Hyperparameters((0.0,), 0.0, 0.0, 0.0, log_warp=(*logs[0], *logs[1]))
    found = [*kumaraswamy(x[:, None], *logs), theta.stretch(x[:, None], np.zeros(1, dtype=bool))]
    with mpmath.workdps(300):
        A, B = (mpmath.exp(mpmath.mpf(float(log[0]))) for log in logs)
        for i, xi in enumerate(map(mpmath.mpf, map(float, x))):
            power, log_rest = xi**A, mpmath.log(1 - xi**A)
            rest = mpmath.exp(B * log_rest)
            wanted = [1 - rest, B * rest / (1 - power) * power * mpmath.log(xi) * A, -rest * log_rest * B,
                      A * B * power / xi * rest / (1 - power)]  # fmt: skip
            for values, exact in zip(found, wanted, strict=True):
                assert values[i, 0] == pytest.approx(float(exact), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize(("a", "b"), EXTREMES)
def test_slopes_of_the_posterior_under_a_strong_bend(a, b):
    """Of the mean, the variance, a covariance and a path; near the edges, by steps that are small beside the distance."""
    domain, rng = box(2), np.random.default_rng(3)
    theta = Hyperparameters((-1.0, -0.5), 0.1, -3.0, 0.2, log_warp=(*np.log([a, 1.0, b, 1.0]),))
    gp = GaussianProcess(domain, rng.random((12, 2)), rng.normal(size=12), theta)
    edge = np.array([2e-5, 0.02, 0.5, 0.98, 1 - 2e-5])
    X, far = np.column_stack([edge, np.full(5, 0.4)]), np.array([[0.6, 0.7]])
    paths, beyond, ones, none = Paths(gp, rng, 1), covariances_with(gp, far)[0], np.ones(5), np.zeros(5)
    functions = [lambda x: gp.predict(x)[0], lambda x: gp.predict(x)[1], lambda x: beyond.at(x).cross[:, 0],
                 lambda x: paths(x)[:, 0]]  # fmt: skip
    slopes = [*gp.predict_gradient(X)[2:], beyond.at(X).pull(none, none, ones[:, None]), paths.gradient(X, ones[:, None])[1]]
    for c in range(2):
        h = 1e-3 * np.minimum(X[:, c], 1 - X[:, c])
        step = h[:, None] * np.eye(2)[c]
        for f, slope in zip(functions, slopes, strict=True):
            near, beside_it = f(X + step) - f(X - step), f(X + 2 * step) - f(X - 2 * step)
            rounding = 1e-13 / h  # of values near 1, in their differences
            assert (np.abs(slope[:, c] - (8 * near - beside_it) / (12 * h)) < 1e-6 * np.abs(slope[:, c]) + rounding).all()


def test_no_warping_is_the_middle_of_its_prior():
    prior = default_prior(3, warped=True)
    assert prior.mode[5:] == pytest.approx(np.zeros(6), abs=1e-12)


def test_it_finds_the_end_at_which_things_happen():
    rng = np.random.default_rng(2)
    X = rng.random((60, 1))
    y = standardise(np.sin(8.0 * X[:, 0] ** 4) + 0.001 * rng.normal(size=60)).z  # flat on the left, steep on the right
    plain, warped = fit(X, y, box(1), seed=0), fit(X, y, box(1), seed=0, warped=True)
    assert warped.log_warp[0] > 0.3, "a > 1 stretches the right end"
    Xs = rng.random((200, 1))
    true = np.sin(8.0 * Xs[:, 0] ** 4)
    true = (true - true.mean()) / true.std()

    def error(theta):
        mean = GaussianProcess(box(1), X, y, theta).predict(Xs)[0]
        return np.sqrt(np.mean(((mean - mean.mean()) / mean.std() - true) ** 2))

    assert error(warped) < error(plain)
    assert fit(X, y, box(1), seed=0, warped=True) == warped
    assert fit(X, y, box(1), seed=1, start=warped, warped=True).log_warp[0] > 0.3


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 warping parameters do not fit 2 columns: allowed are 0 and 4"):
        Hyperparameters((0.0, 0.0), 0.0, 0.0, 0.0, log_warp=(0.0,) * 3)
    with pytest.raises(ValueError, match="7 values cannot be hyperparameters"):
        Hyperparameters.from_list([0.0] * 7, warped=True)
