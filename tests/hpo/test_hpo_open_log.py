"""open_log: a log by path, by URL, or of one's own."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hpo.logs import Event, SQLiteLog, open_log, sqlite
from tests.hpo.test_hpo_logs import start


def test_a_log_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log("sqlite:///here.db")
    log.open({"a": 1})
    assert (tmp_path / "here.db").exists() and log.place == "here.db" and log.path == Path("here.db")
    assert open_log(f"sqlite:///{tmp_path / 'here.db'}").open({"a": 2}) == open_log(tmp_path / "here.db").open({}) == {"a": 1}
    assert open_log(log) is log and open_log("memory://").place == ""
    with pytest.raises(PermissionError, match="opened for reading"):
        open_log("sqlite:///here.db", readonly=True).append(start(0))
    for wrong, said in [("sqlite://", "names no file; allowed are sqlite:///study.db"), ("sqlite://host/a.db", "names no file"),
                        ("redis://host", r"unknown scheme; allowed are \['memory://', 'sqlite://'"),
                        ("memory://x", "allowed is 'memory://'")]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            open_log(wrong)


def test_a_log_of_ones_own_is_told_what_it_lacks() -> None:
    class Own:
        def header(self) -> Any: ...
        def open(self, header: Any) -> Any: ...
        def append(self, event: Event) -> None: ...
        def read(self, after: int) -> Any: ...
        def close(self) -> None: ...

    with pytest.raises(TypeError, match=r"has no place; derive its class from hpo\.logs\.Log"):
        open_log(Own())


def test_a_log_that_others_hold_for_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SQLiteLog(tmp_path / "log.db")
    first.open({"a": 1})
    first.close()
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite, "PATIENCE", 0.2)
    with pytest.raises(TimeoutError, match=r"log\.db' was held by others for 0.2 seconds: database is locked"):
        SQLiteLog(tmp_path / "log.db")
    other.execute("ROLLBACK")
    other.close()
    assert SQLiteLog(tmp_path / "log.db").open({"a": 2}) == {"a": 1}
