"""Where logs stand in tests: a folder, or a database of its own on the servers of this machine.

HPO_TEST_POSTGRES and HPO_TEST_MYSQL name the servers (default: this machine's, without passwords). One that is named and does
not answer fails the tests; where the default does not answer they are skipped, by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from hpo.logs import LOGS, Log, SQLLog, open_log

pytest.importorskip("sqlalchemy")
import sqlalchemy as sa

SEVERAL = "sqlite?study"  # not a row of its own: a file of several studies
NAMES = (*LOGS, SEVERAL)
SERVERS = {"postgresql": ("HPO_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
           "mysql": ("HPO_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306/test")}  # fmt: skip
SHARED = tuple(name for name in NAMES if name == SEVERAL or LOGS[name].shared)
IN_TABLES = tuple(name for name in NAMES if name == SEVERAL or LOGS[name] is SQLLog)  # of the tables of schema.py


def _kind(name: str) -> str:
    return "mysql" if name == "mariadb" else name


@cache
def server(kind: str) -> tuple[sa.Engine | None, str]:
    """The server of a kind and, where it does not answer, why."""
    variable, usual = SERVERS[kind]
    given = sa.make_url(os.environ.get(variable, usual))
    drivers = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
    engine = sa.create_engine(given.set(drivername=drivers.get(given.drivername, given.drivername)),
                              isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)  # fmt: skip
    try:
        engine.connect().close()
    except Exception as error:
        if variable in os.environ:
            raise
        return None, f"no {kind} server at {engine.url.render_as_string(hide_password=True)} ({type(error).__name__})"
    return engine, ""


def execute(kind: str, statement: str) -> None:
    engine, absence = server(kind)
    if engine is None:
        pytest.skip(absence)
    with engine.connect() as db:
        db.exec_driver_sql(statement)


def _home(folder: Path) -> str:
    return f"hpo_{blake2b(str(folder).encode(), digest_size=6).hexdigest()}_{os.getpid()}"


def url(name: str, folder: Path, study: str = "study") -> str:
    """Where the log of a row, or SEVERAL, stands in a test: for one folder always the same."""
    kind, home = _kind(name), _home(folder)
    if name == SEVERAL:
        return f"sqlite:///{folder / 'all.db'}?study={study}"
    if kind not in SERVERS:
        return f"{name}:///{folder / 'log'}" if LOGS[name].shared else f"{name}://"
    execute(kind, f"CREATE {'SCHEMA' if kind == 'postgresql' else 'DATABASE'} IF NOT EXISTS {home}")
    engine, _ = server(kind)
    assert engine is not None
    query = {"study": study} | ({"options": f"-csearch_path={home}"} if kind == "postgresql" else {})
    database = engine.url.database if kind == "postgresql" else home
    made = engine.url.set(drivername=name, database=database).update_query_dict(query)
    return made.render_as_string(hide_password=False)


def drop(name: str, folder: Path) -> None:
    kind = _kind(name)
    if kind == "postgresql" and server(kind)[0] is not None:
        execute(kind, f"DROP SCHEMA IF EXISTS {_home(folder)} CASCADE")
    elif kind == "mysql" and server(kind)[0] is not None:
        execute(kind, f"DROP DATABASE IF EXISTS {_home(folder)}")


def at(name: str, folder: Path) -> Log:
    return open_log(url(name, folder))


@contextmanager
def home(name: str, folder: Path) -> Iterator[None]:
    """Drops what stands there at the end."""
    try:
        yield
    finally:
        drop(name, folder)


def statements(name: str, folder: Path, *lines: str) -> list[Any]:
    """Executes lines of SQL in the tables of a log of schema.py; the rows of the last one, if it has any."""
    log: Any = at(name, folder)
    engine = log._database.engine
    with engine.connect() as db:
        for line in lines:
            found = db.exec_driver_sql(line)
        rows = [tuple(row) for row in found] if found.returns_rows else []
    log.close()
    return rows
