"""Coarse to fine beside random search: stages that forget, the task that misleads, what is stored and shown."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import narrowing
from experiments.benchmark.tasks import TASKS
from experiments.narrowing import (
    METHODS,
    MISLEADING,
    ForgetfulNarrowing,
    measure_searches,
    narrowing_measurements,
    narrowing_tables,
)
from hpo import Study


@pytest.mark.parametrize(("name", "least", "most"), [("trap4", 0.05, 0.15), ("hole2", 0.02, 0.04)])
def test_the_better_bowl_is_small_and_all_else_leads_to_the_other(name: str, least: float, most: float) -> None:
    task = MISLEADING[name]
    rows = task.space().domain.random(np.random.default_rng(0), 5000)
    values = np.array([task.true(task.space().decode(row)) for row in rows])
    wide, narrow = (np.sqrt(np.mean((rows - place) ** 2, axis=1)) for place in (narrowing.WIDE, narrowing.NARROW))
    inside = values < narrowing.DEPTH + wide - 1e-12
    assert task.true({x: narrowing.NARROW for x in task.space().parameters}) == task.best == 0.0
    assert least < np.mean(inside) < most and narrow[inside].max() < 0.3
    assert values[~inside].min() >= narrowing.DEPTH and np.corrcoef(wide[~inside], values[~inside])[0, 1] > 0.999


def test_stages_that_forget_recommend_the_best_of_the_last_and_narrow_around_the_one_before() -> None:
    task = TASKS["hartmann6"]
    for seed in range(20):
        study = Study(ForgetfulNarrowing(task.space(), seed=seed, points=4))
        while (job := study.optimizer.ask()) is not None:
            study.optimizer.tell(job, task.true(dict(job.config)))
        jobs, losses = list(study.history.jobs.values()), [study.history.losses(key)[0] for key in study.history.jobs]
        for stage in (1, 2):
            first = 4 * stage
            before = jobs[first - 4 + int(np.argmin(losses[first - 4 : first]))]
            assert jobs[first].note.record["narrowing"]["around"] == before.config
        assert study.recommend().number == 8 + int(np.argmin(losses[8:]))
        if min(losses[8:]) > min(losses[:8]):
            return
    raise AssertionError("no seed's last stage was worse than an earlier one: the test shows nothing")


def test_every_method_spends_its_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "SEEDS", 2)
    for make in METHODS.values():
        study = Study(make(TASKS["branin"].space(), 0, 48))
        for _ in range(48):
            study.optimizer.tell(study.optimizer.ask(), 1.0)
        found = measure_searches(TASKS["branin"], make, 12)
        assert len(found["regret"]) == 2 and min(found["regret"]) >= 0.0


def test_the_tables_compare_seeds_with_themselves() -> None:
    def line(task: str, method: str, regrets: list[float]) -> dict[str, object]:
        return {"task": task, "method": method, "evaluations": 48, "regret": regrets, "scale": 1e-6}

    lines = [line("branin", name, [1.0, 4.0]) for name in ("random", "Sobol")]
    said = narrowing_tables([*lines, line("branin", "Narrowing", [0.5, 2.0])])
    assert "| Narrowing, 48 | -1.00 ± 0.00 |  | 1, 0 of 1 | -1.00 ± 0.00 |" in said
    assert "| branin | -1.00 ± 0.00 | -1.00 ± 0.00 |  |" in said


def test_measurements_have_keys_of_their_own() -> None:
    names = [one.name for one in narrowing_measurements()]
    assert len({*names}) == len(names) == (len(TASKS) + 2) * (len(METHODS) + len(narrowing.LONG))
