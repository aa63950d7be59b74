"""Ranks, bootstrap and tests over tasks, against brute force, SciPy and the numbers printed by Demšar (2006)."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats

from experiments.benchmark import ranks
from experiments.benchmark.ranks import Floats

# Table 6 of Demšar 2006: the areas under the curve of four variants of C4.5 on 14 data sets. In the last row but one he
# prints two of 0.975 but ranks the first before the second, so it is a little larger here.
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def brute(groups: list[Floats]) -> Floats:
    """(C, k): the mean rank over all ways to take one seed of every method."""
    tuples = itertools.product(*groups)
    return np.mean([stats.rankdata(np.array(one), axis=0).T for one in tuples], axis=0)  # type: ignore[no-any-return]


def ranked(groups: list[Floats]) -> Floats:
    return ranks.expected_ranks(ranks.estimate_wins(*ranks.side_by_side(groups)))


values = st.sampled_from([0.0, 0.5, 1.0, 1.5, math.inf])  # many ties


@settings(max_examples=40)
@given(st.lists(st.lists(st.tuples(values, values), min_size=1, max_size=4), min_size=1, max_size=4))
def test_expected_rank_is_the_mean_rank_over_all_tuples_of_seeds(groups: list[list[tuple[float, float]]]) -> None:
    arrays = [np.array(group) for group in groups]
    np.testing.assert_allclose(ranked(arrays), brute(arrays), atol=1e-12)


def test_probability_of_beating_is_mann_whitneys_statistic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 1)), rng.normal(0.5, size=(4, 1))
    p = ranks.estimate_wins(*ranks.side_by_side([a, b]))[0]
    assert p[0, 1] == pytest.approx(stats.mannwhitneyu(b[:, 0], a[:, 0]).statistic / 28)
    assert p[0, 1] + p[1, 0] == pytest.approx(1)
    assert np.diag(p) == pytest.approx([0.5, 0.5])


def test_a_method_without_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one seed.*\[2, 0\]"):
        ranks.side_by_side([np.ones((2, 3)), np.empty((0, 3))])


# -- bootstrap ---------------------------------------------------------------------------------------------------------


def task(*groups: ArrayLike) -> tuple[Floats, ranks.Ints]:
    return ranks.side_by_side([np.asarray(group, dtype=float)[:, None] for group in groups])


def test_a_drawn_rank_is_the_expected_rank_of_the_drawn_seeds() -> None:
    groups = [np.array([[1.0, 3], [2, 2]]), np.array([[1.0, 1], [4, 2], [2, 3]]), np.array([[3.0, 2]])]
    x, owner = ranks.side_by_side(groups)
    weights = ranks.resample(owner, 20, np.random.default_rng(5))
    made = ranks.drawn_ranks(x, owner, 20, np.random.default_rng(5))
    for draw, found in zip(weights, made, strict=True):
        sizes = np.bincount(owner)
        counts = np.rint(draw * sizes[owner]).astype(int)
        drawn = [np.repeat(group, counts[owner == place], axis=0) for place, group in enumerate(groups)]
        assert [len(group) for group in drawn] == [2, 3, 1]
        np.testing.assert_allclose(found, brute(drawn), atol=1e-5)


def test_seeds_are_drawn_uniformly() -> None:
    weights = ranks.resample(np.array([0, 0, 0, 1, 1]), 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(weights.mean(axis=0), [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2], atol=0.01)
    np.testing.assert_allclose(weights[:, 3].std(), math.sqrt(1 / 8), atol=0.01)  # binomial(2, 1/2) / 2


def test_a_dominated_method_is_never_first() -> None:
    rng = np.random.default_rng(1)
    tasks = [task(rng.random(5), rng.random(3), 2 + rng.random(4)) for _ in range(3)]
    draws = ranks.bootstrap(tasks, 2000)
    for shares in (ranks.first(draws.seeds), ranks.first(draws.tasks)):
        assert shares.shape == (2, 3)  # over all checkpoints, and at the only one
        assert np.all(shares[:, 2] == 0)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        np.testing.assert_array_equal(shares[0], shares[1])


def test_fixed_tasks_leave_what_drawn_tasks_do_not() -> None:
    """Each of two methods wins one task for sure: a tie on these tasks, a matter of chance on drawn ones."""
    draws = ranks.bootstrap([task([1], [2]), task([2], [1])], 10_000)
    assert np.all(draws.seeds == 1.5)
    found, counts = np.unique(draws.tasks[:, 0, 0], return_counts=True)
    np.testing.assert_array_equal(found, [1, 1.5, 2])
    np.testing.assert_allclose(counts / 10_000, [1 / 4, 1 / 2, 1 / 4], atol=0.02)
    np.testing.assert_array_equal(ranks.first(draws.seeds), [[0.5, 0.5]] * 2)


def test_a_task_drawn_twice_has_its_seeds_drawn_twice() -> None:
    """With one task, drawn tasks are the fixed one; with two equal ones, the mean of two draws varies half as much."""
    rng = np.random.default_rng(2)
    one = task(rng.random(6), rng.random(6))
    draws = ranks.bootstrap([one, one], 10_000)
    alone = ranks.bootstrap([one], 10_000).seeds[:, 0, 0].var()
    assert draws.tasks[:, 0, 0].var() == pytest.approx(alone / 2, rel=0.06)


def test_the_bootstrap_repeats_itself() -> None:
    tasks = [task([1, 3, 4], [2, 2])]
    np.testing.assert_array_equal(ranks.bootstrap(tasks, 50).tasks, ranks.bootstrap(tasks, 50).tasks)


# -- tests over tasks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "q"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_difference_has_demsars_q(k: int, q: float) -> None:
    """His table 5 (a), at 5 %."""
    assert ranks.critical_difference(k, 30) / math.sqrt(k * (k + 1) / 180) == pytest.approx(q, abs=1e-3)


def test_demsars_example() -> None:
    """His ranks and critical differences; his statistic, 9.28, lacks the correction for ties that SciPy makes."""
    found = ranks.friedman(-AUC)
    assert found is not None
    np.testing.assert_allclose(found.ranks, [3.143, 2.000, 2.893, 1.964], atol=6e-4)
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert ranks.critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.005)
    assert (found.chi2, found.p) == pytest.approx(tuple(stats.friedmanchisquare(*-AUC.T)))
    ties = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * (4**3 - 4))  # three pairs and one block that ties altogether
    assert found.chi2 * ties == pytest.approx(9.28, abs=0.005)
    assert found.f == pytest.approx(13 * found.chi2 / (14 * 3 - found.chi2))
    assert found.p_f == pytest.approx(stats.f.sf(found.f, 3, 39))


def test_friedman_sees_ties_through_rounding() -> None:
    scores = np.array([[1.5, 1.5 + 1e-13, 3.0], [2.0, 1.0, 3.0]])
    found = ranks.friedman(scores)
    assert found is not None
    np.testing.assert_array_equal(found.ranks, [1.75, 1.25, 3.0])


def test_friedman_needs_methods_tasks_and_differences() -> None:
    assert ranks.friedman(np.array([[1.0, 2.0], [1.0, 2.0]])) is None
    assert ranks.friedman(np.array([[1.0, 2.0, 3.0]])) is None
    assert ranks.friedman(np.full((4, 3), 2.0)) is None
    same = ranks.friedman(np.tile([1.0, 2.0, 3.0], (5, 1)))  # the same order everywhere: F is infinite
    assert same is not None
    assert (same.f, same.p_f) == (math.inf, 0)


@pytest.mark.parametrize(
    ("mean", "gap", "joined"),
    [
        ([1, 1.5, 3, 3.2], 1, [(0, 1), (2, 3)]),
        ([1, 2, 3], 1, [(0, 1), (1, 2)]),
        ([1, 2, 3], 5, [(0, 2)]),  # and not (1, 2) within it
        ([1, 2, 3], 0.5, []),
    ],
)
def test_cliques(mean: list[float], gap: float, joined: list[tuple[int, int]]) -> None:
    assert ranks.cliques(mean, gap) == joined


def test_holm() -> None:
    np.testing.assert_allclose(ranks.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(ranks.holm([0.6, 0.7]), [1, 1])


def test_wilcoxon() -> None:
    differences = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
    assert ranks.wilcoxon(differences) == pytest.approx(2 / 2**6)  # all of one sign: the smallest exact p
    assert ranks.wilcoxon(np.zeros(5)) == 1
    assert ranks.wilcoxon(np.array([1.0, -1.0, 0.0])) == pytest.approx(1)
    assert ranks.wilcoxon(differences * 1e-12) == 1  # rounding is no difference
