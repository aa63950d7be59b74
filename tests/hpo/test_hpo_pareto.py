"""Non-dominated fronts against what their definition says of every pair, and of thousands of rows."""

import tracemalloc
from itertools import pairwise
from random import Random as Random_

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo import Float, Random, Space, Study
from hpo.pareto import crowding, fronts

LOSSES = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf]), min_size=m, max_size=m), max_size=30)
)


def by_definition(losses: list[list[float]]) -> list[list[int]]:
    left, found = list(range(len(losses))), []

    def dominates(i: int, j: int) -> bool:
        return losses[i] != losses[j] and all(a <= b for a, b in zip(losses[i], losses[j], strict=True))

    while left:
        found.append([j for j in left if not any(dominates(i, j) for i in left)])
        left = [i for i in left if i not in found[-1]]
    return found


@given(LOSSES)
@settings(max_examples=300, deadline=None)
def test_fronts_are_what_nothing_dominates(losses: list[list[float]]) -> None:
    assert fronts(losses) == by_definition(losses)


def test_many_rows_need_no_square_array() -> None:
    for m in (2, 3):
        values = np.random.default_rng(0).random((5000, m))
        tracemalloc.start()
        found = fronts(values)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(map(len, found)) == 5000 and peak < 10e6  # a square array of bytes is 25e6


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=25))
@settings(max_examples=100, deadline=None)
def test_the_front_that_a_history_keeps_is_the_first(values: list[tuple[int, int]]) -> None:
    optimizer = Random(Space(x=Float(0.0, 1.0)))
    study = Study(optimizer, objectives={"a": "min", "b": "max"})
    for a, b in values:
        optimizer.add({"x": 0.5}, {"a": a, "b": b})
    first = fronts([study.history.losses(key) for key in study.history.finished_keys])[0]
    assert [trial.key for trial in study.pareto] == [study.history.finished_keys[i] for i in first]
    assert study.recommend().key == study.history.rank(study.history.finished_keys)[0]


FRONTS = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.5, 7.0, np.inf])] * 2), min_size=1, max_size=12)


@given(FRONTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_crowding_knows_no_order_and_no_favourites(losses: list[tuple[float, float]], random: Random_) -> None:
    order = list(range(len(losses)))
    random.shuffle(order)
    once, again = crowding(losses), crowding([losses[i] for i in order])
    np.testing.assert_array_equal(once[order], again)
    for i, j in pairwise(order):
        assert losses[i] != losses[j] or once[i] == once[j]


def test_crowding_of_a_flat_column_is_that_of_the_others() -> None:
    np.testing.assert_array_equal(crowding([(1.0, 5.0)] * 4), np.zeros(4))
    np.testing.assert_array_equal(crowding([(0.0, 1.0), (1.0, 1.0), (3.0, 1.0)]), [np.inf, 1.0, np.inf])
    np.testing.assert_array_equal(crowding([(0.0,), (1.0,), (1.0,), (4.0,)]), [np.inf, 0.5, 0.5, np.inf])  # ties share
