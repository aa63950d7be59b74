"""Drivers at one study, and a long study, at the smallest size; what is stored can be read and says what is claimed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.storage import __main__ as storage
from experiments.storage import places
from experiments.storage.places import DATABASES, place
from tests.thinning import thin

ONCE = ["--trials", "12", "--peer-trials", "8", "--processes", "2", "--written", "20"]


@pytest.mark.parametrize("database", thin(DATABASES, 2))
def test_drivers_and_a_long_study_are_measured(tmp_path: Path, database: str) -> None:
    try:
        with place(database):
            pass
    except ConnectionError as error:
        pytest.skip(str(error))
    path = tmp_path / "storage.jsonl"
    done = CliRunner().invoke(storage.app, ["--only", database, *ONCE, "--results", str(path)])
    assert done.exit_code == 0, done.output
    drivers, written = (json.loads(line) for line in path.read_text().splitlines())
    assert 12 <= drivers["ours"]["trials"] < 12 + 2 and drivers["peer"]["trials"] == 8 and drivers["ratio"] > 0
    assert drivers["ours"]["lost"] == drivers["ours"]["twice"] == drivers["ours"]["gaps"] == 0
    assert written["events"] == 60 and written["seconds"] > 0 and set(written["ms"]) == {"2", "6", "20"}
    assert f"| {database} | 2 |" in done.output and f"| {database} | 20 | 60 |" in done.output
    again = CliRunner().invoke(storage.app, ["--only", database, *ONCE, "--results", str(path)])
    assert "0 to measure" in again.output


def test_a_database_that_is_unknown_or_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(storage.app, ["--only", "oracle"]).exit_code == 2
    monkeypatch.setitem(places.SERVERS, "postgresql", "postgresql://postgres@127.0.0.1:1/test")
    done = CliRunner().invoke(storage.app, ["--only", "postgresql", *ONCE, "--results", str(tmp_path / "none.jsonl")])
    assert done.exit_code == 1 and "postgresql does not answer at postgresql+psycopg://postgres@127.0.0.1:1/test" in done.output


def test_stored_lines_are_read_and_nothing_was_lost() -> None:
    lines = list(storage.open_storage(storage.RESULTS).latest().values())
    drivers = [line for line in lines if line["part"] == "drivers"]
    assert {line["database"] for line in drivers} == set(DATABASES)
    for line in drivers:
        assert line["ours"]["lost"] == line["ours"]["twice"] == line["ours"]["gaps"] == 0
    table = storage.storage_table(storage.open_storage(storage.RESULTS))
    assert all(f"| {line['database']} |" in table for line in lines)
