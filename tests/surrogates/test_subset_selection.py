"""The best k of many points against Optuna's split of MOTPE, and against trying every subset."""

from itertools import combinations

import numpy as np
import pytest
from optuna import create_study
from optuna._hypervolume import compute_hypervolume
from optuna._hypervolume.hssp import _solve_hssp
from optuna.samplers._tpe.sampler import _get_reference_point, _split_complete_trials_multi_objective
from optuna.trial import create_trial

from surrogates import subset_selection
from surrogates.columns import Array
from surrogates.subset_selection import beyond_worst, select_by_hypervolume, select_by_rank


def front(n: int, M: int, seed: int) -> Array:
    """n points of which none dominates another."""
    rng = np.random.default_rng(seed)
    F = np.abs(rng.standard_normal((n, M)))
    return np.asarray(F / np.linalg.norm(F, axis=1, keepdims=True) - 0.3)


def optunas_split(F: Array, k: int) -> list[int]:
    study = create_study(directions=["minimize"] * F.shape[1])
    trials = [create_trial(values=list(map(float, row)), user_attrs={"i": i}) for i, row in enumerate(F)]
    below, _ = _split_complete_trials_multi_objective(trials, study, k)
    return sorted(trial.user_attrs["i"] for trial in below)


SHAPES = [(n, M) for n in (6, 40, 150) for M in (2, 3, 4)]


@pytest.mark.parametrize(("n", "M"), SHAPES)
def test_the_subset_is_optunas(n: int, M: int) -> None:
    F, k = front(n, M, n + M), n // 3
    theirs = _solve_hssp(F, np.arange(n), k, _get_reference_point(F))
    assert list(select_by_hypervolume(F, k, beyond_worst(F))) == list(theirs)


@pytest.mark.parametrize(("n", "M"), SHAPES)
def test_the_split_is_optunas(n: int, M: int) -> None:
    F = np.random.default_rng(n + M).standard_normal((n, M))
    F[n // 2 :: 3] = F[: len(F[n // 2 :: 3])]  # some points twice
    for k in sorted({1, 2, n // 4, n // 2, n - 1, n}):
        chosen = select_by_rank(F, k)
        values = {tuple(row) for row in F[optunas_split(F, k)]}
        assert {tuple(row) for row in F[chosen]} == values and len(set(chosen)) == k


def test_a_box_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subset_selection, "_split", lambda low, high, point: (low[:0], high[:0]))
    F = front(40, 3, 43)
    theirs = _solve_hssp(F, np.arange(40), 13, _get_reference_point(F))
    assert list(select_by_hypervolume(F, 13, beyond_worst(F))) != list(theirs)


@pytest.mark.parametrize("M", (2, 3))
def test_greedy_is_near_the_best_subset(M: int) -> None:
    F = front(10, M, M)
    reference = beyond_worst(F)
    best = max(compute_hypervolume(F[list(few)], reference) for few in combinations(range(10), 4))
    got = compute_hypervolume(F[select_by_hypervolume(F, 4, reference)], reference)
    assert (1 - 1 / np.e) * best <= got <= best * (1 + 1e-12)


def test_equal_points_and_infinite_references() -> None:
    F = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    assert list(select_by_hypervolume(F, 3, np.array([3.0, 3.0]))) == [0, 2, 1]
    assert list(select_by_hypervolume(F, 2, np.array([np.inf, 3.0]))) == [0, 1]
    assert list(select_by_rank(np.array([[1e300, 2.0], [2.0, 1.7e308], [3.0, 1e299]]), 2)) == [0, 1]
    assert list(select_by_rank(np.ones((5, 2)), 3)) == [0, 1, 2]
    assert list(select_by_rank(F, 5)) == [0, 1, 2]
