"""Two drivers on one log, which both run the same job: what is recorded of it when it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo import Inline, Random, Result, SQLiteLog, Stop, Study, run
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
