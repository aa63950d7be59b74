"""Batch systems: what becomes of jobs that wait, run, are killed, cancelled or forgotten, on a queue of real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import PBT, Inline, Job, Random, Result, Stop, Study, run, worker_resources
from hpo.executors import Batch, BatchSystem, Lost, Slurm, standing_name
from tests.hpo import queueing
from tests.hpo.clusters import PBS
from tests.hpo.objectives import InsideTraces, Traces, line, sleeps, square
from tests.hpo.queueing import end, jobs, state
from tests.hpo.test_hpo_executors import alive, until

ROOT = Path(__file__).resolve().parents[2]
POLL = 0.1


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A queue of two slots, whose programs are on PATH, and the current folder beside it."""
    programs = queueing.install(tmp_path / "queue", 2)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "queue"
    for job in jobs(tmp_path / "queue"):
        end(job, "CANCELLED")


def began(place: Path, number: int = 1) -> Path:
    """A job once its worker has begun."""
    until(lambda: len(jobs(place)) >= number)
    job = jobs(place)[number - 1]
    until(lambda: state(job) == "RUNNING" and bool(list(Path.cwd().parent.glob("**/*.begun"))))
    return job


def outcome(executor: Any, job: Job, act: Callable[[], Any] | None = None) -> Any:
    """What comes of a job, with which something else is done meanwhile."""
    thread = threading.Thread(target=act or (lambda: None))
    executor.submit(job)
    thread.start()
    found = executor.wait(900.0)
    thread.join()
    assert found is not None and found[0] == job
    return found[1]


def test_slots_are_few_and_jobs_wait_without_being_late(place: Path) -> None:
    """Four jobs in two slots, each as long as the timeout allows it to run: waiting does not count, and no process is left."""
    executor = Slurm(sleeps, workers=4, timeout=900.0, poll=POLL)
    try:
        for trial in range(4):
            executor.submit(Job(trial, {"x": 0.2}, 1))
        assert executor.free == 0 and len(jobs(place)) == 4
        outcomes = [executor.wait(900.0) for _ in range(4)]
        assert all(one is not None and isinstance(one[1], Result) and one[1].error is None for one in outcomes)
        until(lambda: [state(job) for job in jobs(place)] == ["COMPLETED"] * 4)
    finally:
        executor.close()
    assert list(Path.cwd().iterdir()) == [], "what was handed over is gone"


def test_a_late_job_is_cancelled(place: Path) -> None:
    executor = Slurm(sleeps, workers=1, timeout=0.5, poll=POLL)
    found = outcome(executor, Job(0, {"x": 900.0}, 1))
    assert isinstance(found, Result) and "timeout: still running after 0.5 s" in (found.error or "")
    (job,) = jobs(place)
    until(lambda: state(job) == "CANCELLED" and not alive(int((job / "group").read_text())))
    executor.close()


@pytest.mark.parametrize(
    ("how", "said"),
    [("NODE_FAIL", Lost), ("PREEMPTED", Lost), ("CANCELLED", Lost), ("FAILED", Lost),
     ("TIMEOUT", "timeout: job 1 of the batch system ended as TIMEOUT"),
     ("OUT_OF_MEMORY", "out of memory: job 1 of the batch system ended as OUT_OF_MEMORY")],
)  # fmt: skip
def test_how_a_job_ended_says_whose_fault_it_is(how: str, said: Any, place: Path) -> None:
    executor = Slurm(sleeps, workers=1, poll=POLL)
    try:
        found = outcome(executor, Job(0, {"x": 900.0}, 1), lambda: end(began(place), how))
        if said is Lost:
            assert found == Lost("worker", f"job 1 of the batch system ended as {how}")
        else:
            assert isinstance(found, Result) and found.error == said
        assert outcome(executor, Job(1, {"x": 0.0}, 1)).error is None, "it goes on"
    finally:
        executor.close()


def test_a_job_that_the_system_forgets_is_lost_and_its_silence_is_borne(place: Path) -> None:
    """Old jobs are listed no more; a controller that does not answer says nothing of anybody."""
    executor = Slurm(sleeps, workers=1, poll=POLL)

    def act() -> None:
        job = began(place)
        (place / "silent").touch()
        time.sleep(5 * POLL)
        (place / "forget").mkdir()
        (place / "forget" / job.name).touch()
        end(job, "FAILED")
        time.sleep(5 * POLL)
        (place / "silent").unlink()

    try:
        found = outcome(executor, Job(0, {"x": 900.0}, 1), act)
        assert found == Lost("worker", "job 1 of the batch system is gone")
    finally:
        executor.close()


def test_a_job_that_is_cancelled_while_it_waits_is_submitted_again(place: Path) -> None:
    executor = Slurm(sleeps, workers=3, poll=POLL)
    try:
        for trial, seconds in enumerate((2.0, 2.0, 0.0)):
            executor.submit(Job(trial, {"x": seconds}, 1))
        end(jobs(place)[2], "CANCELLED")
        outcomes = [outcome for outcome in (executor.wait(900.0) for _ in range(3)) if outcome is not None]
        assert {job.trial for job, _ in outcomes} == {0, 1, 2} and len(jobs(place)) == 4
        assert all(isinstance(found, Result) and found.error is None for _, found in outcomes)
    finally:
        executor.close()


@pytest.mark.parametrize("name", ["slurm", "batch"])
def test_a_population_loses_jobs_and_has_the_lineage_of_an_undisturbed_one(name: str, place: Path, tmp_path: Path) -> None:
    """A worker is killed in the middle of a job, and goes on from what it saved there."""
    def population() -> Study:
        return Study(PBT(Random(line(), seed=1), population=3, generations=2, max_resource=6, truncation=0.4, explore=["x"]))

    whole, study = population(), population()
    run(whole, Inline(InsideTraces(tmp_path / "whole"), 6))
    victim = next(key[0] for key in whole.history.jobs if key[1] == 6)
    traces = InsideTraces(tmp_path / "journal", {victim: 5})
    options: dict[str, Any] = {"workers": 3, "poll": POLL, "checkpoint_every": 0.0}
    executor = Slurm(traces, 6, tmp_path / "c", **options) if name == "slurm" else Batch(
        traces, 6, tmp_path / "c", system=PBS, **options)  # fmt: skip
    run(study, executor)
    lost = [event.body for event in study.history.events if event.kind == "lost"]
    assert [(one["trial"], one["until"], one["cause"]) for one in lost] == [(victim, 6, "worker")]
    for key, job in whole.history.jobs.items():
        assert study.history.jobs[key] == job and study.history.losses(key) == whole.history.losses(key)
    assert study.lineage(study.best.number) == whole.lineage(whole.best.number)
    steps = sorted(entry[:2] for entry in InsideTraces(tmp_path / "whole").lines())
    assert sorted(entry[:2] for entry in traces.lines()) == steps, "no step was trained twice"
    assert {path.name for path in (tmp_path / "c").iterdir()} == {standing_name(study.history, key) for key in study.keep()}
    assert not list(tmp_path.glob("c.jobs-*"))


def test_a_time_limit_goes_on_from_what_was_saved_inside(place: Path, tmp_path: Path) -> None:
    """Slurm's time is up: an error, but where the job has saved itself."""
    executor = Slurm(Waiting(tmp_path / "journal"), 9, tmp_path / "c", workers=1, poll=POLL, checkpoint_every=0.0)

    def act() -> None:
        job = began(place)
        until((tmp_path / "journal-waited").exists)
        end(job, "TIMEOUT")

    try:
        found = outcome(executor, Job(0, {"x": 0.5}, 9), act)
        assert isinstance(found, Lost) and found.cause == "worker" and "TIMEOUT" in found.message
        executor.submit(Job(0, {"x": 0.5}, 9), {(0, 9): 1})
        again = executor.wait(900.0)
        assert again is not None and isinstance(again[1], Result) and len(again[1].curve) == 9
    finally:
        executor.close()


class Waiting(InsideTraces):
    """Waits for ever at its fifth step, the first time."""

    def bind_trial(self, number: int, seed: int) -> Any:
        return self

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> Any:
        made = super().__call__(config, seed, horizon)
        flag = Path(f"{self.journal}-waited")

        def die() -> None:
            if made.step == 5 and not flag.exists():
                flag.touch()
                time.sleep(900)

        vars(made)["_die"] = die
        return made


def told(config: dict[str, Any]) -> dict[str, float]:
    mine = worker_resources()
    assert os.environ["OMP_NUM_THREADS"] == "3" and os.environ["SET_UP"] == "yes" and mine.devices == ("4", "6")
    return {"loss": config["x"], "cpu": float(mine.cpu), "gpu": mine.gpu}


def test_what_a_trial_needs_is_asked_for(place: Path) -> None:
    study = hpo.minimize(
        told, line(), "random", 1, executor="slurm", workers=1, resources={"cpu": 3, "gpu": 2}, quiet=True,
        executor_options={"poll": POLL, "options": ["--partition=gpu"],
                          "setup": ["export SET_UP=yes", "export CUDA_VISIBLE_DEVICES=4,6  # as Slurm does"]},
    )  # fmt: skip
    (result,) = study.history.results.values()
    assert result.error is None and (result.metrics["cpu"], result.metrics["gpu"]) == (3.0, 2.0)
    words = (jobs(place)[0] / "options").read_text().splitlines()
    assert {"--cpus-per-task=3", "--gres=gpu:2", "--partition=gpu", "--no-requeue", "--parsable"} <= set(words)


def test_clones_are_tried_where_all_nodes_see_them(place: Path, tmp_path: Path) -> None:
    """A population whose objective does not say what may change: its clones are tried in the queue, too."""
    (tmp_path / "logs").mkdir()
    pbt = PBT(Random(line(), seed=1), population=2, generations=2)
    study = hpo.minimize(
        Traces(tmp_path / "journal"), line(), pbt, horizon=2, executor="slurm", workers=4, quiet=True,
        log=tmp_path / "logs" / "study.db", executor_options={"poll": POLL},
    )  # fmt: skip
    assert len(study.history.results) == 4 and len(jobs(place)) > 5
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"study.db", "study.db.checkpoints"}


def test_jobs_that_cannot_begin_end_the_search(place: Path) -> None:
    with pytest.raises(RuntimeError, match=r"3 workers in a row could not start, the last because job 3 .* FAILED; the last"):
        run(Study(Random(line())), Slurm(square, workers=1, poll=POLL, setup=["echo no such module; exit 1"]), Stop(trials=1))
    (place / "refuse").touch()
    with pytest.raises(RuntimeError, match="3 jobs in a row could not be submitted, the last because sbatch ended with"):
        run(Study(Random(line())), Slurm(square, workers=1, poll=POLL), Stop(trials=1))


DRIVER = """
import time
from hpo import Job
from hpo.executors import Slurm
from tests.hpo.objectives import sleeps
if __name__ == "__main__":
    executor = Slurm(sleeps, workers=2, poll=0.1)
    for trial in range(2):
        executor.submit(Job(trial, {"x": 900.0}, 1))
    time.sleep(900)
"""


def test_what_a_killed_driver_left_is_cancelled_by_the_next_one(place: Path) -> None:
    Path("driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, "driver.py"], env={**os.environ, "PYTHONPATH": str(ROOT)})
    until(lambda: len(jobs(place)) == 2 and all(state(job) == "RUNNING" for job in jobs(place)))
    until(lambda: len(list(Path.cwd().glob("hpo.jobs-*/*.begun"))) == 2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert all(state(job) == "RUNNING" for job in jobs(place)), "nobody has told the queue"
    Slurm(square, workers=1, poll=POLL).close()
    assert all(state(job) == "CANCELLED" for job in jobs(place)) and not list(Path.cwd().glob("hpo.jobs-*"))


def test_closing_cancels_what_waits_and_what_runs(place: Path) -> None:
    executor = Slurm(sleeps, workers=3, poll=POLL)
    for trial in range(3):
        executor.submit(Job(trial, {"x": 900.0}, 1))
    began(place, 2)
    executor.close()
    assert all(state(job) == "CANCELLED" for job in jobs(place))
    until(lambda: not any(alive(int((job / "group").read_text())) for job in jobs(place)[:2]))
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resources": {"gpu": 0.5}}, r"resources has 0\.5 of 'gpu'; Slurm gives whole ones"),
        ({"options": "--partition=gpu"}, "options is '--partition=gpu'; allowed is a list of texts"),
        ({"poll": 0.0}, r"poll is 0\.0; allowed is a finite number above 0"),
        ({"workers": 0}, "workers is 0; allowed is an integer of at least 1"),
    ],
    ids=str,
)
def test_refused_in_one_sentence(options: dict[str, Any], said: str, place: Path) -> None:
    with pytest.raises(ValueError, match=said):
        Slurm(square, **options)
    assert list(Path.cwd().iterdir()) == []


def test_what_a_batch_system_must_say(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"system is None; allowed is BatchSystem\(submit"):
        Batch(square)
    with pytest.raises(ValueError, match="folder is None, but checkpoints of jobs on other machines need one"):
        Slurm(Traces(tmp_path / "t"), 9)
    given: dict[str, Any] = {"submit": "qsub {script}", "cancel": "qdel {jobs}", "status": "qstat"}
    for wrong, said in (
        ({"submit": "qsub"}, r"submit is 'qsub'; allowed is a command line with \{script\}"),
        ({"line": r"(\d+)"}, "it needs the groups job and state"),
        ({"number": "("}, "no regular expression"),
        ({"ended": {"F": "bad"}}, r"ended\['F'\] is 'bad'; allowed are \['lost', 'memory', 'timeout'\]"),
    ):
        with pytest.raises(ValueError, match=said):
            BatchSystem(**{**given, **wrong})
    python = shutil.which("python") or sys.executable
    monkeypatch.setenv("PATH", str(Path(python).parent))
    with pytest.raises(ValueError, match="sbatch, a command of the batch system, is no program on this machine's PATH"):
        Slurm(square)
