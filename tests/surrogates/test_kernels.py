"""Kernels: positive semi-definite on any space, derivatives against finite differences, flat between levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import squareform

from surrogates import KERNELS, Domain, GaussianProcess, Hyperparameters
from surrogates.columns import ARC, OFF, Columns
from surrogates.distances import Pairs, contract_x, distances


@st.composite
def domains(draw):
    """A random mixed, conditional domain."""
    kinds = draw(st.lists(st.sampled_from(["float", "int", "categorical"]), min_size=1, max_size=6))
    sizes = tuple(0 if kind == "float" else draw(st.integers(1, 5)) for kind in kinds)
    levels = tuple(np.linspace(0, 1, n) if kind == "int" else None for kind, n in zip(kinds, sizes, strict=True))
    parents = []
    for j in range(len(kinds)):
        choices = [i for i in range(j) if kinds[i] != "float"]
        if not choices or draw(st.booleans()):
            parents.append(())
            continue
        i = draw(st.sampled_from(choices))
        values = np.arange(sizes[i], dtype=float) if levels[i] is None else levels[i]
        parents.append(((i, (float(draw(st.sampled_from(list(values)))),)),))
    return Domain(tuple(kinds), levels, sizes, tuple(parents))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(domains(), st.sampled_from(sorted(KERNELS)), st.integers(0, 2**32 - 1), st.floats(-4, 4))
def test_positive_semi_definite_on_mixed_conditional_domains(domain, kernel, seed, shift):
    rng = np.random.default_rng(seed)
    Z = domain.features(domain.random(rng, 25))
    log_l = rng.normal(shift, 1, domain.d)
    K = KERNELS[kernel](distances(Z, Z, log_l, domain.columns))[0]
    np.testing.assert_allclose(K, K.T, rtol=0, atol=1e-14)
    assert np.linalg.eigvalsh(K).min() > -1e-12 * len(K)
    assert (np.diag(K) == 1.0).all() and K.max() <= 1.0


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_slope_is_the_derivative_of_the_value(kernel):
    r2, h = np.array([1e-3, 0.1, 0.5, 1.0, 3.0, 20.0]), 1e-7
    numeric = (KERNELS[kernel](r2 + h)[0] - KERNELS[kernel](r2 - h)[0]) / (2 * h)
    np.testing.assert_allclose(KERNELS[kernel](r2)[1], numeric, rtol=1e-6)
    value, slope = KERNELS[kernel](np.zeros(1))
    assert value[0] == 1.0 and np.isfinite(slope[0])


COLUMNS = Columns(np.array([False, True, False, False]), np.array([False, False, True, False]))  # the third may be off


def rows(rng, n):
    optional = np.where(rng.random(n) < 0.3, OFF, rng.random(n))
    return np.column_stack([rng.random(n), rng.integers(0, 3, n), optional, rng.random(n)])


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_derivative_with_respect_to_log_lengthscales(kernel):
    rng = np.random.default_rng(0)
    Z, log_l, h = rows(rng, 7), rng.normal(-0.5, 0.5, 4), 1e-6
    pairs, W = Pairs(Z, COLUMNS), rng.normal(size=21)
    upper = np.triu_indices(7, 1)

    def value(log_l):
        return W @ KERNELS[kernel](distances(Z, Z, log_l, COLUMNS))[0][upper]

    weights = W * KERNELS[kernel](pairs.r2(log_l))[1]
    np.testing.assert_allclose(pairs.r2(log_l), distances(Z, Z, log_l, COLUMNS)[upper], rtol=1e-12, atol=1e-14)
    numeric = [(value(log_l + h * e) - value(log_l - h * e)) / (2 * h) for e in np.eye(4)]
    got = -2 * np.exp(-2 * log_l) * pairs.sums(squareform(weights), weights)
    np.testing.assert_allclose(got, numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_derivative_with_respect_to_the_query(kernel):
    rng = np.random.default_rng(1)
    A, B, log_l, h = rows(rng, 8), rows(rng, 9), rng.normal(-0.5, 0.5, 4), 1e-6
    W, on = rng.normal(size=(8, 9)), A[:, 2] != OFF

    def value(A):
        return (W * KERNELS[kernel](distances(A, B, log_l, COLUMNS))[0]).sum(axis=1)

    got = contract_x(W * KERNELS[kernel](distances(A, B, log_l, COLUMNS))[1], A, B, log_l, COLUMNS)
    for c, moved in ((0, np.ones(8, dtype=bool)), (2, on), (3, np.ones(8, dtype=bool))):
        e = h * np.eye(4)[c]
        expected = (value(A + e) - value(A - e)) / (2 * h)
        np.testing.assert_allclose(got[moved, c], expected[moved], rtol=1e-6, atol=1e-8)
    assert 0 < on.sum() < 8 and (got[:, 1] == 0).all() and (got[~on, 2] == 0).all()


def test_the_model_is_flat_where_the_decoded_integer_is():
    domain = Domain(("int",), (np.linspace(0, 1, 5),), (5,), ((),))
    X, y = np.array([[0.0], [0.5], [1.0]]), np.array([0.0, 1.0, -1.0])
    gp = GaussianProcess(domain, X, y, Hyperparameters((-1.0,), 0.0, -6.0, 0.0))
    mean, variance = gp.predict(np.array([[0.14], [0.25], [0.37]]))
    assert len(set(mean)) == 1 and len(set(variance)) == 1


def test_an_inactive_column_never_separates_two_rows():
    domain = Domain(("categorical", "float"), (None, None), (2, 0), ((), ((0, (1.0,)),)))
    Z = domain.features(np.array([[0.0, 0.1], [0.0, 0.9], [1.0, 0.5], [1.0, 0.9]]))
    r2 = distances(Z, Z, np.zeros(2), domain.columns)
    assert r2[0, 1] == 0.0 and r2[2, 3] == pytest.approx((2 - 2 * np.cos(0.4 * ARC)) / ARC**2)
    np.testing.assert_allclose(r2[:2, 2:], 1 + 1 / ARC**2)  # for the parent and for the child, whatever its value


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_a_branch_that_was_never_active_is_believed_to_be_flat(kernel, warped):
    """Nothing was learned of its parameters, so no value of theirs is better or better known; after one row one is."""
    levels = np.linspace(0, 1, 4)
    domain = Domain(("categorical", "float", "int", "float"), (None, None, levels, None), (2, 0, 4, 0),
                    ((), ((0, (1.0,)),), ((0, (1.0,)),), ()))
    rng = np.random.default_rng(0)
    X = domain.snap(np.column_stack([np.zeros(8), rng.random((8, 3))]))
    theta = Hyperparameters((0.0, -1.0, -0.5, -1.0), 0.0, -6.0, 0.3, kernel, tuple(rng.normal(0, 0.4, 8)) if warped else ())
    gp = GaussianProcess(domain, X, rng.normal(size=8), theta)
    untried = domain.snap(np.column_stack([np.ones(50), rng.random((50, 2)), np.full(50, 0.7)]))
    mean, variance, by_mean, by_variance = gp.predict_gradient(untried)
    np.testing.assert_allclose(mean, mean[0], rtol=1e-12)
    np.testing.assert_allclose(variance, variance[0], rtol=1e-12)
    np.testing.assert_allclose([by_mean[:, 1], by_variance[:, 1]], 0.0, atol=1e-12)
    assert np.ptp(gp.extend(untried[:1], np.append(gp.y, 1.0)).predict(untried)[1]) > 0.1
