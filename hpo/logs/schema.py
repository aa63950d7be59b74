"""The tables of studies in a database, how they are made, and how those of an older version become those of this one.

    hpo_schema    version
    hpo_studies   id, name (unique), key (random; no other study's events fit), body of the header, digest, count, seal
    hpo_events    study, position, identity, kind, body, time, digest, token;
                  unique: (study, position), (study, identity), token
    hpo_drivers   study, number, process, beats, seen, lease, beat: who works with a study now; no events

`token` is random, one an append: a driver whose connection broke in a commit finds by it whether that was done. Version 1
had none, and before version 3 there were no rows of drivers. Texts are compared as they are: case, blanks and accents count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from hpo.logs.base import LogError

SCHEMA = 3  # the version of these tables
LOCK = int.from_bytes(b"hpo log", "big")  # of whoever makes or changes tables
TABLES = sa.MetaData()


def _name(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _bytes() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(16), "mysql", "mariadb")


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # where only INTEGER numbers rows by itself


MADE: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
VERSIONS = sa.Table(
    "hpo_schema", TABLES,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False), sa.Column("version", sa.Integer, nullable=False),
    **MADE,
)  # fmt: skip
STUDIES = sa.Table(
    "hpo_studies", TABLES,
    sa.Column("id", _number(), primary_key=True), sa.Column("name", _name(255), nullable=False),
    sa.Column("key", _name(16), nullable=False), sa.Column("body", _text(), nullable=False),
    sa.Column("digest", _bytes(), nullable=False), sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("seal", _bytes(), nullable=False),
    sa.UniqueConstraint("name", name="hpo_studies_name"), **MADE,
)  # fmt: skip
EVENTS = sa.Table(
    "hpo_events", TABLES,
    sa.Column("study", _number(), primary_key=True, autoincrement=False),
    sa.Column("position", _number(), primary_key=True, autoincrement=False),
    sa.Column("identity", _name(255)), sa.Column("kind", _name(32), nullable=False), sa.Column("body", _text(), nullable=False),
    sa.Column("time", sa.Double, nullable=False), sa.Column("digest", _bytes(), nullable=False), sa.Column("token", _bytes()),
    sa.UniqueConstraint("study", "identity", name="hpo_events_identity"), sa.UniqueConstraint("token", name="hpo_events_token"),
    **MADE,
)  # fmt: skip
DRIVERS = sa.Table(
    "hpo_drivers", TABLES,
    sa.Column("study", _number(), primary_key=True, autoincrement=False),
    sa.Column("number", _number(), primary_key=True, autoincrement=False),
    sa.Column("process", _name(255), nullable=False), sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False), sa.Column("lease", sa.Double, nullable=False),
    sa.Column("beat", sa.Double, nullable=False), **MADE,
)  # fmt: skip


def find_version(db: sa.Connection) -> int | None:
    """The version of the tables; None where there are none, or not yet all."""
    if not sa.inspect(db).has_table(VERSIONS.name):
        return None
    found: int | None = db.execute(sa.select(VERSIONS.c.version)).scalar()
    return found


def check_version(version: int, name: str) -> None:
    """LogError where a later version of the framework made the tables."""
    if version > SCHEMA:
        raise LogError(
            f"the tables of the log {name} are of the later version {version}; this version of the framework knows up to {SCHEMA}"
        )


def prepare(db: sa.Connection, name: str) -> None:
    """Makes the tables where there are none and brings older ones to this version; one driver at a time, the others wait.
    Killed on the way, the next driver goes on where it stopped. LogError where they are of a later version."""
    found = find_version(db)
    if found == SCHEMA:
        return
    with _alone(db):
        found = find_version(db)
        if found is None:
            TABLES.create_all(db)
            db.execute(sa.insert(VERSIONS).values(one=1, version=SCHEMA))
            return
        check_version(found, name)
        for version in range(found, SCHEMA):
            STEPS[version](db)
            db.execute(sa.update(VERSIONS).values(version=version + 1))


def _alone(db: sa.Connection) -> AbstractContextManager[Any]:
    """A context in which no other driver changes tables. SQLite's transaction is one already."""
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))  # until this transaction ends
    return _under_name(db) if db.dialect.name == "mysql" else nullcontext()


@contextmanager
def _under_name(db: sa.Connection) -> Iterator[None]:
    """MySQL commits before and after every change of tables, so a transaction keeps nobody out."""
    name = f"hpo {db.engine.url.database}"[:64]
    if not db.execute(sa.select(sa.func.get_lock(name, 30))).scalar():
        raise TimeoutError("another driver has been changing the tables of logs for 30 seconds")
    try:
        yield
    finally:
        if not db.invalidated:  # with the connection its locks are gone
            db.execute(sa.select(sa.func.release_lock(name)))


def _add_tokens(db: sa.Connection) -> None:
    """1 to 2. Events of before keep none: their drivers are gone."""
    kind = EVENTS.c.token.type.compile(db.dialect)
    if "token" not in {column["name"] for column in sa.inspect(db).get_columns(EVENTS.name)}:
        db.exec_driver_sql(f"ALTER TABLE hpo_events ADD COLUMN token {kind}")
    if not any(index["name"] == "hpo_events_token" for index in sa.inspect(db).get_indexes(EVENTS.name)):
        db.exec_driver_sql("CREATE UNIQUE INDEX hpo_events_token ON hpo_events (token)")


def _add_drivers(db: sa.Connection) -> None:
    """2 to 3."""
    DRIVERS.create(db, checkfirst=True)


STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _add_tokens, 2: _add_drivers}  # from this version to the next
