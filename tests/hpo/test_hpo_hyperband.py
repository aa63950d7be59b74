"""Hyperband against Algorithm 1 of Li et al. (2018), derived again in plain Python: who is trained, to where, and who goes on."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from hpo import OPTIMIZERS, Hyperband, Random, Simulator, Stop, Study, make, run
from hpo.optimizers import hyperband
from hpo.testing.spaces import plane
from tests.hpo.examples import run_example

RANGES = [(1, 81, 3), (2, 50, 3), (1, 50, 3), (1, 64, 4), (3, 100, 2), (5, 5, 3)]  # lowest and highest budget, eta


def loss_of(config: dict[str, Any], until: int, seed: int) -> float:
    """Rankings change from rung to rung."""
    return math.sin(37.0 * config["x"] + until) + math.cos(23.0 * config["y"] * until)


def algorithm_1(lowest: int, highest: int, eta: int, configs: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """(trial, budget) in the order in which they are trained. R is counted in lowest budgets; r_i is rounded to a whole one."""
    R = Fraction(highest, lowest)
    s_max = next(k for k in range(99) if eta ** (k + 1) > R)  # floor(log_eta R), without a logarithm
    B = (s_max + 1) * R
    trained, following = [], 0
    for s in range(s_max, -1, -1):
        n, r = math.ceil(B / R * Fraction(eta**s, s + 1)), R / eta**s
        T = list(range(following, following + n))
        following += n
        for i in range(s + 1):
            n_i, until = math.floor(Fraction(n, eta**i)), round(r * eta**i * lowest)
            trained += [(trial, until) for trial in T]
            T = sorted(T, key=lambda trial: loss_of(configs[trial], until, 0))[: math.floor(Fraction(n_i, eta))]
    return trained


def trained_by_ours(lowest: int, highest: int, eta: int) -> tuple[list[tuple[int, int]], list[dict[str, Any]]]:
    """What one round of brackets trains, and the configurations of a sampler that is asked so often by itself."""
    optimizer = Hyperband(Random(plane(), seed=3), lowest, highest, eta, rounds=1)
    study = Study(optimizer)
    run(study, Simulator(loss_of), Stop(when=lambda history: False))
    alone = Random(plane(), seed=3)
    return list(study.history.jobs), [dict(alone.sample(study.history, trial) or {}) for trial in range(250)]


@pytest.mark.parametrize(("lowest", "highest", "eta"), RANGES)
def test_trains_what_algorithm_1_trains(lowest: int, highest: int, eta: int) -> None:
    ours, configs = trained_by_ours(lowest, highest, eta)
    theirs = algorithm_1(lowest, highest, eta, configs)
    assert sorted(ours) == sorted(theirs) and len(set(ours)) == len(ours)
    assert [until for _, until in ours] == [until for _, until in theirs]


def test_a_wrong_number_of_configurations_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With n rounded down the second bracket from 2 to 50 starts 4 instead of 5."""
    monkeypatch.setattr(hyperband, "math", SimpleNamespace(ceil=lambda n: math.floor(n + 1e-6), floor=math.floor))
    ours, configs = trained_by_ours(2, 50, 3)
    assert len({trial for trial, _ in ours}) == 16
    assert sorted(ours) != sorted(algorithm_1(2, 50, 3, configs))


def test_the_lowest_rung_is_the_highest_budget_over_a_power_of_eta() -> None:
    """Not `min_resource` itself, unless that is one: a trial from 2 to 50 takes 22.8 epochs on average, from 1 only 13.7."""

    def epochs_a_trial(lowest: int) -> tuple[int, float]:
        table = Hyperband(Random(plane()), lowest, 50, 3).table()
        spent = sum(n * (until - below) for ladder in table
                    for (n, until), below in zip(ladder, [0, *(until for _, until in ladder)], strict=False))  # fmt: skip
        return table[0][0][1], spent / sum(ladder[0][0] for ladder in table)

    run_example(Hyperband)
    assert epochs_a_trial(2) == (6, pytest.approx(388 / 17))
    assert epochs_a_trial(1) == (2, pytest.approx(673 / 49))


@pytest.mark.parametrize("rate", [0, 1, 2])
@pytest.mark.parametrize("name", [name for name, cls in OPTIMIZERS.items() if hasattr(cls, "table")])
def test_the_table_is_what_a_round_trains(name: str, rate: int) -> None:
    """Whatever the options are: by its own account, bracket by bracket, and by the results of a run."""
    optimizer = make(name, plane(), min_resource=2, max_resource=54, min_early_stopping_rate=rate, rounds=1)
    assert isinstance(optimizer, Hyperband)
    table = optimizer.table()
    assert [optimizer.ladder(i) for i in range(len(table) + 1)] == [*table, None]
    study = Study(optimizer)
    run(study, Simulator(loss_of), Stop(when=lambda history: False))
    expected = Counter[int]()
    for ladder in table:
        expected.update({until: count for count, until in ladder})
    assert Counter(until for _, until in study.history.results) == expected
