"""Hypervolume beside pymoo's and moarchiving's, the estimate beside the exact value, and what is refused."""

import moarchiving
import numpy as np
import pytest
from pymoo.indicators.hv import HV

from surrogates import hypervolume as module
from surrogates.hypervolume import estimate_hypervolume, hypervolume


def points(n: int, m: int) -> np.ndarray:
    """(n, m) near a sphere, so that most of them are on the front, a few beyond the reference and one twice."""
    x = np.abs(np.random.default_rng(n * m).normal(size=(n, m)))
    x /= np.linalg.norm(x, axis=1, keepdims=True) * np.random.default_rng(n).uniform(0.85, 1.3, (n, 1))
    return np.concatenate([x, x[:1], np.full((1, m), 2.0)])


def gap(n: int, m: int) -> float:
    theirs = HV(ref_point=np.full(m, 1.1))(points(n, m))
    return abs(hypervolume(points(n, m), np.full(m, 1.1)) / theirs - 1)


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("n", [3, 20, 60])
def test_it_is_pymoos(n: int, m: int) -> None:
    assert gap(n, m) < 1e-12


@pytest.mark.parametrize("m", [2, 3, 4])
def test_it_is_moarchivings(m: int) -> None:
    archive = moarchiving.get_mo_archive(points(40, m).tolist(), reference_point=[1.1] * m)
    assert abs(hypervolume(points(40, m), np.full(m, 1.1)) / float(archive.hypervolume) - 1) < 1e-12


def test_a_mistake_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    true = module._front
    monkeypatch.setattr(module, "_front", lambda rows: true(rows)[1:] if rows.shape[1] == 2 and len(rows) > 2 else true(rows))
    assert gap(20, 3) > 1e-6


def test_the_estimate_and_its_error() -> None:
    exact = hypervolume(points(30, 4), np.full(4, 1.1))
    values = [estimate_hypervolume(points(30, 4), np.full(4, 1.1), seed) for seed in range(8)]
    z = [(value - exact) / error for value, error in values]
    assert max(map(abs, z)) < 4 and 0.3 < np.std(z) < 2.0
    five = hypervolume(points(30, 5), np.full(5, 1.1))
    assert abs(five / HV(ref_point=np.full(5, 1.1))(points(30, 5)) - 1) < 0.02


def test_what_is_beyond_the_reference_adds_nothing_and_shapes_are_checked() -> None:
    assert hypervolume(np.zeros((0, 3)), np.ones(3)) == 0.0 == hypervolume(np.full((4, 3), 1.0), np.ones(3))
    assert hypervolume(np.array([[0.25]]), np.array([1.0])) == 0.75
    with pytest.raises(ValueError, match=r"the shape \(2, 3\) and the reference \(2,\)"):
        hypervolume(np.zeros((2, 3)), np.ones(2))
    with pytest.raises(ValueError, match="allowed are finite numbers"):
        hypervolume(np.zeros((2, 2)), np.array([1.0, np.inf]))
