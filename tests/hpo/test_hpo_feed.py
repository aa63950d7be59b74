"""The data of the page: what is sent bit by bit is what is sent at once, and it says what the library says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.analysis.feed import POINTS, TRACEBACKS, Feed
from hpo.analysis.importance import importance
from hpo.analysis.lanes import Lanes
from hpo.analysis.progress import best_so_far, finish_times, objective_value, total_work
from hpo.history import History
from hpo.job import Result
from hpo.logs import MemoryLog
from hpo.trial import best_front, best_key
from tests.hpo.commands import NAMES, loss


def read(text: str) -> Any:
    """JSON as a browser reads it: NaN and infinities are none."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1, 7])
def test_updates_together_are_the_whole(name: str, step: int, studies: Path) -> None:
    """Whoever took every update has what somebody has who came at the end; each holds only what has changed."""
    study = hpo.load(studies / f"{name}.db")
    log = MemoryLog()
    feed = Feed(History(study.header, log), study.space)
    events, since, rows, texts = study.history.events, 0, {}, {}
    for start in range(0, len(events), step):
        some = events[start : start + step]
        for event in some:
            log.append(event)
        assert feed.read() and not feed.read()
        update = read(feed.update(since))
        assert ("study" in update) == (since == 0) and update["version"] == feed.version
        keys = [(row["t"], row["u"]) for row in update["rows"]]
        assert len(keys) <= len(some) or since == 0, "no more than what the events are about"
        rows |= dict(zip(keys, update["rows"], strict=True))
        texts |= update["tracebacks"]
        since = update["version"]
    whole = read(Feed(study.history, study.space).document())
    assert {(row["t"], row["u"]): row for row in whole["rows"]} == rows and [*rows] != []
    assert whole["tracebacks"] == texts and {k: v for k, v in whole["summary"].items()} == update["summary"]
    assert read(feed.update(since))["rows"] == [], "nothing comes twice"


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_the_library_says(name: str, studies: Path) -> None:
    study = hpo.load(studies / f"{name}.db")
    history = study.history
    whole = read(Feed(history, study.space).document())
    summary, rows = whole["summary"], {(row["t"], row["u"]): row for row in whole["rows"]}
    best = best_key(history)
    assert summary["best"] == (None if best is None else [*best]) and summary["work"] == pytest.approx(total_work(history))
    assert [tuple(key) for key in summary["front"]] == ([*best_front(history)] if len(history.header.objectives) > 1 else [])
    times = finish_times(history)
    for place, steps in enumerate(summary["steps"]):
        assert [(trial, until) for trial, until, *_ in steps] == best_so_far(history, place)
        assert [value for *_, value, _ in steps] == [objective_value(history, key, place) for key in best_so_far(history, place)]
        order = [*times]
        assert [count for *_, count in steps] == [order.index((trial, until)) + 1 for trial, until, *_ in steps]
    for key, result in history.results.items():
        row = rows[key]
        if history.is_failure(key):
            assert row["k"] == "failed" and row["e"] == result.error and "v" not in row
            assert whole["tracebacks"][str(row["b"])] == result.traceback
        else:
            assert row["k"] == "done" and row["v"] == [result.metrics[name] for name in history.header.objectives]
        assert row["p"] == pytest.approx(times[key], abs=1.0)
        config = history.jobs[key].config
        for column, value in zip(whole["study"]["columns"], row["x"], strict=True):
            if column["name"] not in config:
                assert value is None
            elif column["kind"] == "choice":
                assert column["values"][value] == config[column["name"]]
            else:
                assert value == config[column["name"]]


def test_what_keeps_no_bounds_is_marked(studies: Path) -> None:
    study = hpo.load(studies / "bounds.db")
    rows = read(Feed(study.history, study.space).document())["rows"]
    assert {row["ok"] for row in rows} == {True, False}
    assert all(row["ok"] == (row["m"]["size"] <= 5.0) for row in rows)


def test_numbers_that_are_none_are_null() -> None:
    optimizer = hpo.Random({"x": (0.0, 1.0)})
    study = hpo.Study(optimizer)
    for metrics in ({"loss": math.nan, "other": math.inf}, {"loss": 1.0, "other": -math.inf}):
        optimizer.tell(optimizer.ask(), Result(metrics, [(1, math.nan), (2, 0.5)]))  # type: ignore[arg-type]
    first, second = sorted(read(Feed(study.history, study.space).document())["rows"], key=lambda row: row["t"])
    assert first["k"] == "failed" and first["e"] == "no finite value" and first["m"] == {"other": None}
    assert second["v"] == [1.0] and second["c"] == [[2, 0.5]]


def test_a_long_curve_keeps_its_ends() -> None:
    optimizer = hpo.Random({"x": (0.0, 1.0)})
    study = hpo.Study(optimizer)
    curve = [(step, 1.0 / step) for step in range(1, 5001)]
    optimizer.tell(optimizer.ask(), Result({"loss": 0.0}, curve))  # type: ignore[arg-type]
    (row,) = read(Feed(study.history, study.space).document())["rows"]
    assert len(row["c"]) == POINTS and row["c"][0] == [1, 1.0] and row["c"][-1] == [5000, 0.0002]


def test_tracebacks_are_kept_once_and_not_without_end() -> None:
    optimizer = hpo.Random({"x": (0.0, 1.0)})
    study = hpo.Study(optimizer)
    for trial in range(TRACEBACKS + 5):
        text = "the same" if trial < 5 else f"number {trial}"
        optimizer.tell(optimizer.ask(), Result(error="no", traceback=text))  # type: ignore[arg-type]
    whole = read(Feed(study.history, study.space).document())
    assert len(whole["tracebacks"]) == TRACEBACKS and [row["b"] for row in whole["rows"]].count(0) == 5
    assert whole["rows"][-1]["b"] is None


def test_lost_jobs() -> None:
    """In flight, lost, given out again, and failed after too many losses: no event `finish` tells the last."""
    optimizer = hpo.Random({"x": (0.0, 1.0)})
    study = hpo.Study(optimizer, lost_limit=2)
    feed = Feed(study.history, study.space)
    job = optimizer.ask()
    assert job is not None

    def row() -> Any:
        feed.read()
        return read(feed.document())["rows"][0]

    assert row()["k"] == "pending"
    study.history.lose(job)
    assert row()["k"] == "lost" and row()["n"] == 1
    assert optimizer.ask() == job and row()["k"] == "pending"
    study.history.lose(job, message="the machine is gone")
    last = row()
    assert (last["k"], last["e"]) == ("failed", "lost 2 times: the machine is gone") and last["f"] is not None
    assert read(feed.document())["summary"]["failed"] == 1


def test_lanes_never_overlap() -> None:
    lanes, busy, place = Lanes(), {}, 0
    for number in range(400):
        driver = number % 3
        if number % 5 == 4 and busy:
            key = [*busy][number % len(busy)]
            lanes.free(key)
            del busy[key]
        else:
            lanes.start((place, 1), driver)
            assert lanes.found[place, 1] not in busy.values()
            busy[place, 1] = lanes.found[place, 1]
            place += 1
    assert max(lane for _, lane in lanes.found.values()) < max(len(busy), 1) + 3


def test_a_model_reads_at_most_so_many_results() -> None:
    space = hpo.Space(lr=hpo.Float(1e-4, 1.0, log=True), layers=hpo.Int(1, 8))
    study = hpo.minimize(loss, space, hpo.Random(space), 60, quiet=True)
    found = importance(study.history, space, most=25)
    assert getattr(found, "results", None) == 25 and getattr(study.importance(), "results", None) == 60
