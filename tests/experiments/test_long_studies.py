"""What long and large studies cost, in small: what is stored, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments import events, large


@pytest.mark.parametrize("method", events.MAKERS)
def test_a_study_of_every_method_is_driven_and_opened_anew(method: str, tmp_path: Path) -> None:
    found = events.drive_study(method, 40, "two", tmp_path)
    assert found["started"] >= 40 >= found["trials"] and found["events"] > 2 * 40 and found["proposes"]
    assert found["ms"] == {} and found["seconds"] > 0 and found["reopened"] >= 0


def test_windows_of_events() -> None:
    stamps = [0.001 * k for k in range(500)] + [0.5 + 0.004 * k for k in range(500)]
    assert events.window_ms(stamps, 400) == pytest.approx(1.0) and events.window_ms(stamps, 1000) == pytest.approx(4.0)


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
    assert "| one | pbt | 15,000 |" in events.events_table(ledger)


def test_asks_of_a_large_study_are_measured_in_a_process_of_their_own(tmp_path: Path) -> None:
    path, call = tmp_path / "large.jsonl", CliRunner().invoke
    done = call(large.app, ["--n", "40", "--d", "2", "--results", str(path)])
    assert done.exit_code == 0 and "| 40 | 2 | no |" in done.output
    line = json.loads(path.read_text())
    assert len(line["seconds"]) == large.ASKS and min(line["seconds"]) > 0 and 0 < line["before"] <= line["after"]
    assert "0 to measure" in call(large.app, ["--n", "40", "--d", "2", "--results", str(path)]).output
