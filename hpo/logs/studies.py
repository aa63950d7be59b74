"""The statements by which a log reads and writes the rows of its study, and what is done with whole studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_bytes, token_hex
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from hpo.logs import schema
from hpo.logs.base import Collision, Driver, Event, LogError
from hpo.logs.database import Database
from hpo.logs.driver_rows import insert_driver, remove_driver, select_drivers
from hpo.logs.rows import Rows
from hpo.logs.schema import DRIVERS, EVENTS, STUDIES

CLASHES = 100  # of positions in a row, which only a damaged table has
STUDY: sa.BindParameter[int] = sa.bindparam("_study")
IDENTITY: sa.BindParameter[str] = sa.bindparam("_identity")
TOKEN: sa.BindParameter[bytes] = sa.bindparam("_token")
LAST = sa.select(sa.func.max(EVENTS.c.position))
# In one statement, so that count and last position are of one moment.
FIND = sa.select(
    STUDIES.c.id, STUDIES.c.key, STUDIES.c.body, STUDIES.c.digest, STUDIES.c.count, STUDIES.c.seal,
    LAST.where(EVENTS.c.study == STUDIES.c.id).scalar_subquery(),
).where(STUDIES.c.name == sa.bindparam("_name"))  # fmt: skip
LOCK = sa.select(STUDIES.c.count, STUDIES.c.seal).where(STUDIES.c.id == STUDY).with_for_update()
LAST_OF_STUDY = LAST.where(EVENTS.c.study == STUDY)
INSERT = sa.insert(EVENTS).execution_options(preserve_rowcount=True)
# A statement that fails ends a transaction of PostgreSQL, so that one must not.
UNLESS_THERE = postgresql.insert(EVENTS).on_conflict_do_nothing(index_elements=[EVENTS.c.study, EVENTS.c.identity])
INSERTS: dict[str, sa.Insert] = {"postgresql": UNLESS_THERE.execution_options(preserve_rowcount=True)}
COUNT = sa.update(STUDIES).where(STUDIES.c.id == STUDY).values(count=sa.bindparam("_count"), seal=sa.bindparam("_seal"))
READ = (
    sa.select(EVENTS.c.position, EVENTS.c.identity, EVENTS.c.kind, EVENTS.c.body, EVENTS.c.time, EVENTS.c.digest)
    .where(EVENTS.c.study == STUDY, EVENTS.c.position >= sa.bindparam("_after"))
    .order_by(EVENTS.c.position)
)
BY_IDENTITY = sa.select(EVENTS.c.position).where(EVENTS.c.study == STUDY, EVENTS.c.identity == IDENTITY)
BY_TOKEN = sa.select(EVENTS.c.position).where(EVENTS.c.study == STUDY, EVENTS.c.token == TOKEN)


class StudyRows:
    """The rows of one study among others."""

    def __init__(self, database: Database, study: str) -> None:
        self.database, self.study, self.name = database, study, database.name
        self.rows = Rows(self.name)
        self._id: int | None = None  # None until it was opened
        self._is_cut = False  # whether fewer events were found than had been counted

    @property
    def id(self) -> int:
        if self._id is None:
            raise ValueError(f"the log {self.name} was not opened with a header")
        return self._id

    def header(self) -> Mapping[str, Any] | None:
        """The study's header; None where it, or every table, is missing."""
        row = self.database.read(self._find)
        return None if row is None else self.rows.header(row[1:4])

    def open(self) -> tuple[Mapping[str, Any], list[str]]:
        """Header and notes of a study that is there."""
        row = self.database.read(self._find)
        if row is None:
            raise LogError(f"the log {self.name} holds no study yet")
        kept, last = self.rows.header(row[1:4]), row[6]
        notes = self.rows.notes(self.rows.count(row[4:6]), 0 if last is None else last + 1)
        self._id, self._is_cut = row[0], bool(notes)
        return kept, notes

    def begin(self, body: str) -> None:
        """Makes the tables and the study, unless they are there."""
        with suppress(IntegrityError):  # another driver made it at the same moment
            self.database.write(lambda db, again: self._begin(db, body))

    def append(self, event: Event) -> int:
        """Inserts in one transaction; the event's position. Raises Collision. A clash of position is tried again."""
        token = token_bytes(16)
        for _ in range(CLASHES):
            with suppress(IntegrityError):  # of a position
                found = self.database.write(lambda db, again: self._insert(db, event, token, again), event.kind == "start")
                if isinstance(found, Collision):
                    raise found
                return found
        raise self.rows.damage("an event that was never counted stands behind the last one")

    def read(self, after: int) -> list[Event]:
        """Events from position `after` on, proved."""
        given = {"_study": self.id, "_after": after}
        return self.rows.decode(self.database.read(lambda db: db.execute(READ, given).fetchall()), after)

    def beat(self, driver: Driver) -> None:
        """Writes or replaces a driver's row."""
        self.database.write(lambda db, again: insert_driver(db, self.id, driver))

    def drivers(self) -> list[tuple[Driver, float | None]]:
        """Every driver's row with its age by the server's clock."""
        return self.database.read(lambda db: select_drivers(db, self.id))

    def leave(self, number: int, beats: int | None) -> None:
        """Deletes a driver's row, if it still has so many beats."""
        self.database.write(lambda db, again: remove_driver(db, self.id, number, beats))

    def _find(self, db: sa.Connection) -> Sequence[Any] | None:
        """id, key, body, digest, count, seal and last position of the study; None without it, or without tables."""
        version = schema.find_version(db) if self._id is None else schema.SCHEMA
        if version is None:
            return None
        schema.check_version(version, self.name)
        return db.execute(FIND, {"_name": self.study}).fetchone()

    def _begin(self, db: sa.Connection, body: str) -> None:
        schema.prepare(db, self.name)
        if self._find(db) is None:
            self.database.check_size(body)
            key = token_hex(8)
            digest, count, seal = Rows(self.name).begin(key, body)
            row = {"name": self.study, "key": key, "body": body, "digest": digest, "count": count, "seal": seal}
            db.execute(sa.insert(STUDIES), row)

    def _insert(self, db: sa.Connection, event: Event, token: bytes, again: bool) -> int | Collision:
        """Inserts an event behind the last one. Its position, or what it collides with."""
        counted = db.execute(LOCK, {"_study": self.id}).fetchone()
        if counted is None:
            raise LogError(f"the study of the log {self.name} was deleted")
        if again and (done := db.execute(BY_TOKEN, {"_study": self.id, "_token": token}).scalar()) is not None:
            return int(done)
        position = self.rows.count(counted)
        if self._is_cut:
            last = db.execute(LAST_OF_STUDY, {"_study": self.id}).scalar()
            position = min(position, 0 if last is None else last + 1)
        at, identity, kind, body, time, digest = self.rows.encode(position, event)
        self.database.check_size(body)
        row = {"study": self.id, "position": at, "identity": identity, "kind": kind, "body": body, "time": time}
        try:
            count = db.execute(INSERTS.get(db.dialect.name, INSERT), {**row, "digest": digest, "token": token}).rowcount
        except IntegrityError:
            if db.dialect.name == "postgresql" or not self._has(db, identity):  # there a failure ends the transaction
                raise
            count = 0
        if not count:
            return Collision(identity)
        db.execute(COUNT, {"_study": self.id, "_count": position + 1, "_seal": self.rows.seal(position + 1)})
        return position

    def _has(self, db: sa.Connection, identity: str | None) -> bool:
        return db.execute(BY_IDENTITY, {"_study": self.id, "_identity": identity}).fetchone() is not None


def read_studies(database: Database) -> list[tuple[str, int]]:
    """Name and number of events of every study, by name."""

    def read(db: sa.Connection) -> list[tuple[str, int]]:
        if schema.find_version(db) is None:
            return []
        return [(name, count) for name, count in db.execute(sa.select(STUDIES.c.name, STUDIES.c.count))]

    return sorted(database.read(read))


def drop_study(database: Database, study: str) -> None:
    """Removes a study, if it is there, with its events, in one transaction."""

    def drop(db: sa.Connection, again: bool) -> None:
        found = db.execute(sa.select(STUDIES.c.id).where(STUDIES.c.name == study).with_for_update()).scalar()
        if found is not None:
            db.execute(sa.delete(DRIVERS).where(DRIVERS.c.study == found))
            db.execute(sa.delete(EVENTS).where(EVENTS.c.study == found))
            db.execute(sa.delete(STUDIES).where(STUDIES.c.id == found))

    database.write(drop)
