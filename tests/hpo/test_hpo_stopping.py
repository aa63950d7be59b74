"""Every stop that a rule decides is an event with rule and value: it replays, binds later runs, and other drivers obey it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, History, Inline, Random, Simulator, SQLiteLog, Stop, Study, Threads, run
from hpo.clock import Clock
from hpo.job import Result
from hpo.logs import Event
from hpo.stopping import is_over, search_end, search_seconds
from hpo.testing import changed_jobs
from tests.hpo.objectives import line, square


def has_five(history: History) -> bool:
    return len(history.results) >= 5


def has_nine(history: History) -> bool:
    return len(history.results) >= 9


def limits(history: History) -> list[dict[str, Any]]:
    return [dict(event.body) for event in history.events if event.kind == "limit"]


def loss(config: dict[str, Any], until: int, seed: int) -> float:
    return float(config["x"]) + 1.0 / until


NAME = f"{__name__}.has_five"
STOPS: dict[str, tuple[Stop, Any]] = {
    "trials": (Stop(trials=6), 6), "seconds": (Stop(seconds=0.2), 0.2), "when": (Stop(when=has_five), NAME),
}  # fmt: skip


@pytest.mark.parametrize("rule", STOPS)
@pytest.mark.parametrize("build", [lambda: Random(line()), lambda: ASHA(Random(line()), max_resource=9)])
def test_a_stop_leaves_its_event_and_replays(rule: str, build: Callable[[], Any]) -> None:
    stop, value = STOPS[rule]
    study = Study(build())
    history = run(study, Simulator(loss, workers=2), stop)
    assert limits(history) == [{"rule": rule, "value": value, "phase": "search"}]
    assert is_over(history) == (rule != "trials") and changed_jobs(history, build) == []
    if rule == "when":
        last = next(i for i, event in enumerate(history.events) if event.kind == "limit")
        assert has_five(history.prefix(last)) and all(event.kind == "finish" for event in history.events[last + 1 :])


def test_seconds_that_are_over_while_a_job_runs_are_an_event() -> None:
    gate = threading.Event()
    study = Study(Random(line()))
    try:
        run(study, Threads(lambda config: gate.wait(), workers=1), Stop(seconds=0.1))
    finally:
        gate.set()
    assert limits(study.history) == [{"rule": "seconds", "value": 0.1, "phase": "search"}] and len(study.history.pending) == 1


def test_a_later_run_goes_on_only_where_it_is_allowed_more() -> None:
    study = Study(Random(line()))
    for _ in range(2):
        run(study, Inline(square), Stop(when=has_five))
        assert len(study.history.results) == 5 and len(limits(study.history)) == 1
    run(study, Inline(square), Stop(when=has_nine))
    assert len(study.history.results) == 9
    found = search_end(study.history)
    assert found is not None and found["value"] == f"{__name__}.has_nine"
    run(study, Inline(square), Stop(trials=10))
    assert len(study.history.results) == 10
    assert study.optimizer.ask() is not None, "who asks by hand is bound by no run's limit"


def test_seconds_bind_the_same_call_and_more_of_them_go_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "random", "log": tmp_path / "s.sqlite", "quiet": True}
    first = hpo.minimize(square, line(), seconds=0.1, **options)
    assert limits(first.history)[-1]["rule"] == "seconds"
    count = len(first.history.results)
    assert len(hpo.minimize(square, line(), seconds=0.1, **options).history.results) == count
    assert len(hpo.minimize(square, line(), trials=count + 2, **options).history.results) == count + 2


def test_a_driver_obeys_what_another_has_decided(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    one, two = (Study(Random(line()), log=SQLiteLog(path)) for _ in range(2))

    def objective(config: Any) -> float:
        if len(two.history.results) == 2:  # meanwhile
            run(one, Inline(square), Stop(when=has_five))
        return square(config)

    run(two, Inline(objective), Stop(trials=50))
    assert len(two.history.results) == 6, "what was in flight is told, and nothing more is asked"
    assert [limit["rule"] for limit in limits(two.history)] == ["when"]


def test_one_clock_counts_the_runs_and_their_start_up() -> None:
    def finish(birth: float, time: float) -> tuple[Event, Result]:
        return Event("finish", {}, time), Result({"loss": 1.0}, system={"birth_seconds": birth})

    clock = Clock()
    for event, result in [
        (Event("enqueue", {}, 1.0), None), (Event("run", {}, 10.0), None), (Event("start", {}, 11.0), None),
        finish(2.0, 15.0), finish(1.5, 18.0), (Event("run", {}, 100.0), None), (Event("start", {}, 104.0), None),
        finish(3.0, 107.0), (Event("limit", {}, 106.0), None),
    ]:  # fmt: skip
        clock.read(event, result)
    assert clock.elapsed == 8.0 + 7.0 and clock.search_seconds == (8.0 - 1.5) + (7.0 - 3.0)


def test_the_clock_of_a_history_is_that_of_its_events() -> None:
    study = Study(Random(line()))
    history = run(study, Inline(square), Stop(trials=3))
    clock = Clock()
    for event in history.events:
        clock.read(event, history.results[event.body["trial"], event.body["until"]] if event.kind == "finish" else None)
    assert (clock.elapsed, clock.search_seconds) == (history.elapsed_seconds(), search_seconds(history))
    assert clock.elapsed >= clock.search_seconds > 0.0
