"""How a log is stored in the tables of an SQLite file: `Digests` since version 2, and `Plain`, which is how version 1 did.

Since version 2 every event has a position, dense from 0 and given in the transaction that inserts it, and a digest over the
study, position, identity, kind, time and body. The header has a digest, and beside it stands how many events there were
at the last append, with a digest of its own. So an event that was changed, moved, removed or inserted by hand is found, and
missing events at the end are counted. No digest depends on the event before it: drivers append without reading.

    header   study (random; no other file's events fit), body, count, seal
    events   position, identity, kind, body, timestamp, digest

Version 1 has neither positions nor digests. Its files stay what they are, and are read and written.
"""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from secrets import token_hex
from typing import Any

from hpo.logs.base import Collision, Event, LogError, encode_json
from hpo.logs.checks import check_event, check_position

APPLICATION = int.from_bytes(b"hpo\n", "big")  # what SQLite keeps for telling whose file it is
SIZE = 16  # bytes of a digest


def digest_of(*parts: bytes | str | int, key: bytes = b"") -> bytes:
    """A digest over parts of which only the last one may hold a line's end."""
    texts = [part if type(part) is bytes else str(part).encode() for part in parts]
    return blake2b(b"\n".join(texts), digest_size=SIZE, key=key).digest()


class Tables(ABC):
    """The rows of one open file. Every method runs inside the caller's lock; text columns come as bytes."""

    sql: Mapping[str, str]  # table -> how it was made

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self.db, self.name = db, name

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

    def damage(self, what: str) -> LogError:
        return LogError(f"the log {self.name} is damaged: {what}")

    def parse_mapping(self, text: Any, what: str) -> Mapping[str, Any]:
        try:
            value = json.loads(text.decode() if isinstance(text, bytes) else text)  # json would look for the encoding
        except (ValueError, TypeError, RecursionError) as error:
            raise self.damage(f"{what} is no JSON ({error})") from None
        if not isinstance(value, dict):
            raise self.damage(f"{what} is {value!r:.60}, which is no mapping")
        return value

    def event(self, position: int, identity: Any, kind: Any, body: Any, time: Any) -> Event:
        """A row as an Event, its types checked."""
        where = f"the log {self.name} cannot be read at event {position}"
        try:
            found = Event(kind.decode() if isinstance(kind, bytes) else kind, self.parse_mapping(body, f"event {position}"), time)
            check_event(found, where)
            said = identity.decode() if isinstance(identity, bytes) else identity
            if said != found.identity:
                raise ValueError(f"{where}: it is registered as {said!r:.60} and says {found.identity!r}")
            check_position(found, position, where)
        except UnicodeDecodeError as error:
            raise self.damage(f"event {position} is no text ({error})") from None
        except LogError:
            raise
        except ValueError as error:
            raise LogError(str(error)) from None
        return found

    def _clash(self, error: sqlite3.IntegrityError, identity: str | None) -> Exception:
        unique = error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE  # the primary key, a position, has a code of its own
        return Collision(identity) if unique else self.damage(str(error))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction that holds the write lock from the beginning, so that no other writes between its reads and writes."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise


class Digests(Tables):
    """Versions 2 and 3, which differ in what the notes of jobs say."""

    sql = {
        "header": "CREATE TABLE header (one INTEGER PRIMARY KEY CHECK (one = 1), study TEXT NOT NULL, body TEXT NOT NULL, "
        "digest BLOB NOT NULL, count INTEGER NOT NULL, seal BLOB NOT NULL)",
        "events": "CREATE TABLE events (position INTEGER PRIMARY KEY, identity TEXT UNIQUE, kind TEXT NOT NULL, "
        "body TEXT NOT NULL, timestamp REAL NOT NULL, digest BLOB NOT NULL)",
    }

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        super().__init__(db, name)
        self._key = b""  # of the digests of this study's events; known with its header

    def write(self, header: Mapping[str, Any]) -> None:
        study, body = token_hex(8), encode_json(header)
        key = digest_of(study, body)
        row = (study, body, key, 0, self._seal(key, 0))
        self.db.execute("INSERT INTO header (one, study, body, digest, count, seal) VALUES (1, ?, ?, ?, ?, ?)", row)

    def header(self) -> Mapping[str, Any] | None:
        row = self.db.execute("SELECT study, body, digest FROM header WHERE one = 1").fetchone()
        if row is None:
            raise self.damage("its header is missing")
        study, body, digest = row
        if not isinstance(study, bytes) or not isinstance(body, bytes) or digest_of(study, body) != digest:
            raise self.damage("its header is not as it was written")
        self._key = digest
        return self.parse_mapping(body, "its header")

    @staticmethod
    def _seal(key: bytes, count: int) -> bytes:
        return digest_of("count", count, key=key)

    def _count(self) -> int:
        """How many events there were at the last append."""
        row = self.db.execute("SELECT count, seal FROM header WHERE one = 1").fetchone()
        count, seal = row if row is not None else (-1, None)
        if self._seal(self._key, count) != seal:
            raise self.damage("the number of events that is kept with its header is not as it was written")
        return int(count)

    def _next(self) -> int:
        (last,) = self.db.execute("SELECT max(position) FROM events").fetchone()
        return 0 if last is None else int(last) + 1

    def _digest(self, position: int, identity: bytes | None, kind: bytes, body: bytes, time: float) -> bytes:
        return digest_of(position, identity or b"", kind, repr(time), body, key=self._key)

    def notes(self) -> list[str]:
        count, found = self._count(), self._next()
        if found > count:
            raise self.damage(f"event {count} was never counted")
        if found == count:
            return []
        missing = f"the last {count - found} are missing"
        return [f"the log {self.name} is cut: it held {count} events and holds the first {found}; {missing}"]

    def append(self, event: Event) -> int:
        identity, body, time = event.identity, encode_json(event.body), float(event.time)
        with self.transaction():  # no other driver inserts meanwhile, so a position cannot clash
            position = self._next()
            check_position(event, position)
            if self._count() < position:
                raise self.damage(f"event {position - 1} was never counted")
            encoded = None if identity is None else identity.encode()
            digest = self._digest(position, encoded, event.kind.encode(), body.encode(), time)
            try:
                row = (position, identity, event.kind, body, time, digest)
                self.db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise self._clash(error, identity) from None
            count = position + 1
            self.db.execute("UPDATE header SET count = ?, seal = ?", (count, self._seal(self._key, count)))
        return position

    def read(self, after: int) -> list[Event]:
        query = "SELECT position, identity, kind, body, timestamp, digest FROM events WHERE position >= ? ORDER BY position"
        found, position = [], after
        for at, identity, kind, body, time, digest in self.db.execute(query, (after,)):
            if at != position:
                raise self.damage(f"event {position} is missing")
            texts = type(kind) is bytes and type(body) is bytes and (identity is None or type(identity) is bytes)
            if not texts or self._digest(position, identity, kind, body, time) != digest:
                raise self.damage(f"event {position} is not as it was written")
            found.append(self.event(position, identity, kind, body, time))
            position += 1
        return found


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
            return self.parse_mapping(row[0], "its header")
        (events,) = self.db.execute("SELECT count(*) FROM events").fetchone()
        if events:
            raise self.damage(f"its header is missing, and {events} events stand without one")
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
            found.append(self.event(position, identity, kind, body, time))
            position, last = position + 1, at
        self._last = (position, last)
        return found


TABLES: dict[int, type[Tables]] = {1: Plain, 2: Digests, 3: Digests}  # by the version of the log
