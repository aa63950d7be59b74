"""Slice sampling: the right distribution, the same bits, legal hyperparameters on ugly data."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from surrogates import Domain, draw, fit
from surrogates.fitting import Objective
from surrogates.slices import Chain


def box(d):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)


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
    density = np.array([[[chain._density(np.array([a, b, c])) for c in axes[2]] for b in axes[1]] for a in axes[0]])
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
