"""PASHA beside Algorithm 1 of Bohdal et al. 2023, written down plainly, with its noise from all pairs anew."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from hpo import PASHA, Random
from hpo.optimizers import pasha
from hpo.testing.spaces import plane
from tests.hpo.examples import run_example
from tests.hpo.following import follow, noisy, simulate

BUDGETS = [1, 3, 9, 27, 81]
SIZES = [(20, 1), (60, 4), (150, 16)]  # trials, workers


class Plain:
    """Algorithm 1, with the soft ranking of its section 4.1 and, where epsilon is None, the noise of section 4.2."""

    def __init__(self, epsilon: float | None = None, percentile: float = 90) -> None:
        self.epsilon, self.fixed, self.percentile = epsilon or 0.0, epsilon is not None, percentile
        self.rungs: list[dict[int, float]] = [{} for _ in BUDGETS]
        self.promoted: list[set[int]] = [set() for _ in BUDGETS]
        self.curves: dict[int, dict[int, float]] = {}
        self.top = 1

    def tell(self, trial: int, until: int, loss: float, curve: list[tuple[int, float]]) -> None:
        k = BUDGETS.index(until)
        self.rungs[k][trial], self.curves[trial] = loss, dict(curve)
        if k == self.top:
            if not self.fixed:
                self.estimate()
            if not self.agree() and self.top < len(BUDGETS) - 1:
                self.top += 1

    def estimate(self) -> None:
        distances = []
        for a, b in combinations(self.rungs[self.top], 2):
            common = sorted(set(self.curves[a]) & set(self.curves[b]), reverse=True)
            order = [self.curves[a][step] > self.curves[b][step] for step in common]
            if any(order[k] != order[0] and order[0] in order[k:] for k in range(len(order))):
                distances.append(abs(self.curves[a][common[0]] - self.curves[b][common[0]]))
        if distances:
            self.epsilon = float(np.percentile(distances, self.percentile))

    def agree(self) -> bool:
        top, below = self.rungs[self.top], self.rungs[self.top - 1]
        now, before = sorted(top, key=top.__getitem__), sorted(top, key=below.__getitem__)
        groups = [{c for c in top if abs(below[c] - below[old]) <= self.epsilon} for old in before]
        return all(c in group for c, group in zip(now, groups, strict=True))

    def ask(self) -> tuple[int, int] | None:
        for k in range(self.top - 1, -1, -1):
            rung = self.rungs[k]
            best = sorted(rung, key=rung.__getitem__)[: int(len(rung) / 3 + 1e-9)]
            promotable = [trial for trial in best if trial not in self.promoted[k]]
            if promotable:
                self.promoted[k].add(promotable[0])
                return promotable[0], BUDGETS[k + 1]
        return None


def build(**options: Any) -> PASHA:
    return PASHA(Random(plane(), seed=3), max_resource=81, **options)


def value(noise: float) -> Any:
    return lambda config, until, seed: noisy(config, until, seed, noise)


@pytest.mark.parametrize("trials, workers", SIZES)
@pytest.mark.parametrize("noise", [0.02, 0.3])
@pytest.mark.parametrize("options", [{}, {"noise_percentile": 50.0}, {"epsilon": 0.0}, {"epsilon": 0.1}], ids=str)
def test_it_is_algorithm_1(options: dict[str, Any], noise: float, trials: int, workers: int) -> None:
    optimizer = build(**options)
    history = simulate(optimizer, trials, workers, value(noise))
    plain = Plain(options.get("epsilon"), options.get("noise_percentile", 90))
    assert follow(history, plain, 1, trials) > 0


def test_the_ladder_grows_with_the_noise_and_not_beyond() -> None:
    """Without noise the order stays, and nothing goes beyond the second rung; with a strict ranking all rungs are opened."""
    quiet = simulate(build(), 60, 4, value(0.0))
    assert quiet.budgets == [1, 3]
    strict = simulate(build(epsilon=0.0), 150, 4, value(0.5))
    assert strict.budgets == BUDGETS
    soft = simulate(build(epsilon=10.0), 150, 4, value(0.5))
    assert soft.budgets == [1, 3]


def crossing_once(curve: Any, other: Any) -> float | None:
    values = dict(other)
    differences = [value - values[step] for step, value in curve if step in values]
    last = differences[-1]
    return abs(last) if any(difference * last < 0 for difference in differences) else None


def hard(ranking: Any, below: Any, epsilon: float) -> bool:
    return list(ranking) == [key[0] for _, key in below]


@pytest.mark.parametrize("name, wrong", [("crossing_gap", crossing_once), ("is_soft_ranking", hard)])
def test_a_wrong_noise_or_ranking_is_seen(name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pasha, name, wrong)
    with pytest.raises(AssertionError, match=r"event|only"):
        for seed_noise in (0.02, 0.05, 0.1, 0.3):
            follow(simulate(build(), 150, 4, value(seed_noise)), Plain(), 1, 150)


def test_curves_without_evaluations_between_rungs_give_a_strict_ranking() -> None:
    def bare(config: dict[str, Any], until: int, seed: int) -> float:
        return noisy(config, until, seed).metrics["loss"]

    first, second = (simulate(build(**options), 60, 4, bare) for options in ({}, {"epsilon": 0.0}))
    upto = next(i for i, event in enumerate(first.events) if event.kind == "finish" and event.body["until"] == 9)
    assert [e.canonical() for e in first.events[1:upto]] == [e.canonical() for e in second.events[1:upto]]


def test_failures_in_the_top_rung_play_no_part() -> None:
    def failing(config: dict[str, Any], until: int, seed: int) -> Any:
        if until == 3 and seed % 2:
            raise ArithmeticError("diverged")
        return noisy(config, until, seed, 0.0)

    history = simulate(build(), 60, 4, failing)
    assert history.budgets == [1, 3] and any(history.is_failure(key) for key in history.at(3))


def test_the_example_in_the_docstring() -> None:
    assert run_example(PASHA)["study"].history.budgets == [1, 3]


@pytest.mark.parametrize("options, message", [
    ({"epsilon": -1.0}, "epsilon is -1.0; allowed are a finite number of at least 0 and None"),
    ({"noise_percentile": 200.0}, "noise_percentile is 200.0; allowed is 0 to 100"),
])  # fmt: skip
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)
