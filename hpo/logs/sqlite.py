"""A log in one SQLite file: durable after every append, safe for several drivers on one machine.

While no driver is writing, the whole study is in that one file: there is a rollback journal and no write-ahead log,
which a copy of the file would leave behind. Only where a driver was killed while it wrote does the journal stay beside the
file, until the log is opened again. What the tables hold and how it is proved is in tables.py.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Self, TypeVar

from hpo.frames import stack_level
from hpo.logs.base import VERSION, Collision, Driver, Event, Log, LogError, encode_json, later_version
from hpo.logs.checks import check_event
from hpo.logs.drivers import NAME, SQL, delete_driver, read_drivers, write_driver
from hpo.logs.tables import APPLICATION, TABLES, Digests, Plain, Tables
from hpo.logs.turns import Reservation, Reservations

T = TypeVar("T")
PATIENCE = 60.0  # seconds, for others who hold the file
# Seconds of these after which SQLite is asked anew: the longer a driver has waited the more seldom SQLite itself looks, so that
# whoever came last goes first, and among eight drivers some wait for many seconds.
STEP = 0.05
SYNCHRONOUS = "EXTRA"  # how far every append is driven; "OFF" survives the death of processes but not of the machine
_said: set[str] = set()
HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
REFUSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN)  # what the system does not allow


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _name(made: Path, path: Path) -> None:
    """Gives a file its name unless there is one of that name."""
    with suppress(FileExistsError):
        try:
            os.link(made, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if not path.exists():
                made.rename(path)


class SQLiteLog(Log):
    """Events in the table `events` of one file, which `open` makes if there is none.

    When `append` returns, the event survives the loss of the process and of the machine's power.
    LogError (a ValueError) in one sentence with the path if the file is not such a log or is damaged; OSError if the
    machine does not let it be read or written. `readonly` opens what may not be written; nothing in the file changes.
    """

    def __init__(self, path: str | Path, readonly: bool = False) -> None:
        self.path: Path = Path(path)
        self.place = str(self.path)
        self.name = repr(self.place)
        self._lock = threading.Lock()  # one connection may serve several threads, one at a time
        self._db: sqlite3.Connection | None = None
        self._tables: Tables | None = None
        # why nothing can be told to it, if so
        self.refusal = f"the log {self.name} was opened for reading; nothing can be told to it" if readonly else None
        self._readonly, self._closed = readonly, False
        self._turns = Reservations()
        self._turn: Reservation | None = None
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"the folder of the log {self.name} does not exist")
        if self.path.is_dir():
            raise LogError(f"the log {self.name} is a folder; allowed is the path of a file")
        if self.path.exists():
            self._identify()
        elif readonly:
            raise FileNotFoundError(f"there is no log {self.name}")

    @classmethod
    def from_url(cls, url: str, readonly: bool = False) -> Self:
        """As databases have it: sqlite:///study.db in this folder, sqlite:////data/study.db anywhere."""
        host, _, path = url.removeprefix("sqlite://").partition("/")
        if host or not path:
            raise ValueError(f"the log {url!r} names no file; allowed are sqlite:///study.db and sqlite:////data/study.db")
        return cls(path, readonly)

    # -- the protocol ------------------------------------------------------------------------------------------------

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock, self._sentences():
            if self._tables is None:
                self._create(header)
            found, notes = self._wait(self._prove)
            if found is None:
                self._wait(lambda: self._write(header))
                found = self._wait(self.tables.header)
        assert found is not None
        for note in notes:
            self._warn(note)
        return found

    def _write(self, header: Mapping[str, Any]) -> None:
        """Writes the header, unless another driver came first."""
        with self.tables.transaction():
            if self.tables.header() is None:
                self.tables.write(header)

    def _warn(self, note: str) -> None:
        """Shows the caller's line, not one of ours; what is said of version 1 is said once a process and file."""
        if not isinstance(self.tables, Plain) or note not in _said:
            _said.add(note)
            warnings.warn(note, stacklevel=stack_level())

    def append(self, event: Event) -> int:
        check_event(event)
        with self._lock:
            if self._closed:
                raise ValueError(f"the log {self.name} is closed; nothing can be told to it any more")
            if self.refusal is not None:
                raise PermissionError(self.refusal)
            with self._sentences():
                return self._append(event)

    def _append(self, event: Event) -> int:
        if self._turn is not None:
            self._turn.end()
            self._turn = None
        try:
            return self._wait(lambda: self.tables.append(event))
        except Collision:
            if event.kind == "start":
                self._turn = self._turns.begin(self.tables.roll_back, self._lock)
            if self._turn is None:
                self.tables.roll_back()
            raise

    def read(self, after: int) -> Sequence[Event]:
        with self._lock, self._sentences():
            return self._wait(lambda: self.tables.read(after))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._turn is not None:
                self._turn.end()
            if self._db is not None:
                self._db.close()

    # -- beside it ---------------------------------------------------------------------------------------------------

    def beat(self, driver: Driver) -> None:
        self._write_beside(lambda db: write_driver(db, driver))

    def drivers(self) -> Sequence[tuple[Driver, float | None]]:
        with self._lock, self._sentences():
            found = self._wait(lambda: read_drivers(self.tables.db))
            return [(driver, None) for driver in found]  # the clock of one machine says nothing on another

    def leave(self, number: int, beats: int | None = None) -> None:
        self._write_beside(lambda db: delete_driver(db, number, beats))

    def _write_beside(self, write: Callable[[sqlite3.Connection], None]) -> None:
        """What is no event is written outside of a turn, whose transaction may be rolled back."""
        with self._lock, self._sentences():
            if self._turn is not None:
                self._turn.end()
                self._turn = None
                self.tables.roll_back()
            self._wait(lambda: write(self.tables.db))

    def header(self) -> Mapping[str, Any] | None:
        with self._lock, self._sentences():
            return None if self._tables is None else self._wait(self._tables.header)

    @property
    def tables(self) -> Tables:
        if self._tables is None:
            raise ValueError(f"the log {self.name} was not opened with a header")
        return self._tables

    # -- the file ----------------------------------------------------------------------------------------------------

    def _connect(self, path: Path, mode: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", timeout=STEP, check_same_thread=False, isolation_level=None, uri=True
        )
        db.text_factory = bytes  # so that damaged text is found by its digest, not by its decoding
        self._wait(lambda: db.execute(f"PRAGMA synchronous={SYNCHRONOUS}"))
        return db

    def _wait(self, call: Callable[[], T]) -> T:
        """What a call returns that may find the file held by others: tried again for PATIENCE seconds."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in HELD or time.monotonic() > until:
                    raise

    def _identify(self) -> None:
        """Connects, and finds the version of the file by its tables. LogError if it is none of ours."""
        if self.path.stat().st_size == 0:
            raise LogError(f"the log {self.name} is an empty file, whatever it held; remove it to begin a new study there")
        with self._sentences():
            try:
                self._db = db = self._connect(self.path, "mode=ro" if self._readonly else "mode=rw")
                self._tables = self._wait(lambda: self._recognize(db))
            except sqlite3.OperationalError as error:
                if not self._readonly or error.sqlite_errorcode & 0xFF not in REFUSED:
                    raise
                for suffix in ("-wal", "-journal"):  # of a driver that was killed; without it the file is half a log
                    if self._has_file(suffix):
                        raise PermissionError(self._unread(suffix)) from None
                # version 1 kept a write-ahead log, for which SQLite wants to write beside the file; here is none
                self._db = self._connect(self.path, "mode=ro&immutable=1")
                self._tables = self._recognize(self._db)
            if not self._readonly:
                self._wait(lambda: self._leave_wal(db))

    def _unread(self, suffix: str) -> str:
        beside = f"{self.path.name}{suffix}"
        return (
            f"the log {self.name} cannot be read where it stands: a driver was killed, part of what it told is in {beside}, and "
            f"that can be taken in only where files may be written; copy both into a folder of yours and open the copy"
        )

    def _has_file(self, suffix: str) -> bool:
        beside = self.path.with_name(self.path.name + suffix)
        return beside.exists() and beside.stat().st_size > 0

    def _recognize(self, db: sqlite3.Connection) -> Tables:
        with self._moment(db):
            with closing(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")) as rows:
                found = {_text(name): " ".join(_text(sql).split()) for name, sql in rows}
            application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        made = {name: sql for name, sql in found.items() if not name.startswith("sqlite_stat")}  # left by ANALYZE
        if made.get(NAME) == SQL:
            del made[NAME]  # who works with it now; a file in which nobody has worked is without it
        if application == APPLICATION and version > VERSION:
            raise LogError(later_version(self.name, version))
        if application == APPLICATION:
            if version in TABLES and made == TABLES[version].sql:
                return TABLES[version](db, self.name)
            raise LogError(f"the log {self.name} is damaged: its tables are not as version {version} makes them")
        if application == 0 and version == 0 and made == Plain.sql:
            return Plain(db, self.name)
        raise LogError(f"the file {self.name} is not a log of this framework: {self._contents(db, found)}")

    def _contents(self, db: sqlite3.Connection, tables: Mapping[str, str]) -> str:
        if "hpo_studies" in tables:
            url = f"sqlite:///{self.path}?study=NAME"
            return f"it is a database of several studies; name one, as {url!r}"
        if tables:
            return f"it is a database that holds {list(tables)}"
        if db.execute("PRAGMA journal_mode").fetchone()[0] == b"wal":
            wal = f"{self.path.name}-wal"
            return f"it is a database without tables; if it was copied, what it held stands in the file {wal} beside its original"
        return "it is a database without tables"

    def _leave_wal(self, db: sqlite3.Connection) -> None:
        """Moves the content of a write-ahead log of version 1 into the file, unless another driver is working with it."""
        if db.execute("PRAGMA journal_mode").fetchone()[0] == b"wal":
            db.execute("PRAGMA busy_timeout=0")
            with suppress(sqlite3.OperationalError):  # then it stays as it is: as good for drivers, worse for copies
                db.execute("PRAGMA journal_mode=DELETE")
            db.execute(f"PRAGMA busy_timeout={STEP * 1000:.0f}")

    def _create(self, header: Mapping[str, Any]) -> None:
        """Makes a whole log under another name and then gives it its own, unless another driver came first: nobody ever
        meets half a log, and a file that is there is never begun anew."""
        encode_json(header)  # raises before there is a file
        if self._has_file("-wal"):
            wal = f"{self.path.name}-wal"
            raise LogError(f"the log {self.name} is gone, but events of it may stand in {wal}; move that file away")
        made = self.path.with_name(f".{self.path.name}.{token_hex(4)}.new")
        try:
            with closing(self._connect(made, "mode=rwc")) as db:
                tables = Digests(db, self.name)
                with tables.transaction():
                    for sql in Digests.sql.values():
                        db.execute(sql)
                    db.execute(f"PRAGMA application_id={APPLICATION}")
                    db.execute(f"PRAGMA user_version={VERSION}")
                    tables.write(header)
            _name(made, self.path)
        except (sqlite3.Error, OSError):
            if not self.path.exists():  # else another driver was first, and has cleared this one's half away
                raise
        finally:
            halves = f".{glob.escape(self.path.name)}.*.new*" if self.path.exists() else f"{glob.escape(made.name)}*"
            for half in self.path.parent.glob(halves):  # with the log there, also those of drivers that were killed or second
                half.unlink(missing_ok=True)
        self._identify()

    def _prove(self) -> tuple[Mapping[str, Any] | None, list[str]]:
        """The header and the warnings to give, after the file as a whole was checked."""
        assert self._db is not None
        with self._moment(self._db):
            found = self.tables.header()
            said = _text(self._db.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if said != "ok":
                self.tables.read(0)  # names the first event that is wrong, if one is
                raise LogError(f"the log {self.name} is damaged: {' '.join(said.split())}")
            return found, self.tables.notes()

    @contextmanager
    def _moment(self, db: sqlite3.Connection) -> Iterator[None]:
        """What is read within belongs together, whatever others write meanwhile."""
        if db.in_transaction:  # of a turn
            yield
            return
        db.execute("BEGIN")
        try:
            yield
        finally:
            if db.in_transaction:
                db.execute("COMMIT")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Turns SQLite's exceptions into a sentence with the path. Closes a connection whose file was not identified."""
        try:
            yield
        except (sqlite3.DatabaseError, LogError, UnicodeError) as error:  # of its own sentences about names that are no text
            if self._tables is None and self._db is not None:
                self._db.close()
                self._db = None
            if isinstance(error, LogError) or (isinstance(error, sqlite3.ProgrammingError) and not self._closed):
                raise
            raise self._sentence(error) from None

    def _sentence(self, error: sqlite3.DatabaseError | UnicodeError) -> Exception:
        name, kept = self.name, "everything that was told before stands"
        if self._closed:
            return ValueError(f"the log {name} is closed")
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in HELD:
            return TimeoutError(f"the log {name} was held by others for {PATIENCE:g} seconds: {error}")
        if code == sqlite3.SQLITE_FULL:
            return OSError(f"the log {name} cannot grow, the disk is full; {kept}")
        if code in REFUSED:
            return PermissionError(f"the log {name} or its folder may not be written, or was moved or removed ({error}); {kept}")
        if code == sqlite3.SQLITE_IOERR:
            return OSError(f"the log {name} could not be read or written, perhaps the disk is full ({error}); {kept}")
        if code == sqlite3.SQLITE_NOTADB:
            return LogError(f"the file {name} is not a log of this framework: {error}")
        return LogError(f"the log {name} is damaged: {error}")
