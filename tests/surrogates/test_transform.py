"""Targets: exact invariances, failures, divergence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates import isolation, standardise
from surrogates.columns import Columns

special = st.sampled_from([np.inf, np.nan, -np.inf, 1e9, 0.0])
targets = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False) | special, min_size=1, max_size=40)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(targets, st.integers(-200, 200))
def test_powers_of_two_change_no_bit(values, power):
    y = np.array(values)
    y[np.abs(y) < 1e-100] = 0.0  # beyond 2^-200 times that, floats lose bits
    a, b = standardise(y), standardise(np.ldexp(y, power))
    assert a.z.tobytes() == b.z.tobytes()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(targets)
def test_always_finite_order_kept_failures_last(values):
    y = np.array(values)
    z, good = standardise(y).z, np.isfinite(y)
    assert z.shape == y.shape and np.isfinite(z).all()
    assert (np.diff(z[good][np.argsort(y[good])]) >= 0).all()
    if good.any() and not good.all():
        assert z[~good].min() > z[good].max() and np.ptp(z[~good]) == 0
    assert z.std() == pytest.approx(1.0) or (z == 0).all()


@pytest.mark.parametrize("shift", [1.0, -3.7, 1e5])
def test_a_shift_changes_rounding_only(shift):
    y = np.random.default_rng(0).normal(size=30)
    y[3], y[7] = np.inf, 1e4
    np.testing.assert_allclose(standardise(y + shift).z, standardise(y).z, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("huge", [1e9, 1e100, 1e300, 1.7e308])
def test_one_diverged_run_does_not_flatten_the_rest(huge):
    y = np.append(np.random.default_rng(1).normal(size=20), [huge, huge])
    z = standardise(y).z
    assert np.ptp(z[:20]) > 0.02 and z[20:].min() > z[:20].max()
    assert np.ptp(standardise(np.append(y[:20], [1e9])).z[:20]) > 0.5


def test_good_outliers_and_normal_targets_are_left_alone():
    y = np.random.default_rng(2).normal(size=100)
    y[0] = -50.0
    result = standardise(y)
    np.testing.assert_allclose(result.shift + result.scale * result.z, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("y", [[], [3.0], [np.nan], [np.inf, np.nan], [2.0, 2.0, 2.0], [0.3, 0.1 + 0.2], [0.0, 0.0]])
def test_nothing_to_learn_from(y):
    assert (standardise(np.array(y)).z == 0).all()


def test_failures_beside_equal_results():
    z = standardise(np.array([1.0, np.nan, 1.0])).z
    assert z[0] == z[2] < 0 < z[1]


def test_three_hundred_orders_of_magnitude_between_results_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        z = standardise(np.array([1e-13, 3e-13, 2e-13, 5e-13, 1e300])).z
    assert np.isfinite(z).all() and z[4] > z[:4].max()


def test_a_crowd_counts_as_one():
    rng = np.random.default_rng(0)
    spread, crowd = rng.random((20, 6)), 0.5 + 1e-4 * rng.standard_normal((60, 6))
    Z, numeric = np.concatenate([spread, crowd]), Columns(np.zeros(6, dtype=bool))
    weights = isolation(Z, numeric)
    assert weights[20:].sum() == pytest.approx(1.0, rel=0.1) and weights[:20].mean() > 0.5
    y = np.concatenate([rng.normal(size=20), -3.0 + 1e-6 * rng.normal(size=60)])
    alone, all_ = standardise(np.append(y[:20], -3.0)).z, standardise(y, weights=weights).z
    np.testing.assert_allclose(all_[:20], alone[:20], atol=0.5)  # as if there were one of the crowd
    zoomed = standardise(y).z
    assert np.ptp(zoomed[20:]) > 10 * np.ptp(all_[20:]), "without weights the crowd sets the scale"
    choices = np.array([[0.0], [0.0], [1.0], [2.0]])
    np.testing.assert_allclose(isolation(choices, Columns(np.array([True]))), [0.5, 0.5, 1.0, 1.0], atol=1e-10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(targets, st.integers(-100, 100))
def test_weights_keep_the_invariances(values, power):
    y = np.array(values)
    y[np.abs(y) < 1e-100] = 0.0
    weights = np.linspace(0.1, 1.0, len(y))
    a, b = standardise(y, weights=weights), standardise(np.ldexp(y, power), weights=weights)
    good = np.isfinite(y)
    assert a.z.tobytes() == b.z.tobytes() and np.isfinite(a.z).all()
    assert (np.diff(a.z[good][np.argsort(y[good])]) >= 0).all()


@pytest.mark.parametrize("power", [False, True])
def test_a_power_transform_makes_a_skewed_sample_more_nearly_normal(power):
    from scipy.stats import skew

    y = np.random.default_rng(0).gamma(2.0, size=200)
    z = standardise(y, power=power).z
    assert (abs(skew(z)) < 0.2) == power and z.std() == pytest.approx(1.0)
    assert (np.diff(z[np.argsort(y)]) > 0).all()
    assert np.isfinite(standardise(np.array([1.0, 1.0, np.nan, 5.0]), power=power).z).all()
