"""The table of a study's drivers in an SQLite file. It is made with the first row, and a file without it is as good."""

from __future__ import annotations

import sqlite3

from hpo.logs.base import Driver

NAME = "drivers"
SQL = (
    "CREATE TABLE drivers (number INTEGER PRIMARY KEY, process TEXT NOT NULL, beats INTEGER NOT NULL, seen INTEGER NOT NULL, "
    "lease REAL NOT NULL)"
)
READ = "SELECT number, process, beats, seen, lease FROM drivers ORDER BY number"


def write_driver(db: sqlite3.Connection, driver: Driver) -> None:
    """Writes or replaces a driver's row."""
    row = (driver.number, driver.process, driver.beats, driver.seen, driver.lease)
    if not _has_table(db):
        db.execute(SQL.replace("TABLE", "TABLE IF NOT EXISTS", 1))  # another driver may have made it meanwhile
    db.execute("INSERT OR REPLACE INTO drivers VALUES (?, ?, ?, ?, ?)", row)


def read_drivers(db: sqlite3.Connection) -> list[Driver]:
    """Every row whose values are of their types; what somebody damaged is no driver's."""
    if not _has_table(db):
        return []
    rows = db.execute(READ).fetchall()
    return [Driver(number, _text(process), beats, seen, lease) for number, process, beats, seen, lease in rows
            if isinstance(process, bytes | str) and type(beats) is type(seen) is int and type(lease) is float]  # fmt: skip


def delete_driver(db: sqlite3.Connection, number: int, beats: int | None) -> None:
    """Deletes a driver's row, where there is one, and if it has so many beats."""
    if _has_table(db):
        db.execute("DELETE FROM drivers WHERE number = ? AND beats = coalesce(?, beats)", (number, beats))


def _has_table(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (NAME,)).fetchone() is not None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
