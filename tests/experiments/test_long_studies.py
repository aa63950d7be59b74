"""What long and large studies cost, in small: what is stored, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hpo
from experiments import events, large, waiting


def test_every_optimizer_that_is_listed_is_driven() -> None:
    assert set(events.MAKERS) == set(hpo.OPTIMIZERS)
    for name, make in events.MAKERS.items():
        assert isinstance(make(40), hpo.OPTIMIZERS[name])
    assert set(events.MOST) <= set(events.MAKERS) and set(events.SINGLE) <= set(events.MAKERS)


@pytest.mark.parametrize("method", events.MAKERS)
def test_a_study_of_every_method_is_driven_and_opened_anew(method: str, tmp_path: Path) -> None:
    found = events.drive_study(method, 40, "one" if method in events.SINGLE else "two", tmp_path)
    assert found["started"] >= 40 >= found["trials"] and found["events"] > 2 * 40 and found["proposes"]
    assert found["ms"] == {} and found["seconds"] > 0 and found["reopened"] >= 0


def test_windows_of_events() -> None:
    stamps = [0.001 * k for k in range(500)] + [0.5 + 0.004 * k for k in range(500)]
    assert events.window_ms(stamps, 400) == pytest.approx(1.0) and events.window_ms(stamps, 1000) == pytest.approx(4.0)
    stamps[900:] = [stamp + 10.0 for stamp in stamps[900:]]  # one job takes ten seconds
    assert events.window_ms(stamps, 1000) == pytest.approx(4.0)
    assert events.window_ms(stamps, 1000, events.mean) == pytest.approx(4.0 + 1e4 / 299, rel=1e-4)


def test_a_study_with_a_gaussian_process_is_not_asked_for_more_jobs_than_it_can_bear(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    said = CliRunner().invoke(events.app, ["--seconds", "0", "--jobs", "5000", "--results", str(path)])
    assert f"{len(events.MAKERS)} are left for another time" in said.output and not path.exists()
    both = CliRunner().invoke(events.app, ["--seconds", "0", "--objectives", "two", "--results", str(path)])
    assert f"{len(events.MAKERS) - len(events.SINGLE)} are left for another time" in both.output


def test_the_command_measures_events_that_are_missing_and_shows_all(tmp_path: Path) -> None:
    path, call = tmp_path / "events.jsonl", CliRunner().invoke
    first = call(events.app, ["--only", "random", "--jobs", "30", "--results", str(path)])
    assert first.exit_code == 0 and "1 to measure" in first.output and "| one | random | 30 |" in first.output
    both = call(events.app, ["--only", "random", "--only", "sobol", "--jobs", "30", "--results", str(path)])
    assert "1 to measure" in both.output and "| random | 30 |" in both.output and "| sobol | 30 |" in both.output
    odd = (["--only", "nobody"], ["--objectives", "three"], ["--jobs", "0"])
    assert [call(events.app, arguments).exit_code for arguments in odd] == [2, 2, 2]
    line = json.loads(path.read_text().splitlines()[0])
    assert line["digest"] == events.events_measurement("one", "random", 30).digest
    assert line["digest"] != events.events_measurement("one", "asha", 30).digest


def test_all_stored_events_are_read() -> None:
    ledger = events.open_events(events.RESULTS)
    assert len(ledger.latest()) == sum(1 for _ in events.RESULTS.open())
    assert "| one | pbt | 10,000 |" in events.events_table(ledger)


def test_asks_of_a_large_study_are_measured_in_a_process_of_their_own(tmp_path: Path) -> None:
    path, call = tmp_path / "large.jsonl", CliRunner().invoke
    done = call(large.app, ["--n", "40", "--d", "2", "--results", str(path)])
    assert done.exit_code == 0 and "| 40 | 2 | no |" in done.output
    line = json.loads(path.read_text())
    assert len(line["seconds"]) == large.ASKS and min(line["seconds"]) > 0 and 0 < line["before"] <= line["after"]
    assert "0 to measure" in call(large.app, ["--n", "40", "--d", "2", "--results", str(path)]).output


# -- how long workers wait ---------------------------------------------------------------------------------------------


def ticks(seconds: float) -> Callable[[], float]:
    """A clock that has gone on by so many seconds whenever it is looked at: every part of the driver's work takes as long."""
    times = count()
    return lambda: seconds * next(times)


def drive(optimizer: hpo.Optimizer, queue: waiting.Queue, jobs: int) -> waiting.Queue:
    """The queue after a study of so many jobs."""
    hpo.run(hpo.Study(optimizer), queue, hpo.Stop(when=lambda history: len(history.jobs) >= jobs))
    return queue


def test_a_single_worker_waits_for_every_ask_and_with_a_lookahead_for_the_first() -> None:
    alone = drive(hpo.Random(events.SPACE), waiting.Queue(1, 1, clock=ticks(0.25)), 20)
    assert alone.waited == pytest.approx(20 * 0.25) and alone.dry == 0.0 and 20 < alone.trained < 60
    ahead = drive(hpo.Random(events.SPACE), waiting.Queue(1, 1, lookahead=1, clock=ticks(0.25)), 20)
    assert ahead.waited == pytest.approx(0.25) and ahead.trained == pytest.approx(alone.trained)


def test_workers_wait_the_longer_the_slower_the_driver_is() -> None:
    waits = []
    for seconds in (0.0, 0.01, 0.1, 1.0):
        queue = drive(hpo.Random(events.SPACE), waiting.Queue(16, 1, clock=ticks(seconds)), 160)
        waits.append(queue.waited / (queue.waited + queue.trained))
        assert queue.dry == 0.0 and queue.driver >= 2 * 160 * seconds  # a tell and an ask for every job
    assert waits[0] == 0.0 and waits[1] < 0.05 and waits == sorted(waits)
    assert waits[3] == pytest.approx(1 - 1 / 16, abs=0.02)  # a job every two seconds keeps one of them at work


def test_a_worker_without_a_job_does_not_wait_for_the_driver() -> None:
    pbt = hpo.PBT(hpo.Random(events.SPACE), population=4, generations=20, max_resource=20)
    queue = drive(pbt, waiting.Queue(8, 20, clock=ticks(0.0)), 60)
    assert queue.waited == 0.0 and queue.dry > queue.trained  # half of the workers have no slot, and others wait for the last


def test_the_command_measures_waiting_and_shows_it(tmp_path: Path) -> None:
    path, call = tmp_path / "waiting.jsonl", CliRunner().invoke
    options = ["--only", "random", "--only", "asha", "--trials", "20", "--results", str(path)]
    done = call(waiting.app, options)
    assert done.exit_code == 0 and "2 to measure" in done.output and "| random | 20 | 20 | 16 | 0 |" in done.output
    assert "1 to measure" in call(waiting.app, [*options[:2], "--lookahead", "16", *options[4:]]).output
    assert call(waiting.app, ["--only", "nobody"]).exit_code == 2
    line = json.loads(path.read_text().splitlines()[0])
    assert 0 < line["share"] < 1 and line["digest"] != waiting.waiting_measurement("asha", 20, 16, 0).digest


def test_all_stored_waits_are_read() -> None:
    ledger = waiting.open_waiting(waiting.RESULTS)
    assert len(ledger.latest()) == sum(1 for _ in waiting.RESULTS.open())
    assert {line["method"] for line in ledger.latest().values()} == set(events.MAKERS)
