"""Standardised targets in the unit in which they were measured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from surrogates import standardise
from surrogates.inversion import invert

RNG = np.random.default_rng(0)
TARGETS = {
    "normal": RNG.normal(3.0, 2.0, 40), "diverged": np.append(RNG.normal(size=30), [1e3, 1e6, 1e9]),
    "tiny": 1e-150 * RNG.normal(size=20), "large": 1e150 * RNG.normal(size=20), "tied": np.append(np.ones(12), [2.0, 3.0, 50.0]),
    "failed": np.append(RNG.normal(size=12), [np.inf, np.nan]), "two": np.array([1.0, 2.0]),
    "lognormal": np.exp(RNG.normal(size=50)),
}  # fmt: skip


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_it_is_the_inverse(name: str, power: bool) -> None:
    y = TARGETS[name]
    good = np.isfinite(y)
    back = invert(y, standardise(y, power).z, power)
    np.testing.assert_allclose(back[good], y[good], rtol=1e-6, atol=1e-9 * np.abs(y[good]).min())


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_the_order_is_kept(name: str, power: bool) -> None:
    z = np.linspace(-6.0, 6.0, 101)
    back = invert(TARGETS[name], z, power)
    assert not np.isnan(back).any() and all(a <= b for a, b in pairwise(back))


def test_the_good_side_is_a_straight_line() -> None:
    y = TARGETS["diverged"]
    low, middle, high = invert(y, np.array([-4.0, -3.0, -2.0]))
    assert high - middle == pytest.approx(middle - low)
    assert middle - low == pytest.approx(standardise(y).scale)


def test_beyond_the_worst_is_anything() -> None:
    """A little further up than 1e9 the inverse would say 1e40."""
    y = TARGETS["diverged"]
    worst = standardise(y).z.max()
    assert invert(y, np.array([worst + 0.5]))[0] == np.inf
    assert np.isfinite(invert(y, np.array([worst - 0.1]))[0])


def test_without_any_difference_there_is_no_unit() -> None:
    assert invert(np.full(5, 2.5), np.zeros(2)).tolist() == [2.5, 2.5]
    assert np.isfinite(invert(np.full(3, np.inf), np.zeros(1))).all()
