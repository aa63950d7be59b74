"""How a log is stored in the tables of an SQLite file: `Digests` since version 2, and `Plain`, which is how version 1 did.

Since version 2 events have positions and digests; what these prove stands in rows.py.

    header   study (random; no other file's events fit), body, count, seal
    events   position, identity, kind, body, timestamp, digest

Version 1 has neither positions nor digests. Its files stay what they are, and are read and written.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from hpo.logs.base import Collision, Event, encode_json
from hpo.logs.checks import check_position
from hpo.logs.rows import Rows

APPLICATION = int.from_bytes(b"hpo\n", "big")  # what SQLite keeps for telling whose file it is


class Tables(ABC):
    """The rows of one open file. Every method runs inside the caller's lock; text columns come as bytes."""

    sql: Mapping[str, str]  # table -> how it was made

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self.db, self.name, self.rows = db, name, Rows(name)

    @abstractmethod
    def header(self) -> Mapping[str, Any] | None:
        """The stored header, with its digest checked; None if neither header nor events were written."""

    @abstractmethod
    def write(self, header: Mapping[str, Any]) -> None:
        """Writes the header of a new log."""

    @abstractmethod
    def append(self, event: Event) -> int:
        """Inserts in one transaction; the event's position. Raises Collision."""

    @abstractmethod
    def read(self, after: int) -> list[Event]:
        """Events from position `after` on, with their digests checked."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What a user of this file should know, a sentence each. LogError where what is missing cannot be counted."""

    def _clash(self, error: sqlite3.IntegrityError, identity: str | None) -> Exception:
        unique = error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE  # the primary key, a position, has a code of its own
        return Collision(identity) if unique else self.rows.damage(str(error))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction that holds the write lock from the beginning, so that no other writes between its reads and writes.
        After a Collision it is still open, for the next one or `roll_back` (turns.py)."""
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except Collision:
            raise
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")


class Digests(Tables):
    """Versions 2 and 3, which differ in what the notes of jobs say."""

    sql = {
        "header": "CREATE TABLE header (one INTEGER PRIMARY KEY CHECK (one = 1), study TEXT NOT NULL, body TEXT NOT NULL, "
        "digest BLOB NOT NULL, count INTEGER NOT NULL, seal BLOB NOT NULL)",
        "events": "CREATE TABLE events (position INTEGER PRIMARY KEY, identity TEXT UNIQUE, kind TEXT NOT NULL, "
        "body TEXT NOT NULL, timestamp REAL NOT NULL, digest BLOB NOT NULL)",
    }

    def write(self, header: Mapping[str, Any]) -> None:
        study, body = token_hex(8), encode_json(header)
        row = (study, body, *self.rows.begin(study, body))
        self.db.execute("INSERT INTO header (one, study, body, digest, count, seal) VALUES (1, ?, ?, ?, ?, ?)", row)

    def header(self) -> Mapping[str, Any] | None:
        return self.rows.header(self.db.execute("SELECT study, body, digest FROM header WHERE one = 1").fetchone())

    def _count(self) -> int:
        """How many events there were at the last append."""
        return self.rows.count(self.db.execute("SELECT count, seal FROM header WHERE one = 1").fetchone())

    def _next(self) -> int:
        (last,) = self.db.execute("SELECT max(position) FROM events").fetchone()
        return 0 if last is None else int(last) + 1

    def notes(self) -> list[str]:
        return self.rows.notes(self._count(), self._next())

    def append(self, event: Event) -> int:
        with self.transaction():  # no other driver inserts meanwhile, so a position cannot clash
            position = self._next()
            row = self.rows.encode(position, event)
            if self._count() < position:
                raise self.rows.damage(f"event {position - 1} was never counted")
            try:
                self.db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise self._clash(error, event.identity) from None
            count = position + 1
            self.db.execute("UPDATE header SET count = ?, seal = ?", (count, self.rows.seal(count)))
        return position

    def read(self, after: int) -> list[Event]:
        query = "SELECT position, identity, kind, body, timestamp, digest FROM events WHERE position >= ? ORDER BY position"
        return self.rows.decode(self.db.execute(query, (after,)), after)


class Plain(Tables):
    """Version 1."""

    sql = {
        "header": "CREATE TABLE header (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL)",
        "events": "CREATE TABLE events ( id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT UNIQUE, kind TEXT NOT NULL, "
        "body TEXT NOT NULL, time REAL NOT NULL)",
        "sqlite_sequence": "CREATE TABLE sqlite_sequence(name,seq)",
    }

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        super().__init__(db, name)
        self._last = (0, 0)  # so many events were read, and the last one's id: ids have gaps, since a collision burns one

    def write(self, header: Mapping[str, Any]) -> None:
        self.db.execute("INSERT INTO header (one, body) VALUES (1, ?)", (encode_json(header),))

    def header(self) -> Mapping[str, Any] | None:
        row = self.db.execute("SELECT body FROM header WHERE one = 1").fetchone()
        if row is not None:
            return self.rows.parse_mapping(row[0], "its header")
        (events,) = self.db.execute("SELECT count(*) FROM events").fetchone()
        if events:
            raise self.rows.damage(f"its header is missing, and {events} events stand without one")
        return None

    def notes(self) -> list[str]:
        return [
            f"the log {self.name} is of version 1: its events carry no digests, so changed and missing ones cannot be seen"
        ]

    def append(self, event: Event) -> int:
        row = (event.identity, event.kind, encode_json(event.body), float(event.time))
        with self.transaction():
            (last,) = self.db.execute("SELECT max(id) FROM events").fetchone()  # no fewer than the events, and not counted
            check_position(event, last or 0)
            try:
                self.db.execute("INSERT INTO events (identity, kind, body, time) VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise self._clash(error, event.identity) from None
            read, last = self._last
            (more,) = self.db.execute("SELECT count(*) FROM events WHERE id > ?", (last,)).fetchone()  # ids have gaps
        return int(read + more) - 1

    def read(self, after: int) -> list[Event]:
        if after != self._last[0]:  # a reader that begins elsewhere than the last one ended: counted, once
            query = "SELECT id FROM events ORDER BY id LIMIT 1 OFFSET ?"
            row = self.db.execute(query, (after - 1,)).fetchone() if after > 0 else (0,)
            if row is None:
                return []
            self._last = (after, row[0])
        query = "SELECT id, identity, kind, body, time FROM events WHERE id > ? ORDER BY id"
        found, (position, last) = [], self._last
        for at, identity, kind, body, time in self.db.execute(query, (last,)):
            found.append(self.rows.event(position, identity, kind, body, time))
            position, last = position + 1, at
        self._last = (position, last)
        return found


TABLES: dict[int, type[Tables]] = {1: Plain, 2: Digests, 3: Digests}  # by the version of the log
