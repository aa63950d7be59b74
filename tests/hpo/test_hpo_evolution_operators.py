"""Operators of evolutionary methods beside pymoo's, and their distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from pymoo.operators.crossover.sbx import cross_sbx
from pymoo.operators.mutation.pm import mut_pm
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from hpo import pareto
from hpo.optimizers import operators

Patch = pytest.MonkeyPatch


def sorting_gap(n: int, m: int) -> float:
    """How far fronts and crowding are from pymoo's: 0, or the largest difference of a distance; infinite for other fronts."""
    losses = np.round(np.random.default_rng(n + m).random((n, m)), 2)
    losses = np.unique(losses, axis=0)  # pymoo gives one of two equal rows an arbitrary distance
    theirs = NonDominatedSorting().do(losses)
    ours = pareto.fronts(losses.tolist())
    if [sorted(front) for front in ours] != [sorted(front.tolist()) for front in theirs]:
        return math.inf
    gaps = [0.0]
    for front in ours:
        values = losses[front]
        if len(front) < 3 or any(len(np.unique(column)) < len(column) for column in values.T):
            continue  # ties within a column: ours share, pymoo's go by the order of a sort
        found, reference = pareto.crowding(values.tolist()), calc_crowding_distance(values)
        inner = np.isfinite(found)
        assert (inner == np.isfinite(reference)).all()
        gaps.append(float(np.abs(found[inner] / found[inner].sum() - reference[inner] / reference[inner].sum()).max(initial=0.0)))
    return max(gaps)


@pytest.mark.parametrize(("n", "m"), [(12, 2), (60, 3), (200, 4)])
def test_fronts_and_crowding_are_pymoos(n: int, m: int) -> None:
    assert sorting_gap(n, m) < 1e-12


def test_a_mistake_in_sorting_is_seen(monkeypatch: Patch) -> None:
    true = pareto.fronts
    monkeypatch.setattr(pareto, "fronts", lambda losses: true([row[:-1] for row in losses]))
    assert sorting_gap(60, 3) == math.inf


def children_of(cross: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    a, b = np.full(40_000, 0.2), np.full(40_000, 0.5)
    return np.sort(cross(a, b).ravel())


def sbx_gap() -> float:
    """The largest distance between the distribution functions of our children's and pymoo's (Kolmogorov and Smirnov)."""
    ours = children_of(lambda a, b: operators.simulate_binary_crossover(a, b, 5.0, np.random.default_rng(1)))
    shape = (2, 40_000, 1)
    parents = np.stack([np.full(shape[1:], 0.2), np.full(shape[1:], 0.5)])
    theirs = cross_sbx(parents, np.zeros(1), np.ones(1), np.full((40_000, 1), 5.0), np.ones((40_000, 1)),
                       np.full((40_000, 1), 0.5), random_state=np.random.default_rng(2))  # fmt: skip
    theirs = np.sort(np.asarray(theirs).ravel())
    return float(np.abs(np.searchsorted(ours, theirs) / len(ours) - np.arange(len(theirs)) / len(theirs)).max())


def test_simulated_binary_crossover_has_pymoos_distribution() -> None:
    """80,000 children each: a difference of 0.012 has a probability below 1e-4 by chance."""
    assert sbx_gap() < 0.012


def test_a_mistake_in_the_crossover_is_seen(monkeypatch: Patch) -> None:
    true = operators._spread
    monkeypatch.setattr(operators, "_spread", lambda u, beta, eta: true(u, beta, eta + 2))
    assert sbx_gap() > 0.02


def test_polynomial_mutation_has_pymoos_distribution() -> None:
    X = np.full((40_000, 1), 0.3)
    theirs = mut_pm(X, np.zeros(1), np.ones(1), np.full(40_000, 15.0), np.ones(40_000), at_least_once=True,
                    random_state=np.random.default_rng(3))  # fmt: skip
    theirs = np.sort(theirs.ravel())
    for eta, low, high in ((15.0, 0.0, 0.015), (8.0, 0.03, 1.0)):  # the second is another step: it is seen
        ours = np.sort(operators.mutate_polynomially(X.ravel(), eta, np.random.default_rng(4)))
        gap = np.abs(np.searchsorted(ours, theirs) / len(ours) - np.arange(len(theirs)) / len(theirs)).max()
        assert low <= gap < high


def test_steps_are_reflected_at_the_bounds() -> None:
    """The distribution of a normal step from near a bound, folded at it; none lies on the bound."""
    moved = operators.mutate_normally(np.full(40_000, 0.05), 0.1, np.random.default_rng(0))
    normal = NormalDist(0.05, 0.1)
    for x in (0.02, 0.05, 0.1, 0.2):
        assert abs((moved < x).mean() - (normal.cdf(x) - normal.cdf(-x))) < 0.01
    assert ((moved > 0) & (moved < 1)).all()
    np.testing.assert_allclose(operators.reflect(np.array([-0.2, 1.3, 0.4, 2.1, -1.4])), [0.2, 0.7, 0.4, 0.1, 0.6], atol=1e-12)
