"""A log in one SQLite file: durable after every append, safe for several drivers on one machine."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.logs.base import Collision, Event, stored

PATIENCE = 60.0  # seconds, for others who hold the file
SCHEMA = """
CREATE TABLE IF NOT EXISTS header (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL, time REAL NOT NULL);
"""


def _busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SQLiteLog:
    """Events in the table `events` of one file.

    `synchronous=FULL` with a write-ahead log: when `append` returns, the event survives the loss of the process and
    of the machine's power. Raises ValueError with the path if the file is not such a log.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"the folder of the log {str(self.path)!r} does not exist")
        self._lock = threading.Lock()  # one connection may serve several threads, one at a time
        self._db = sqlite3.connect(self.path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._db.close()
            what = f"was held by others for {PATIENCE:g} seconds" if _busy(error) else "is not a log of this framework"
            raise ValueError(f"the file {str(self.path)!r} {what}: {error}") from None

    def _prepare(self) -> None:
        """The file as a log, with a write-ahead log of its own. While several open a new file at once, SQLite may refuse to
        change its journal without waiting, whatever the timeout; then it is tried again."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(SCHEMA)
                self._db.execute("SELECT identity, kind, body, time FROM events LIMIT 1")
                return
            except sqlite3.OperationalError as error:
                if not _busy(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO header VALUES (1, ?)", (stored(header),))
            (body,) = self._db.execute("SELECT body FROM header").fetchone()
        found: Mapping[str, Any] = json.loads(body)
        return found

    def append(self, event: Event) -> None:
        row = (event.identity, event.kind, stored(event.body), event.time)
        try:
            with self._lock:
                self._db.execute("INSERT INTO events (identity, kind, body, time) VALUES (?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise Collision(event.identity) from None

    def read(self, after: int) -> Sequence[Event]:
        # ids may have gaps (a collision burns one), so position is counted and not computed from them
        query = "SELECT kind, body, time FROM events ORDER BY id LIMIT -1 OFFSET ?"
        with self._lock:
            rows = self._db.execute(query, (after,)).fetchall()
        return [Event(kind, json.loads(body), time) for kind, body, time in rows]

    def close(self) -> None:
        self._db.close()
