"""Rules that stop: that a search to the end tells where each rule would have stopped it, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

import hpo
from experiments import stopping
from experiments.benchmark.tables import TASKSET
from experiments.benchmark.tasks import TASKS
from experiments.stopping import (
    RULES,
    SAMPLERS,
    lost_at,
    mean_over_tasks,
    measure_rules,
    measure_trials,
    stopping_tables,
)

ENDS: dict[str, Any] = {
    "Target(best + 5 %)": lambda best, scale: hpo.Target(best + 0.05 * scale),
    "NoImprovement(10)": lambda best, scale: hpo.NoImprovement(10),
    "NoImprovement(10, 1 %)": lambda best, scale: hpo.NoImprovement(10, 0.01 * scale),
    "RegretBound()": lambda best, scale: hpo.RegretBound(),
    "RegretBound(5 %)": lambda best, scale: hpo.RegretBound(0.05 * scale),
    "ExpectedImprovementPerCost(1 %)": lambda best, scale: hpo.ExpectedImprovementPerCost(0.01 * scale),
}


@pytest.fixture(scope="module")
def searched() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "EVALUATIONS", 40)
        return measure_rules(TASKS["branin"], SAMPLERS["GP"], 0)


@pytest.mark.parametrize("rule", ENDS)
def test_a_rule_stops_where_the_search_to_the_end_says(rule: str, searched: dict[str, Any]) -> None:
    task, n = TASKS["branin"], RULES[rule](searched)
    ending = ENDS[rule](task.best, searched["scale"])
    study = hpo.minimize(task.true, task.space(), hpo.GP(task.space(), seed=0), 40, stop=ending, quiet=True)
    assert (n or 40) == len(study.history.results) and (study.stop_reason != "40 trials were started") == (n is not None)
    assert task.true(study.recommend().config) - task.best == pytest.approx(searched["regret"][(n or 40) - 1], rel=1e-3)


def test_failures_and_gains_count_as_in_the_rule() -> None:
    values: list[float | None] = [None, 3.0, 3.0, None, 2.5, 2.4, 2.3, 2.2, 2.1]
    for patience in (1, 2, 3):
        for min_delta in (0.0, 0.25, 0.6):
            optimizer = hpo.Random({"x": (0.0, 1.0)})
            rule, stopped = hpo.NoImprovement(patience, min_delta), None
            for n, value in enumerate(values, 1):
                optimizer.tell(optimizer.ask(), float("nan") if value is None else value)
                if stopped is None and rule.verdict(optimizer.history, optimizer) is not None:
                    stopped = n
            assert stopping.stop_by_patience({"losses": values, "scale": 1.0}, patience, min_delta) == stopped


def test_what_is_lost_is_the_regret_at_the_stop_less_that_at_the_end() -> None:
    line = {"regret": [None, 8.0, 4.0, 2.0], "scale": 100.0}
    assert [lost_at(line, n) for n in (1, 2, 3, 4, None)] == pytest.approx([6.0, 6.0, 2.0, 0.0, 0.0])
    assert lost_at({"regret": [4.0, 0.0, 0.0], "scale": 1.0}, 2) == 0.0
    lines = [{"task": task, "seed": seed} for seed, tasks in ((0, "ab"), (1, "ab"), (2, "a")) for task in tasks]
    assert mean_over_tasks(lines, [1.0, 3.0, 5.0, 7.0, 9.0]) == pytest.approx([2.0, 6.0])


def test_the_tables_show_rules_and_trials(searched: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "EVALUATIONS", 40)
    line = {**searched, "part": "study", "task": "branin", "method": "GP"}
    trials = [{"part": "trials", "task": task, "seed": 0, "method": method, "epochs": epochs, "regret": regret}
              for task in "ab" for method, epochs, regret in (("whole trainings", 2500, 0.1), ("MedianStopping", 1000, 0.3))]
    said = stopping_tables([*({**line, "seed": seed} for seed in range(2)), *trials])
    assert "| MedianStopping | 2 | 60.0 ± 0.0 | 0.200 ± 0.000 | 100% |" in said
    assert "| RegretBound(), GP | 0% | 0.0 ± 0.0 | 0.00 ± 0.00 | 0.00 ± 0.00 | 0% |" in said


@pytest.mark.data
def test_the_same_trials_run_under_every_rule(shared_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_data(TASKSET)
    monkeypatch.setattr(stopping, "TRIALS", 10)
    found = {name: measure_trials(stopping.CURVES[0], make, 1) for name, make in stopping.SCHEDULERS.items()}
    whole = found["whole trainings"]
    assert whole["epochs"] == 500
    assert all(one["epochs"] < 500 for name, one in found.items() if name != "whole trainings")
    assert min(one["regret"] for one in found.values()) == whole["regret"]
