"""Slice sampling: the right distribution, the same bits, legal hyperparameters on ugly data."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from surrogates import Domain, GaussianProcess, draw, fit
from surrogates.fitting import MEAN_PRIOR, Objective
from surrogates.priors import default_prior
from surrogates.slice_sampling import Chain


def box(d):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)


def log_density(X, y, log_l, log_s, log_v):
    """log p(t, y) by the book: mu integrated out as one more covariance, log-normal priors, the density of logarithms."""
    r = np.sqrt(5.0) * np.abs(X - X.T) / np.exp(log_l)
    C = np.exp(log_s) * (1.0 + r + r**2 / 3.0) * np.exp(-r) + np.exp(log_v) * np.eye(len(y)) + MEAN_PRIOR
    _, logdet = np.linalg.slogdet(C)
    prior = default_prior(1)
    normal = -0.5 * (((np.array([log_l, log_s, log_v]) - prior.mu) / prior.sigma) ** 2).sum()
    return -0.5 * y @ np.linalg.solve(C, y) - 0.5 * logdet + normal


def test_the_mean_is_drawn_given_the_rest():
    """Its distribution at one t: by the book, N(1'C^-1 y / A, 1/A)."""
    rng = np.random.default_rng(0)
    X, y, t = rng.random((6, 1)), rng.normal(size=6) + 0.5, np.array([-1.0, 0.0, -2.0])
    objective = Objective.of(X, y, box(1))
    draws = [Chain(objective, t, np.random.default_rng(s)).hyperparameters().mean for s in range(2000)]
    gp = GaussianProcess(box(1), X, y, objective.hyperparameters(t))
    ones = np.linalg.solve(gp.L @ gp.L.T, np.ones(6))
    A = ones.sum() + 1.0 / MEAN_PRIOR
    assert np.mean(draws) == pytest.approx(ones @ y / A, abs=4 / np.sqrt(2000 * A))
    assert np.std(draws) == pytest.approx(A**-0.5, rel=0.08)


def test_the_chain_has_the_posterior_as_its_distribution():
    """One column: moments of (log l, log s, log v) against sums over a grid."""
    rng = np.random.default_rng(0)
    X = rng.random((12, 1))
    y = np.sin(6 * X[:, 0]) + 0.2 * rng.normal(size=12)
    chain = Chain(Objective.of(X, y, box(1)), np.array([-1.0, 0.0, -3.0]), np.random.default_rng(1))
    samples = []
    for sweep in range(1500):
        chain.sweep()
        if sweep >= 50:
            samples.append(chain.t)
    axes = [np.linspace(-3.5, 4.5, 41), np.linspace(-3.0, 4.0, 36), np.linspace(-9.0, 1.0, 41)]
    density = np.array([[[log_density(X, y, a, b, c) for c in axes[2]] for b in axes[1]] for a in axes[0]])
    weight = np.exp(density - density.max())
    for i, axis in enumerate(axes):
        marginal = weight.sum(axis=tuple(j for j in range(3) if j != i))
        marginal /= trapezoid(marginal, axis)
        mean = trapezoid(axis * marginal, axis)
        sd = np.sqrt(trapezoid((axis - mean) ** 2 * marginal, axis))
        assert np.mean([t[i] for t in samples]) == pytest.approx(mean, abs=0.2 * sd)
        assert np.std([t[i] for t in samples]) == pytest.approx(sd, rel=0.2)


def test_same_arguments_same_bits_and_a_start_is_used():
    rng = np.random.default_rng(1)
    X, y = rng.random((15, 2)), rng.normal(size=15)
    first = draw(X, y, box(2), 3, 4)
    assert len(first) == 4 and draw(X.copy(), y.copy(), box(2), 3, 4) == first and len(set(first)) == 4
    assert draw(X, y, box(2), 4, 4) != first and draw(X, y, box(2), 3, 4, start=first[-1]) != first
    assert draw(X, y, box(2), 3, 1, start=fit(X, y, box(2), 3))[0] == first[0], "without a start it begins at the mode"


@pytest.mark.parametrize("y", [np.zeros(6), np.array([0.0, 0, 0, 0, 0, 1e3]), np.array([0.0])])
def test_ugly_targets(y):
    X = np.zeros((len(y), 2))
    for theta in draw(X, y, box(2), 0, 3, warped=True):
        assert np.isfinite(theta.to_list()).all()
