"""Lineage and schedule beside what a Run itself remembers of how it was trained; a schedule trained again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PB2, PBT, Float, Inline, Random, Replay, Simulator, Space, SQLiteLog, Stop, Study, ancestry, run
from hpo.job import Key
from hpo.testing import changed_jobs, replay_in_process
from hpo.testing.spaces import plane
from tests.hpo.examples import run_example
from tests.hpo.following import noisy

SPACE = Space(lr=Float(0.01, 0.5), decay=Float(0.0, 0.1))


class Remembering:
    """Gradient descent on a parabola; its checkpoint holds its weight and the rate and decay of every step."""

    def __init__(self, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        self.config, self.weight, self.steps = config, 3.0, []  # type: ignore[var-annotated]

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        while len(self.steps) < until:
            self.weight -= self.config["lr"] * (2 * self.weight + self.config["decay"])
            self.steps.append([self.config["lr"], self.config["decay"]])
        return {"loss": self.weight**2 + 0.01 * abs(self.config["lr"] - 1.0 / until)}, []

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps([self.weight, self.steps]))

    def load(self, path: str) -> None:
        self.weight, self.steps = json.loads(Path(path).read_text())


def explored(cls: type[PBT], folder: Path, size: int = 6, generations: int = 5) -> Study:
    study = Study(cls(Random(SPACE, seed=1), population=size, generations=generations, max_resource=20))
    run(study, Inline(Remembering, 20, folder))
    return study


def steps_of(folder: Path, key: Key) -> list[list[float]]:
    found: list[list[float]] = json.loads(next(folder.glob(f"{key[0]}-{key[1]}.*")).read_text())[1]
    return found


def expand(schedule: ancestry.Schedule) -> list[list[float]]:
    steps: list[list[float]] = []
    for until, config in schedule:
        steps += [[config["lr"], config["decay"]]] * (until - len(steps))
    return steps


def check(study: Study, folder: Path) -> int:
    """Against the checkpoints that are left; how many of them are of clones."""
    count = 0
    for key in study.keep():
        schedule = study.schedule(key)
        assert expand(schedule) == steps_of(folder, key)
        assert all(a[1] != b[1] for a, b in pairwise(schedule)), "phases differ from each other"
        count += len(schedule) > 1
    return count


@pytest.mark.parametrize("size, generations", [(2, 2), (6, 5), (12, 10)])
@pytest.mark.parametrize("cls", [PBT, PB2])
def test_a_schedule_is_what_the_run_remembers(cls: type[PBT], size: int, generations: int, tmp_path: Path) -> None:
    assert check(explored(cls, tmp_path, size, generations), tmp_path) > 0


def own_alone(history: hpo.History, trial: Any) -> tuple[Key, ...]:
    key = ancestry.key_of(history, trial)
    return tuple(other for other in history.trials[key[0]] if other[1] <= key[1])


def test_a_wrong_lineage_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ancestry, "lineage", own_alone)
    with pytest.raises(AssertionError):
        check(explored(PBT, tmp_path), tmp_path)


def test_a_lineage_runs_from_a_start_from_nothing_to_the_trial(tmp_path: Path) -> None:
    study = explored(PBT, tmp_path)
    for number in study.history.trials:
        keys = study.lineage(number)
        assert keys[-1] == study.history.trials[number][-1] and study.history.jobs[keys[0]].source is None
        assert [study.history.jobs[key].source for key in keys[1:]] == list(keys[:-1])
        assert study.lineage(keys[0]) == keys[:1]


def test_what_was_never_cloned_has_one_phase() -> None:
    study = Study(ASHA(Random(plane(), seed=0), max_resource=9))
    run(study, Simulator(noisy), Stop(trials=9))
    top = study.history.at(9)[0]
    assert study.lineage(top[0]) == ((top[0], 1), (top[0], 3), (top[0], 9))
    assert study.schedule(top[0]) == [(9, study.trial(top).config)]
    for wrong in (99, (0, 2), "0", True):
        with pytest.raises(ValueError, match="is no trial of this study with a result, and none of its keys"):
            study.lineage(wrong)  # type: ignore[arg-type]


# -- Replay ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [PBT, PB2])
def test_a_schedule_trained_again_gives_the_same_weights(cls: type[PBT], tmp_path: Path) -> None:
    first = explored(cls, tmp_path / "first")
    schedule = first.schedule(first.best.number)
    assert len(schedule) > 1
    again = Study(Replay(SPACE, schedule, rounds=2, seed=5))
    run(again, Inline(Remembering, 20, tmp_path / "again"))
    ends = again.history.at(20)
    assert len(ends) == 2 and all(again.trial(key).value == first.best.value for key in ends)
    assert steps_of(tmp_path / "again", ends[0]) == steps_of(tmp_path / "first", first.best.key)
    assert [again.schedule(key[0]) for key in ends] == [schedule, schedule]
    seeds = [again.history.jobs[key].seed for key in again.history.jobs]
    assert len(set(seeds)) == len(seeds)
    assert again.header.optimizer["schedule"] == [[until, config] for until, config in schedule]


RATES = [(2, 0.1), (5, 0.05), (7, 0.05), (9, 0.01)]
SCHEDULE = [(until, {"lr": rate, "decay": 0.0}) for until, rate in RATES]


def build() -> Replay:
    return Replay(SPACE, SCHEDULE, rounds=4, seed=2)


def loss(config: Mapping[str, Any], until: int, seed: int) -> float:
    if seed % 5 == 0 and until > 5:
        raise ArithmeticError("diverged")
    return float(config["lr"] + 1 / until)


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_it_replays_with_losses_and_failures(workers: int, tmp_path: Path) -> None:
    study = Study(build(), log=SQLiteLog(tmp_path / "log.db"))
    history = run(study, Simulator(loss, workers=workers, straggle=1.0, drop=0.05, seed=workers))
    assert changed_jobs(history, build) == []
    assert hpo.load(tmp_path / "log.db").optimizer.describe()["schedule"] == [list(phase) for phase in SCHEDULE]
    assert "replayed" in replay_in_process(build, tmp_path / "log.db")
    failed = sum(history.is_failure(key) for key in history.results)
    assert len(history.at(2)) == 4 and len(history.at(9)) == 4 - sum(history.is_failure(k) for k in history.results if k[1] < 9)
    assert not history.pending and 0 < failed < 5
    resumed = [job for job in history.jobs.values() if job.until == 7]
    assert all(job.source is not None and job.source[0] == job.trial for job in resumed), "the same configuration goes on"


def test_a_kill_changes_nothing() -> None:
    whole = run(Study(build()), Simulator(loss))
    for events in range(1, len(whole.events), 3):
        study, simulator = Study(build(), log=whole.prefix(events).log), Simulator(loss)
        simulator.kept |= set(study.history.results)
        history = run(study, simulator)
        assert set(history.results) == set(whole.results)
        assert {key: job.config for key, job in history.jobs.items()} == {key: job.config for key, job in whole.jobs.items()}


@pytest.mark.parametrize("schedule, message", [
    ([], "schedule is []; allowed is a list of (until, configuration)"),
    ([3], "a phase of the schedule is 3; allowed is (until, configuration)"),
    ([(0, SCHEDULE[0][1])], "the end of a phase is 0; allowed is an integer of at least 1"),
    ([(3, SCHEDULE[0][1]), (3, SCHEDULE[0][1])], "the schedule's phases end at [3, 3]; allowed are budgets in rising order"),
    ([(3, {"lr": 0.1})], "parameter 'decay' is missing"),
])  # fmt: skip
def test_wrong_schedules(schedule: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        Replay(SPACE, schedule)
    assert message in str(error.value)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="Replay trains its schedule, and no configuration that is enqueued"):
        build().enqueue(SCHEDULE[0][1])
    with pytest.raises(ValueError, match="Replay clones trials, but"):
        hpo.minimize(lambda config, report: 1.0, SPACE, build())


def test_the_example_in_the_docstring() -> None:
    names = run_example(Replay)
    assert len(names["again"].history.at(10)) == 3 and names["again"].best.value == pytest.approx(names["study"].best.value)
