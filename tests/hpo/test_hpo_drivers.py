"""Two drivers on one log, which both run the same job: what is recorded of it when it is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hpo import Inline, Random, Result, SQLiteLog, Stop, Study, Threads, run
from hpo.failures import Failures
from hpo.logs.base import Driver
from hpo.loop import Loop
from tests.hpo.objectives import line


@pytest.fixture
def drivers(tmp_path: Path) -> tuple[Study, Study]:
    one, two = (Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    assert one.optimizer.ask() is not None
    two.history.refresh()
    return one, two


def test_an_attempt_is_lost_once(drivers: tuple[Study, Study]) -> None:
    """Both workers died; the second driver has not read yet what the first has recorded."""
    one, two = (study.history for study in drivers)
    job = one.pending[0, 1]
    assert one.lose(job) and not two.lose(job)
    assert [event.kind for event in two.events] == ["start", "lost"] and two.digest == one.digest
    assert list(two.retries) == [job.key] and not two.pending and two.attempt(job.key) == 1
    again = drivers[1].optimizer.ask()
    assert again is not None and again.key == job.key


def test_a_late_loss_leaves_the_next_attempt_alone(drivers: tuple[Study, Study]) -> None:
    one, two = (study.history for study in drivers)
    job, attempt = one.pending[0, 1], two.attempt((0, 1))
    assert one.lose(job) and drivers[0].optimizer.ask() is not None
    two.refresh()
    assert not two.lose(job, attempt=attempt) and list(two.pending) == [job.key] and two.attempt(job.key) == 1
    assert two.lose(job, attempt=1) and two.attempt(job.key) == 2


def test_what_another_has_finished_is_not_lost(drivers: tuple[Study, Study]) -> None:
    one, two = (study.history for study in drivers)
    job = one.pending[0, 1]
    assert one.finish(job, Result({"loss": 1.0})) and not two.lose(job)
    for history in (one, two):
        history.refresh()
        assert history.results[job.key].error is None and not history.retries and history.attempt(job.key) == 0


class Takes:
    """A Run, in the middle of which another driver loses the job and starts it again; then its own disk is full, once."""

    def __init__(self, other: Study) -> None:
        self.other, self.full = other, True

    def __call__(self, config: Any, seed: int, horizon: int) -> Takes:
        return self

    def advance(self, until: int) -> tuple[dict[str, float], tuple[()]]:
        history = self.other.history
        history.refresh()
        if self.full:
            (job,) = history.pending.values()
            assert history.lose(job) and self.other.optimizer.ask() == job
        return {"loss": 1.0}, ()

    def save(self, path: str) -> None:
        full, self.full = self.full, False
        if full:
            raise OSError("no space left on device")
        Path(path).write_text("1")

    def load(self, path: str) -> None:
        raise AssertionError


def test_a_run_records_the_loss_of_its_own_attempt_alone(tmp_path: Path) -> None:
    one, two = (Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    history = run(one, Inline(Takes(two), 1, tmp_path / "c"), Stop(trials=2))
    assert sum(event.kind == "lost" for event in history.events) == 1
    assert list(history.pending) == [(0, 1)] and list(history.results) == [(1, 1)] and history.attempt((0, 1)) == 1


def test_what_has_a_result_by_the_time_it_is_started_again_is_not_executed(tmp_path: Path) -> None:
    """A driver that was only stopped tells its result between another one's proposal and that one's start."""
    one, two = (Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    job, history, executed = one.optimizer.ask(), two.history, []
    assert job is not None
    history.refresh()
    start = history.start

    def start_late(retry: Any, seen: int) -> None:
        if retry.key == job.key:
            assert one.optimizer.tell(job, 0.5)
        start(retry, seen)

    history.start = start_late  # type: ignore[method-assign]
    run(two, Inline(lambda config: executed.append(config["x"]) or 1.0), Stop(trials=3))
    assert len(executed) == 2 and history.results[job.key].metrics["loss"] == 0.5 and len(history.results) == 3
    assert not history.pending and [event.body["attempt"] for event in history.events if event.kind == "start"] == [0, 1, 0, 0]


def take_over(other: Study, job: Any) -> None:
    """Another driver, which lives elsewhere, takes a job for lost and starts it again."""
    history = other.history
    history.refresh()
    history.driver = history.run()
    history.log.beat(Driver(history.driver, "elsewhere/1/1", 0, 0, 3600.0))
    assert history.lose(job, "driver")
    again = other.optimizer.ask()
    assert again is not None and again.key == job.key


def test_what_another_has_by_the_time_it_is_started_is_left_to_it(tmp_path: Path) -> None:
    """A driver is stopped just after it has recorded a start. It would take the other one's attempt for its own."""
    one, two = (Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    history, executed = one.history, []
    start = history.start

    def start_slowly(job: Any, seen: int) -> None:
        start(job, seen)
        if job.trial == 1:
            take_over(two, job)
            history.refresh()

    def work(config: Any) -> float:
        executed.append(config["x"])
        if len(executed) == 2:
            two.history.refresh()
            assert two.optimizer.tell(two.history.pending[1, 1], 0.5)
        return 1.0

    history.start = start_slowly  # type: ignore[method-assign]
    run(one, Inline(work), Stop(trials=3))
    assert executed == [history.jobs[trial, 1].config["x"] for trial in (0, 2)]
    assert history.attempts.accepted_attempt((1, 1)) == 1 and len(history.results) == 3 and not history.pending


def test_what_waited_for_its_source_and_was_taken_over_is_not_executed(tmp_path: Path) -> None:
    one, two = (Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    loop = Loop(one, Inline(lambda config: 1.0), Stop(trials=1), None, Failures(), 60.0)
    job = one.optimizer.ask()
    assert job is not None
    take_over(two, job)
    one.history.refresh()
    loop.waiting = [job]
    loop._fill()
    assert not loop.running and not loop.waiting and one.history.attempts.holders[job.key] == two.history.driver
    loop.leases.close()


PATIENCE = 900.0  # seconds for what takes none


class Slow:
    """Its first call lasts until its third; in the second another driver takes the first one's job for lost."""

    def __init__(self, other: Study, full: bool) -> None:
        self.other, self.full, self.calls, self.third = other, full, 0, threading.Event()

    def __call__(self, config: Any, seed: int, horizon: int) -> Slow:
        return self

    def advance(self, until: int) -> tuple[dict[str, float], tuple[()]]:
        self.calls += 1
        call = self.calls
        if call == 1:
            assert self.third.wait(PATIENCE)
        elif call == 2:
            self.other.history.refresh()
            assert self.other.history.lose(self.other.history.jobs[0, 1], "driver")
        elif call == 3:
            self.third.set()
        return {"loss": float(call)}, ()

    def save(self, path: str) -> None:
        if self.full and Path(path).name.startswith("0-1."):
            self.full = False
            raise OSError("no space left on device")
        Path(path).write_text("1")

    def load(self, path: str) -> None:
        raise AssertionError


@pytest.mark.parametrize("full", [False, True])
def test_a_driver_that_is_given_what_it_is_still_at_works_on(tmp_path: Path, full: bool) -> None:
    """It was stopped, its job was taken for lost, and nobody has started that again before it asks for its next one. Executed
    twice at once, one of the two would be forgotten. If the disk is full, what is lost is the attempt that it was given."""
    one, two = (Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    work = Slow(two, full)
    history = run(one, Threads(work, 1, tmp_path / "c", workers=2), Stop(trials=4))
    attempts = [event.body["attempt"] for event in history.events if event.kind == "start" and event.body["job"]["trial"] == 0]
    assert attempts == [0, 1, 2][: 2 + full] and work.calls == 4 + full
    assert history.attempts.accepted_attempt((0, 1)) == (2 if full else 0)
    assert not history.pending and not history.retries and len(history.results) == 4
