"""A posterior that grows by rows: the same bits however it grew, and the posterior that is made at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates import Domain, GaussianProcess, Hyperparameters
from surrogates.linalg import Factor, cholesky

DOMAIN = Domain(
    ("float", "categorical", "float", "int"), (None, None, None, np.linspace(0, 1, 4)), (0, 3, 0, 4),
    ((), (), ((1, (1.0, 2.0)),), ((1, (2.0,)),)),
)  # fmt: skip


def problem(n, warped=False, noise=-5.0):
    rng = np.random.default_rng(n)
    theta = Hyperparameters(
        tuple(rng.normal(-0.5, 0.4, 4)), 0.3, noise, 0.2, "matern52", tuple(rng.normal(0, 0.4, 8)) if warped else ()
    )
    return DOMAIN.random(rng, n), rng.normal(size=n), theta


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans())
def test_no_bit_depends_on_how_the_rows_were_divided(base, parts, warped):
    n = base + sum(parts)
    X, y, theta = problem(n, warped)
    once = GaussianProcess(DOMAIN, X[:base], y[:base], theta).extend(X[base:], y)
    grown, at = GaussianProcess(DOMAIN, X[:base], y[:base], theta), base
    for part in parts:
        grown = grown.extend(X[at : at + part], np.random.default_rng(at).normal(size=at + part))
        at += part
    grown = grown.extend(X[:0], y)  # targets are standardised anew at every ask
    Xs = DOMAIN.random(np.random.default_rng(1), 7)
    for a, b in zip(once.predict_gradient(Xs), grown.predict_gradient(Xs), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("warped", [False, True])
def test_it_is_the_posterior_made_at_once(warped):
    X, y, theta = problem(40, warped)
    grown = GaussianProcess(DOMAIN, X[:25], y[:25], theta).extend(X[25:], y)
    whole = GaussianProcess(DOMAIN, X, y, theta)
    Xs = DOMAIN.random(np.random.default_rng(1), 20)
    np.testing.assert_allclose(grown.L, whole.L, rtol=1e-10, atol=1e-12)
    for a, b in zip(grown.predict_gradient(Xs), whole.predict_gradient(Xs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
    pending = DOMAIN.random(np.random.default_rng(2), 3)
    after = np.append(y, whole.predict(pending)[0])
    both = whole.condition(pending).extend(X[:2], np.append(after, [0.5, 0.6]))
    made = GaussianProcess(DOMAIN, np.concatenate([X, pending, X[:2]]), np.append(after, [0.5, 0.6]), theta)
    np.testing.assert_allclose(both.predict(Xs), made.predict(Xs), rtol=1e-9, atol=1e-10)


def test_a_row_that_says_nothing_new_is_no_failure():
    X, y, theta = problem(6, noise=-80.0)
    gp = GaussianProcess(DOMAIN, X, y, theta).extend(np.repeat(X[:1], 5, axis=0), np.append(y, np.full(5, y[0])))
    assert gp.jitter > 0 and np.isfinite(gp.predict(X)).all()


def test_growing_from_nothing():
    X, y, theta = problem(5)
    gp = GaussianProcess(DOMAIN, X[:0], y[:0], theta).extend(X, y)
    np.testing.assert_allclose(gp.predict(X), GaussianProcess(DOMAIN, X, y, theta).predict(X), rtol=1e-10)


def test_the_factor_of_a_grown_matrix():
    A = np.random.default_rng(0).normal(size=(9, 9))
    C = A @ A.T + np.eye(9)
    grown = Factor.of(C[:4, :4]).grow(C[:4, 4:7], C[4:7, 4:7]).grow(C[:7, 7:], C[7:, 7:])
    np.testing.assert_allclose(grown.L, cholesky(C)[0], rtol=1e-12, atol=1e-12)
    assert grown.jitter == 0.0


def test_targets_must_fit_the_rows():
    X, y, theta = problem(5)
    with pytest.raises(ValueError, match="5 rows need as many finite targets, and 3 came"):
        GaussianProcess(DOMAIN, X[:4], y[:4], theta).extend(X[4:], y[:3])
