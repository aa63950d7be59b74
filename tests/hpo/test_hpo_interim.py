"""Saving inside a job: what a death costs, and that nothing else changes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, Inline, Processes, Random, SQLiteLog, Stop, Study, Threads, run
from hpo.executors import EXECUTORS, Executor, make_executor, standing_name
from hpo.executors.checkpoints import NAME, Checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job, Result
from hpo.optimizer import Optimizer
from tests.hpo.clusters import needs
from tests.hpo.objectives import InsideTrace, InsideTraces, Traces, line, square

ROOT = Path(__file__).resolve().parents[2]
HORIZON = 9


def optimizer(name: str) -> Optimizer:
    sampler = Random(line(), seed=1)
    return ASHA(sampler, max_resource=HORIZON) if name == "asha" else sampler


def drive(study: Study, executor: Executor, trials: int = 4) -> dict[Any, Any]:
    """Every result: metrics and curve by key."""
    history = run(study, executor, Stop(trials=trials))
    return {key: (result.error, result.metrics, result.curve) for key, result in history.results.items()}


def undisturbed(tmp_path: Path, name: str) -> dict[Any, Any]:
    study = Study(optimizer(name), horizon=HORIZON if name == "random" else None)
    return drive(study, Inline(InsideTraces(tmp_path / "whole"), HORIZON))


@pytest.mark.parametrize("name", ["random", "asha"])
def test_a_worker_that_dies_costs_the_steps_since_the_last_save(name: str, tmp_path: Path) -> None:
    expected = undisturbed(tmp_path, name)
    study = Study(optimizer(name), horizon=HORIZON if name == "random" else None)
    traces = InsideTraces(tmp_path / "journal", {0: 2, 1: 8, 3: 2})
    pool = Processes(traces, HORIZON, tmp_path / "c", workers=1, checkpoint_every=0.0)
    assert drive(study, pool) == expected
    lost = [event.body["cause"] for event in study.history.events if event.kind == "lost"]
    assert lost and set(lost) == {"worker"}
    assert sorted(step[:2] for step in traces.lines()) == sorted(step[:2] for step in InsideTraces(tmp_path / "whole").lines())
    assert {path.name for path in (tmp_path / "c").iterdir()} == {standing_name(study.history, key) for key in study.keep()}


def test_without_saves_the_training_is_trained_again(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path, "random")
    traces = InsideTraces(tmp_path / "journal", {0: 8})
    study = Study(optimizer("random"), horizon=HORIZON)
    assert drive(study, Processes(traces, HORIZON, tmp_path / "c", workers=1, checkpoint_every=math.inf)) == expected
    assert len(traces.lines()) == 4 * HORIZON + 8


DRIVER = """
import sys
from tests.hpo.test_hpo_interim import again
again(sys.argv[1])
"""


def again(folder: str) -> None:
    """The same study from its log, wherever it stands."""
    study = Study(optimizer("random"), horizon=HORIZON, log=SQLiteLog(f"{folder}/log.db"))
    traces = InsideTraces(f"{folder}/journal", {0: 8, 2: 3})
    drive(study, Inline(traces, HORIZON, f"{folder}/c", checkpoint_every=0.0))


def test_a_driver_that_dies_inside_a_job_goes_on_from_there(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path, "random")
    ends = [subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path)], cwd=ROOT, check=False).returncode for _ in range(3)]
    assert ends == [-9, -9, 0]
    study = Study(optimizer("random"), horizon=HORIZON, log=SQLiteLog(tmp_path / "log.db"))
    assert {key: (result.error, result.metrics, result.curve) for key, result in study.history.results.items()} == expected
    study.history.log.close()
    assert len(InsideTraces(tmp_path / "journal").lines()) == 4 * HORIZON
    assert not list((tmp_path / "c").glob("*.part*"))


class Refused(InsideTrace):
    """Its checkpoints inside a job are refused by the system."""

    def save(self, path: str) -> None:
        if self.step < HORIZON:
            Path(path).write_text("half of it", encoding="utf-8")
            raise OSError(28, "No space left on device")
        super().save(path)


def test_a_full_disk_inside_a_job_ends_nothing(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path, "random")
    refusing = lambda config, seed, horizon: Refused(config, seed, tmp_path / "j", {})  # noqa: E731
    executor = Inline(refusing, HORIZON, tmp_path / "c", checkpoint_every=0.0)
    study = Study(optimizer("random"), horizon=HORIZON)
    with pytest.warns(UserWarning, match=r"trial 0 goes on without a checkpoint inside its job: saving 0-9.ckpt.part.*No space"):
        assert drive(study, executor) == expected
    assert not [event for event in study.history.events if event.kind == "lost"]
    assert {path.name for path in (tmp_path / "c").iterdir()} == {standing_name(study.history, key) for key in study.keep()}


def test_what_does_not_load_is_trained_from_the_source(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    job = Job(0, {"x": 0.5}, 9, seed=3)
    whole = Worker(InsideTraces(tmp_path / "w"), HORIZON, checkpoints).execute(job)
    checkpoints.interim_path(job.key, 1).write_text("[4]", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"trial 0 is trained from its source: 0-9.1.ckpt.part does not load \(ValueError"):
        found = Worker(InsideTraces(tmp_path / "j"), HORIZON, checkpoints).execute(job, {job.key: 2})
    assert isinstance(found, Result) and isinstance(whole, Result) and found.metrics == whole.metrics
    checkpoints.close()


def test_the_last_attempt_counts_and_a_first_one_takes_nothing(tmp_path: Path) -> None:
    """What an earlier study left in the folder under the same name is not this trial's."""
    checkpoints = Checkpoints(tmp_path / "c")
    job = Job(0, {"x": 0.5}, 9, seed=3)
    for attempt, step in ((0, 7), (2, 4)):
        checkpoints.interim_path(job.key, attempt).write_text(json.dumps([step, 0.5, []]), encoding="utf-8")
    for attempt, begin in ((0, 0), (1, 7), (2, 7), (3, 4)):
        traces = InsideTraces(tmp_path / f"j{attempt}")
        Worker(traces, HORIZON, checkpoints).execute(job, {job.key: attempt})
        assert traces.lines()[0][1] == begin
    checkpoints.drop_interim(job.key, 1)
    assert checkpoints.find_interim(job.key, 2) is None and checkpoints.find_interim(job.key, 3) is not None
    checkpoints.close()


def test_looking_through_the_folder_keeps_what_a_pending_job_saved(tmp_path: Path) -> None:
    executor = Inline(Traces(tmp_path / "j"), HORIZON, tmp_path / "c")
    names = ("0-9.ckpt", "0-9.ckpt.part", "0-9.1.ckpt.part", "1-9.ckpt.part", "1-9.2.ckpt.part", "2-9.ckpt.part",
             "0-9.ckpt.17.half", "7-9.ckpt.part.0a1b2c3d.tmp")  # fmt: skip
    for name in names:
        assert NAME.fullmatch(name), name
        (tmp_path / "c" / name).write_text("")
    executor.keep(lambda: {(0, 9): 0, (1, 9): None})
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["0-9.ckpt", "1-9.2.ckpt.part", "1-9.ckpt.part"]
    executor.close()


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_is_saved_inside_a_job(name: str, tmp_path: Path) -> None:
    traces = InsideTraces(tmp_path / "journal", {})
    executor = make_executor(name, traces, HORIZON, tmp_path / "c", {"workers": 1, "checkpoint_every": 0.0, **needs(name)})
    executor.submit(Job(0, {"x": 0.5}, 9, seed=3))
    outcome = executor.wait(900.0)
    try:
        assert outcome is not None and isinstance(outcome[1], Result) and len(outcome[1].curve) == HORIZON
        assert json.loads((tmp_path / "c" / "0-9.ckpt.part").read_text(encoding="utf-8"))[0] == HORIZON
        assert outcome[1].system["save_seconds"] > 0
        executor.drop_interim((0, 9), 0)
        assert [path.name for path in (tmp_path / "c").iterdir()] == ["0-9.ckpt"]
    finally:
        executor.close()


def test_the_default_saves_nothing_in_a_short_job(tmp_path: Path) -> None:
    executor = Inline(InsideTraces(tmp_path / "j"), HORIZON, tmp_path / "c")
    executor.submit(Job(0, {"x": 0.5}, 9))
    executor.wait()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["0-9.ckpt"]
    executor.close()


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("every", ["soon", -1.0, math.nan, True])
def test_times_that_are_none_are_refused(name: str, every: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint_every is"):
        make_executor(name, InsideTraces(tmp_path / "j"), HORIZON, None, {"checkpoint_every": every, **needs(name)})


def test_an_objective_that_cannot_be_saved_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint_every is 60.*f\(config\) cannot be saved inside a job; give a Run"):
        hpo.minimize(square, line(), "random", 2, checkpoint_every=60.0, quiet=True)
    with pytest.raises(ValueError, match=r"f\(config, report\) cannot be saved"):
        Threads(lambda config, report: 1.0, checkpoint_every=60.0)
    with pytest.warns(UserWarning, match="`advance` of Trace takes no `checkpoint`, so nothing is saved inside a job"):
        hpo.minimize(Traces(tmp_path / "j"), line(), "random", 1, horizon=9, checkpoint_every=60.0, quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hpo.minimize(Traces(tmp_path / "j"), line(), "random", 1, horizon=9, quiet=True)
