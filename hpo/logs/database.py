"""A database as logs use it: connections of this process, transactions, and what is tried again.

Every statement outside of a transaction reads what is committed at that moment; a transaction is READ COMMITTED. A connection
that broke, a deadlock and a lock that nobody gave up are tried again for PATIENCE seconds. Work that writes is told so: what
became of its commit is then unknown, and it looks first.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from hpo.logs.base import Collision, LogError
from hpo.logs.faults import BUSY, FULL, LARGE, LOST, READERS, REFUSED, UNIQUE, sentence
from hpo.logs.turns import Reservation, Reservations

T = TypeVar("T")
Work = Callable[[sa.Connection, bool], T]  # with a connection, and whether an earlier attempt may have been committed
PATIENCE = 60.0  # seconds, for a database that was there before, or that others hold
FIRST = 5.0  # seconds, for one that was never there: it is more likely that its URL is wrong
STEP = 0.05  # seconds, for others who hold a file: in equal steps, so that nobody waits for ever (sqlite.py)
STOPPED = 10  # seconds that a driver may be stopped within a transaction before the others go on without it
ROOM = 4096  # bytes of a statement around its text
BEGIN = {"postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED", "sqlite": "BEGIN IMMEDIATE"}
USUAL: dict[str, dict[str, Any]] = {  # arguments of connections that neither the URL nor the caller gives
    "psycopg": {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
    "pymysql": {"connect_timeout": 10, "read_timeout": 120, "charset": "utf8mb4"},
    "pysqlite": {"timeout": STEP, "check_same_thread": False},
}
SETTINGS = {  # of every connection, where the server knows them
    "postgresql": [f"SET idle_in_transaction_session_timeout = '{STOPPED}s'", "SET lock_timeout = '30s'"],
    "mysql": ["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", f"SET SESSION idle_transaction_timeout = {STOPPED}"],
    # every append is one write to the disk, and readers never wait for it; the file -wal is gone when the last driver closes
    "sqlite": ["PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"],
}
READING = {**SETTINGS, "sqlite": ["PRAGMA query_only=1"]}  # of a connection that only reads
FAILURES = (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError)


class Local(threading.local):
    """What a thread keeps from one call to the next."""

    kept: sa.Connection | None = None  # in the transaction of its turn
    turn: Reservation | None = None


class Database:
    """Connections to one database. Threads may share it; a forked child gets connections of its own."""

    def __init__(
        self, url: str, name: str, pool: Mapping[str, int], connect_args: Mapping[str, Any] | None = None, readonly: bool = False
    ) -> None:
        """url: for SQLAlchemy. name: of the log, in sentences. pool: its pool_size and max_overflow."""
        self.name, self._readonly = name, readonly
        try:
            self.url = sa.make_url(url)
            self.dialect = self.url.get_dialect().name
            self.url.get_dialect().import_dbapi()
        except ImportError as error:
            raise ModuleNotFoundError(f"the log {name} needs a driver: {error}") from None
        except (sa.exc.ArgumentError, ValueError):
            raise ValueError(f"the log {name} is no URL of a database") from None
        query = {key.lower() for key in self.url.query}
        usual = {key: value for key, value in USUAL.get(self.url.get_driver_name(), {}).items() if key not in query}
        self._arguments = {"connect_args": {**usual, **(connect_args or {})}, **pool}
        self._reader = READERS.get(self.dialect, lambda error: "other")
        self._met = False  # whether it ever answered
        self._packet = sys.maxsize  # bytes that a message to the server may have
        self.is_closed = False
        self._turns, self._local = Reservations(), Local()
        self._process, self._engine = os.getpid(), self._connect()

    @property
    def engine(self) -> sa.Engine:
        """The connections of this process. A child leaves its parent's alone: it would speak on the same line."""
        if self._process != os.getpid():
            self._engine.dispose(close=False)
            self._local = Local()
            self._process, self._engine = os.getpid(), self._connect()
        return self._engine

    def _connect(self) -> sa.Engine:
        engine = sa.create_engine(
            self.url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, pool_reset_on_return=None,
            pool_timeout=PATIENCE, pool_use_lifo=True, poolclass=sa.QueuePool, **self._arguments,
        )  # fmt: skip
        sa.event.listen(engine, "connect", self._prepare)
        return engine

    def _prepare(self, connection: Any, record: object) -> None:
        cursor = connection.cursor()
        for setting in SETTINGS.get(self.dialect, ()) if not self._readonly else READING.get(self.dialect, ()):
            try:
                cursor.execute(setting)
            except Exception as error:
                if self._reader(error) == LOST:
                    raise
        if self.dialect == "mysql":
            cursor.execute("SELECT @@max_allowed_packet")
            self._packet = int(cursor.fetchone()[0])
        cursor.close()

    def check_size(self, text: str) -> None:
        """ValueError for a text that MySQL would not take in one message: it would only hang up."""
        if len(text) + ROOM > self._packet // 2 and len(text) + sum(map(text.count, "\"'\\")) + ROOM > self._packet:
            raise ValueError(
                f"an event of {len(text):,} bytes is more than the log {self.name} can take at once; its server's "
                f"max_allowed_packet is {self._packet:,}"
            )

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(self.url.database) if self.dialect == "sqlite" and self.url.database else None

    def close(self) -> None:
        self.is_closed = True
        turn, db = self._local.turn, self._local.kept
        if turn is not None and db is not None and self._process == os.getpid():
            with turn.lock:
                if not turn.is_over:
                    turn.end()
                    self._roll_back(db)
                    db.close()
        self._engine.dispose(close=self._process == os.getpid())

    # -- work --------------------------------------------------------------------------------------------------------

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What a reader returns, tried until the database answers."""
        return self._try(lambda db, again: work(db))

    def write(self, work: Work[T], may_keep: bool = False) -> T:
        """What a writer returns, in one transaction, durable at the return. Where that is a Collision, nothing was written, and
        the transaction may stay open as this thread's turn, for its next reads and write (turns.py)."""

        def transact(db: sa.Connection, again: bool) -> T:
            kept = self._local.kept is db
            if not kept:
                db.exec_driver_sql(BEGIN.get(self.dialect, "START TRANSACTION"))
            try:
                found = work(db, again)
                if not isinstance(found, Collision):
                    db.exec_driver_sql("COMMIT")
            except BaseException:
                self._roll_back(db)
                raise
            if isinstance(found, Collision) and not (may_keep and not kept and self._keep(db)):
                self._roll_back(db)
            if kept:
                self._local.kept = None
            return found

        return self._try(transact)

    def _keep(self, db: sa.Connection) -> bool:
        def leave() -> None:
            self._roll_back(db)
            db.close()

        turn = self._turns.begin(leave, threading.Lock())
        if turn is not None:
            self._local.kept, self._local.turn = db, turn
        return turn is not None

    def _roll_back(self, db: sa.Connection) -> None:
        try:
            db.exec_driver_sql("ROLLBACK")
        except Exception:  # it broke, or was left in the middle of a statement: it is used no more
            with suppress(Exception):
                db.invalidate()

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        """That of this thread's turn, or one of the pool."""
        engine, turn = self.engine, self._local.turn
        with turn.lock if turn is not None else nullcontext():
            if turn is None or turn.is_over:
                self._local.kept = self._local.turn = turn = None
            db = self._local.kept or engine.connect()
            self._met = True
            try:
                yield db
            except BaseException:
                self._local.kept = None
                self._roll_back(db)
                raise
            finally:
                if self._local.kept is not db:
                    db.close()
                    self._local.turn = None
                    if turn is not None:
                        turn.end()

    def _try(self, work: Work[T]) -> T:
        begun, tries = time.monotonic(), 0
        while True:
            if self.is_closed:
                raise ValueError(f"the log {self.name} is closed")
            try:
                with self._connection() as db:
                    return work(db, tries > 0)
            except FAILURES as error:
                fault, patience = self._fault(error), PATIENCE if self._met else FIRST
                if fault not in (LOST, BUSY) or time.monotonic() - begun > patience:
                    raise self._explain(error, fault, patience) from None
            time.sleep(random.random() * (STEP if self.dialect == "sqlite" else min(2.0, 0.005 * 2 ** min(tries, 10))))
            tries += 1

    def _fault(self, error: Exception) -> str:
        if isinstance(error, sa.exc.DBAPIError):
            return LOST if error.connection_invalidated else self._reader(error.orig)
        return BUSY if isinstance(error, sa.exc.TimeoutError) else LOST

    def _explain(self, error: Exception, fault: str, patience: float) -> Exception:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
        said, kept = sentence(cause, self.url.password), "everything that was told before stands"
        if fault == UNIQUE:
            return error
        if fault == LOST:
            return ConnectionError(f"the log {self.name} has not answered for {patience:g} seconds ({said}); {kept}")
        if fault == BUSY:
            return TimeoutError(f"the log {self.name} was held by others for {patience:g} seconds ({said}); {kept}")
        if fault == REFUSED:
            return PermissionError(f"the log {self.name} may not be used so ({said}); {kept}")
        if fault == FULL:
            return OSError(f"the log {self.name} cannot grow, the disk may be full ({said}); {kept}")
        if fault == LARGE:
            return ValueError(f"this is more than the log {self.name} can take at once ({said}); {kept}")
        if isinstance(error, sa.exc.DataError):
            return ValueError(f"the log {self.name} cannot take this ({said}); {kept}")
        return LogError(f"the log {self.name} cannot be used: its tables are not as they were made, or damaged ({said})")
