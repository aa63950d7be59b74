"""Logs in a database: PostgreSQL, MySQL or MariaDB, and one SQLite file of several studies, safe for any number of drivers.

    postgresql://user@host/database?study=a    mysql://user@host/database?study=a    sqlite:///all.db?study=a

What the tables hold is in schema.py, how a row is proved in rows.py, what is tried again in database.py. An append locks its
study's row, so positions are dense and given in order; readers wait for nobody. SQLAlchemy is imported only where such a log
is used.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hpo.frames import stack_level
from hpo.logs.base import Driver, Event, Log, LogError, encode_json
from hpo.logs.checks import check_event
from hpo.logs.urls import Place, check_study, hide_password, read_query

if TYPE_CHECKING:
    from hpo.logs.database import Database

EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "sqlite": "mysql"}  # any brings SQLAlchemy


class SQLLog(Log):
    """The events of one study among others in a database.

    url            scheme://user:password@host/database; its query may name the study, pool_size and max_overflow, all else in
                   it goes to the driver
    study          the study's name, where the URL names none (default: "study")
    readonly       nothing is written, not even tables
    pool_size      connections that stay open, for threads
    max_overflow   further ones while these are in use
    connect_args   further arguments of the driver, such as ssl={"ca": "ca.pem"} of PyMySQL

    When `append` returns, the event is committed, and is as safe as the server makes it. A connection that breaks is made anew
    for a minute, then it is a ConnectionError; an append whose commit was in doubt is there once. LogError (a ValueError) if
    the study is damaged, or a later version of the framework made the tables.
    """

    def __init__(
        self, url: str, study: str | None = None, *, readonly: bool = False, pool_size: int = 5, max_overflow: int = 10,
        connect_args: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if study is not None and "study" in read_query(url):
            raise ValueError(f"the study of the log {hide_password(url)!r} was given in its URL and beside it; give it once")
        self._place = Place.of(url, pool_size, max_overflow)
        self.study = self._place.study if study is None else check_study(study)
        self.place = self._place.show(self.study)
        self.name = repr(self.place)
        # why nothing can be told to it, if so
        self.refusal = f"the log {self.name} was opened for reading; nothing can be told to it" if readonly else None
        self._file = _check_file(self._place, self.name, readonly)
        self._database = _connect(self._place, self.name, connect_args, readonly)
        from hpo.logs.studies import StudyRows

        self._rows = StudyRows(self._database, self.study)

    @classmethod
    def from_url(cls, url: str, readonly: bool = False) -> Self:
        """scheme://user:password@host/database?study=a"""
        return cls(url, readonly=readonly)

    def header(self) -> Mapping[str, Any] | None:
        if self._file is not None and not self._file.exists():
            return None  # nothing is made by looking
        return self._rows.header()

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        body = encode_json(header)
        if self.refusal is None:
            self._rows.begin(body)
        found, notes = self._rows.open()
        for note in notes:
            warnings.warn(note, stacklevel=stack_level())
        return found

    def append(self, event: Event) -> int:
        check_event(event)
        if self._database.is_closed:
            raise ValueError(f"the log {self.name} is closed; nothing can be told to it any more")
        if self.refusal is not None:
            raise PermissionError(self.refusal)
        return self._rows.append(event)

    def read(self, after: int) -> Sequence[Event]:
        return self._rows.read(after)

    def beat(self, driver: Driver) -> None:
        self._rows.beat(driver)

    def drivers(self) -> Sequence[tuple[Driver, float | None]]:
        return self._rows.drivers()

    def leave(self, number: int, beats: int | None = None) -> None:
        self._rows.leave(number, beats)

    def close(self) -> None:
        self._database.close()


def list_studies(url: str) -> dict[str, int]:
    """How many events every study of a database has, by name. Nothing is written. FileNotFoundError without the file."""
    place = Place.of(url)
    _check_file(place, repr(place.database), readonly=True)
    with closing(_connect(place, repr(place.database), None, readonly=True)) as database:
        from hpo.logs.studies import read_studies

        return dict(read_studies(database))


def delete_study(url: str, name: str) -> None:
    """Removes a study of a database with all its events, for good. Checkpoints stay. ValueError if there is no such study."""
    studies = list_studies(url)
    place = Place.of(url)
    with closing(_connect(place, repr(place.database), None, readonly=False)) as database:
        from hpo.logs.studies import drop_study

        if name not in studies:
            raise ValueError(f"there is no study {name!r:.80} in {place.database!r}; there are {list(studies)}")
        drop_study(database, name)


def _connect(place: Place, name: str, connect_args: Mapping[str, Any] | None, readonly: bool) -> Database:
    """The database of a place; nothing is sent yet. ModuleNotFoundError where SQLAlchemy or a driver is missing."""
    try:
        from hpo.logs.database import Database
    except ModuleNotFoundError as error:
        extra = EXTRAS[place.scheme]
        raise ModuleNotFoundError(f"the log {name} needs SQLAlchemy ({error}); pip install 'hpo-lm[{extra}]'") from None
    pool = {"pool_size": place.pool_size, "max_overflow": place.max_overflow}
    return Database(place.url, name, pool, connect_args, readonly)


def _check_file(place: Place, name: str, readonly: bool) -> Path | None:
    """The file of an SQLite database, None of a server. LogError where it is something else than a database of studies."""
    if place.scheme != "sqlite":
        return None
    if place.path is None:
        raise ValueError(f"the log {name} names no file; allowed are sqlite:///all.db?study=a and sqlite:////data/all.db?study=a")
    path = Path(place.path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of the log {name} does not exist")
    if path.is_dir():
        raise LogError(f"the log {name} is a folder; allowed is the path of a file")
    if not path.exists() and readonly:
        raise FileNotFoundError(f"there is no log {name}")
    if path.exists() and path.stat().st_size:
        tables = _list_tables(path, name)
        if "hpo_studies" not in tables and {"header", "events"} <= tables:
            raise LogError(f"the file {str(path)!r} is the log of one study; open it without ?study=, as {f'sqlite:///{path}'!r}")
    return path


def _list_tables(path: Path, name: str) -> set[str]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError:  # held or hidden: whoever works with it says so
        return set()
    except sqlite3.DatabaseError as error:
        raise LogError(f"the file of the log {name} is not a database: {error}") from None
