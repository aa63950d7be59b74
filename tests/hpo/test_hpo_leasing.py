"""The campaign of leasing.py in small, and that it finds what it is made to find: leases, answers and rows that are wrong on
purpose."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hpo.history import History
from hpo.job import Job, Result
from hpo.leases import Leases
from hpo.logs import Event
from hpo.loop import Loop
from tests.hpo.leasing import LOGS, campaign, table
from tests.thinning import thin

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")


@pytest.mark.parametrize("log", thin(LOGS))
def test_a_run_of_every_log(log: str, tmp_path: Path) -> None:
    found = campaign(tmp_path, 1, logs=[log], drivers=(3, 3))
    assert not any(entry["faults"] for entry in found), table(found)
    assert found[0]["counts"]["stops"] and found[0]["counts"]["results"] == 30
    assert not list(tmp_path.glob("run-*"))


@pytest.mark.slow
def test_forty_runs(tmp_path: Path) -> None:
    found = campaign(tmp_path, 40, seed=7)
    assert not any(entry["faults"] for entry in found), table(found)
    counts = sum((Counter(entry["counts"]) for entry in found), Counter[str]())
    assert all(counts[name] for name in ("stops", "deaths", "taken over", "late accepted", "late refused"))


def search_faults(folder: Path, *expected: str, runs: int = 12) -> None:
    """Runs until faults of these names are found; every other one is beside the point."""
    for count in range(1, runs + 1):
        if set(expected) <= campaign(folder, count, logs=["sqlite"], drivers=(6, 8))[-1]["faults"].keys():
            return
    pytest.fail(f"{expected} were not found in {runs} runs")


def test_leases_that_are_ignored_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leases, "_is_alive", lambda self, row, age, asked: False)
    search_faults(tmp_path, "taken over under a valid lease", "run under two valid leases")


@pytest.mark.slow
def test_a_result_that_is_accepted_twice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log takes one of every attempt, and so does a driver that has not read on."""
    identity = Event.identity.fget
    assert identity is not None

    def identify(event: Event) -> str | None:
        attempt = event.body.get("attempt", 0) if event.kind == "finish" else ""
        return f"{identity(event)} {attempt}" if event.kind == "finish" else identity(event)

    monkeypatch.setattr(Event, "identity", property(identify))
    search_faults(tmp_path, "finished twice")


@pytest.mark.slow
def test_a_wrong_answer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late result is recorded, and its driver is told that it was refused."""
    finish = History.finish

    def deny(history: History, job: Job, result: Result, attempt: int | None = None) -> bool:
        answer = finish(history, job, result, attempt)
        return answer and attempt == history.attempt(job.key)  # it has read of the loss by now

    monkeypatch.setattr(History, "finish", deny)
    search_faults(tmp_path, "refused, and stands")


@pytest.mark.slow
def test_an_attempt_that_is_not_told_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is given what it is still at executes it twice at once, as it did until this campaign found it."""

    class Forgets(dict[Any, Any]):
        def __contains__(self, key: object) -> bool:
            return False

    begin = Loop.__init__

    def begin_forgetful(loop: Loop, *given: Any) -> None:
        begin(loop, *given)
        loop.running = Forgets()

    monkeypatch.setattr(Loop, "__init__", begin_forgetful)
    search_faults(tmp_path, "neither accepted nor refused", runs=40)


@pytest.mark.slow
def test_rows_that_stay_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leases, "forget_dead", lambda self: None)
    search_faults(tmp_path, "row of a driver left")
