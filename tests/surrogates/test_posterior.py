"""Joint posteriors against their definition, their gradients against differences, draws against their moments."""

import numpy as np
import pytest

from surrogates import Domain, GaussianProcess, Hyperparameters
from surrogates.paths import Paths
from surrogates.posterior import covariances_with, cross, factor, joint, sample
from tests.surrogates.contexts import DOMAINS, box, conditional, context, differences, hyperparameters, inside

CASES = [(name, kernel, warped) for name in DOMAINS for kernel, warped in
         [("matern52", False), ("matern32", False), ("rbf", False), ("matern52", True)]]


def by_definition(gp, X, A):
    """Rasmussen & Williams 2006, eq. 2.24."""
    F, G = gp.features(X), gp.features(A)
    K = gp.covariance(gp.Z, gp.Z)[0] + np.exp(gp.theta.log_noise) * np.eye(len(gp.Z))
    return gp.covariance(F, G)[0] - gp.covariance(F, gp.Z)[0] @ np.linalg.solve(K, gp.covariance(gp.Z, G)[0])


@pytest.mark.parametrize(("name", "kernel", "warped"), CASES)
def test_joint_and_cross_equal_their_definition(name, kernel, warped):
    domain = DOMAINS[name]
    s = context(domain, kernel=kernel, warped=warped)
    gp, X = s.gp, inside(domain, 7)
    A = np.concatenate([inside(domain, 4, seed=2), s.rows[:5], s.rows[2:3]])  # new, told, and told once more
    mean, covariance = joint(gp, A)
    np.testing.assert_array_equal(mean, gp.predict(A)[0])
    np.testing.assert_allclose(covariance, by_definition(gp, A, A), atol=1e-12)
    np.testing.assert_array_equal(covariance, covariance.T)
    np.testing.assert_allclose(np.diag(covariance), gp.predict(A)[1], atol=1e-12)
    np.testing.assert_allclose(cross(gp, X, A), by_definition(gp, X, A), atol=1e-12)


@pytest.mark.parametrize(("name", "kernel", "warped"), CASES)
def test_gradients_of_mean_variance_and_cross_covariances(name, kernel, warped):
    domain = DOMAINS[name]
    s = context(domain, kernel=kernel, warped=warped)
    X, A = inside(domain, 6), np.concatenate([inside(domain, 3, seed=2), s.rows[:3]])
    probe, none, ones = covariances_with(s.gp, A)[0].at(X), np.zeros(len(X)), np.ones(len(X))
    C = probe.cross
    G = np.random.default_rng(3).normal(size=C.shape)
    expected = differences(lambda rows: (G * cross(s.gp, rows, A)).sum(axis=1), X, domain)
    slope = probe.pull(none, none, G)
    np.testing.assert_allclose(slope[:, domain.floats], expected[:, domain.floats], rtol=1e-7, atol=1e-9)
    assert (slope[:, domain.categorical] == 0).all() and (slope[np.isnan(X)] == 0).all()
    mean, variance, d_mean, d_variance = s.gp.predict_gradient(X)
    np.testing.assert_allclose(probe.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(probe.variance, variance, rtol=1e-12)
    np.testing.assert_allclose(probe.pull(ones, none, 0 * C), d_mean, atol=1e-12)
    np.testing.assert_allclose(probe.pull(none, ones, 0 * C), d_variance, atol=1e-12)


def test_told_rows_keep_their_digits_when_the_noise_is_tiny():
    """With v = 1e-13 a difference of covariances has no digit left; in the identity none is lost."""
    s = context(box(2), n=8, noise=1e-13)
    _, covariance = joint(s.gp, s.rows)
    K = by_definition(s.gp, s.rows, s.rows)
    np.testing.assert_allclose(np.diag(covariance), 1e-13, rtol=1e-6)
    assert np.abs(np.diag(K) - 1e-13).max() > 1e-16  # what it is compared with has lost them
    T = factor(s.gp, covariance)
    np.testing.assert_allclose(T @ T.T, covariance, atol=1e-20)


def test_jitter_counts_as_noise():
    """A smooth kernel on many rows without noise takes jitter, and the identity for told rows must know of it."""
    domain, rows = box(1), np.linspace(0, 1, 40)[:, None]
    gp = GaussianProcess(domain, rows, np.sin(6 * rows[:, 0]), hyperparameters(domain, noise=1e-18, kernel="rbf"))
    assert gp.jitter > 1e-11
    _, covariance = joint(gp, rows)
    C = gp.L @ gp.L.T
    exact = gp.jitter * (np.eye(40) - gp.jitter * np.linalg.inv(C))
    np.testing.assert_allclose(covariance, exact, atol=1e-4 * gp.jitter)
    conditioned = gp.condition(np.array([[0.41]]))
    assert (np.diag(joint(conditioned, np.array([[0.2], [0.41], [0.5]]))[1]) > -1e-12).all()


@pytest.mark.parametrize("name", DOMAINS)
def test_sample_has_the_moments_of_the_posterior(name):
    domain = DOMAINS[name]
    s = context(domain)
    X = np.concatenate([inside(domain, 4), s.rows[:2]])
    draws = sample(s.gp, X, 40_000, np.random.default_rng(0))
    mean, covariance = joint(s.gp, X)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5 * sd.max() / 200)
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.04)


@pytest.mark.parametrize(("name", "kernel", "warped"), CASES)
def test_paths_have_the_moments_of_the_posterior(name, kernel, warped):
    """Frequencies too are drawn anew: over 24 sets of them with 256 paths each the moments come out."""
    domain = DOMAINS[name]
    s = context(domain, n=6, kernel=kernel, warped=warped, noise=0.05)
    X = np.concatenate([inside(domain, 5), s.rows[:1]])
    rng = np.random.default_rng(0)
    draws = np.concatenate([Paths(s.gp, rng, 256, frequencies=1024)(X) for _ in range(24)], axis=1)
    mean, covariance = joint(s.gp, X)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(axis=1) - mean) / sd).max() < 5 / np.sqrt(draws.shape[1])
    np.testing.assert_allclose(np.cov(draws) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.08)


@pytest.mark.parametrize(("name", "kernel", "warped"), CASES)
def test_path_gradients(name, kernel, warped):
    domain = DOMAINS[name]
    paths = Paths(context(domain, kernel=kernel, warped=warped).gp, np.random.default_rng(0), 3)
    X, G = inside(domain, 5), np.random.default_rng(1).normal(size=(5, 3))
    value, slope = paths.gradient(X, G)
    np.testing.assert_allclose(value, (G * paths(X)).sum(axis=1), rtol=1e-10, atol=1e-10)
    expected = differences(lambda rows: (G * paths(rows)).sum(axis=1), X, domain)
    np.testing.assert_allclose(slope[:, domain.floats], expected[:, domain.floats], rtol=1e-6, atol=1e-7)
    assert (slope[:, domain.categorical] == 0).all() and (slope[np.isnan(X)] == 0).all()


def test_paths_pass_near_the_data_and_vary_elsewhere():
    s = context(box(2), noise=1e-6)
    values = Paths(s.gp, np.random.default_rng(0), 64)(s.rows)
    np.testing.assert_allclose(values, np.repeat(s.gp.y[:, None], 64, axis=1), atol=0.01)
    assert Paths(s.gp, np.random.default_rng(0), 64)(inside(box(2), 20)).std(axis=1).max() > 0.1


def test_conditional_rows_share_an_inactive_category():
    domain = conditional()
    s = context(domain)
    asleep = np.array([[0.3, 0.0, np.nan, np.nan]])
    assert np.isfinite(Paths(s.gp, np.random.default_rng(0), 2)(asleep)).all()


def test_without_observations_the_joint_posterior_is_the_prior():
    domain = Domain(("float",) * 2, (None,) * 2, (0,) * 2, ((),) * 2)
    theta = Hyperparameters((0.0, 0.0), 0.5, -4.0, 0.7)
    gp, X = GaussianProcess(domain, np.zeros((0, 2)), np.zeros(0), theta), np.random.default_rng(0).random((4, 2))
    mean, covariance = joint(gp, X)
    np.testing.assert_allclose(mean, 0.7)
    np.testing.assert_allclose(covariance, gp.covariance(X, X)[0], rtol=1e-12)
