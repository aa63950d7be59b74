"""Local search without gradients: what it returns, what its neighbours are, and that it finds more than random rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from surrogates import Domain
from surrogates.local_search import CANDIDATES, MOVES, STARTS, neighbour_draws, search_rows

CUBE = Domain(("float",) * 4, (None,) * 4, (0,) * 4, ((),) * 4)
# a choice; a number and an integer that its first option activates; a number
MIXED = Domain(("categorical", "float", "int", "float"), (None, None, np.linspace(0, 1, 5), None), (3, 0, 5, 0),
               ((), ((0, (0.0,)),), ((0, (0.0,)),), ()))  # fmt: skip
NONE = np.zeros((0, 4))


def steps(X: np.ndarray) -> np.ndarray:
    """A bowl around 0.3 with flat steps, as a forest's score has them; higher is better."""
    return -np.floor(50 * np.nan_to_num(X - 0.3, nan=0.5) ** 2).sum(axis=1)


@pytest.mark.parametrize("domain", [CUBE, MIXED, replace(MIXED, feasible=lambda X: X[:, 3] > 0.8)])
def test_all_rows_are_legal_and_the_best_come_first(domain: Domain) -> None:
    rows = search_rows(steps, domain, np.random.default_rng(0), domain.random(np.random.default_rng(1), 6))
    assert len(rows) > CANDIDATES / 8 and (np.diff(steps(rows)) <= 0).all()
    assert np.array_equal(domain.snap(rows), rows, equal_nan=True) and domain.is_feasible(rows).all()


def test_it_finds_what_random_rows_do_not() -> None:
    """Among steps of a hundredth; seeds that find no more are seeds at which the search went nowhere."""
    def fine(X: np.ndarray) -> np.ndarray:
        return -np.floor(1e4 * (X - 0.3) ** 2).sum(axis=1)

    better = 0
    for seed in range(10):
        rows = search_rows(fine, CUBE, np.random.default_rng(seed), NONE)
        better += fine(rows)[0] > fine(CUBE.random(np.random.default_rng(100 + seed), 5 * len(rows))).max()
    assert better >= 9


def test_results_are_searched_around() -> None:
    """A peak so narrow that no random row hits it; one column at a time leads up to it."""
    def peak(X: np.ndarray) -> np.ndarray:
        near = np.abs(X - 0.3).max(axis=1) < 0.05
        return np.where(near, -np.abs(X - 0.3).sum(axis=1), -1.0)

    told = np.full((1, 4), 0.34)
    assert peak(search_rows(peak, CUBE, np.random.default_rng(0), told))[0] > peak(told)[0] / 4
    assert peak(search_rows(peak, CUBE, np.random.default_rng(0), NONE))[0] == -1.0


def test_a_small_discrete_domain_is_scored_whole() -> None:
    domain = Domain(("categorical", "int"), (None, np.linspace(0, 1, 5)), (3, 5), ((), ()))
    rows = search_rows(lambda X: X[:, 0] - X[:, 1], domain, np.random.default_rng(0), np.zeros((0, 2)))
    assert len(rows) == 15 and rows[0].tolist() == [2.0, 0.0] and rows[-1].tolist() == [0.0, 1.0]


def test_neighbours_differ_in_one_column_and_what_it_activates() -> None:
    X = np.array([[0.0, 0.5, 0.25, 0.5], [1.0, np.nan, np.nan, 0.5]])
    near, owner = neighbour_draws(MIXED, np.random.default_rng(0), X)
    assert near.shape == (2 * MOVES, 4) and np.bincount(owner).tolist() == [MOVES, MOVES]
    assert np.array_equal(MIXED.snap(near), near, equal_nan=True)
    changed = ~((near == X[owner]) | (np.isnan(near) & np.isnan(X[owner])))
    same_option = near[:, 0] == X[owner, 0]
    assert changed[same_option].sum(axis=1).max() == 1 and changed[owner == 0].any(axis=0).all()
    assert not np.isnan(near[near[:, 0] == 0.0]).any() and np.isnan(near[near[:, 0] > 0.0][:, 1:3]).all()


def test_scores_that_are_nan_or_flat_do_not_stop_it() -> None:
    for score in (lambda X: np.full(len(X), np.nan), lambda X: np.zeros(len(X)), lambda X: np.full(len(X), -np.inf)):
        assert len(search_rows(score, CUBE, np.random.default_rng(0), CUBE.random(np.random.default_rng(1), STARTS))) > CANDIDATES
