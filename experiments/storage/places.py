"""Where a study of this experiment stands: in a file, or in a schema or database of its own that is dropped afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

SERVERS = {
    "postgresql": os.environ.get("HPO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test"),
    "mariadb": os.environ.get("HPO_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test"),
}
DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}
DATABASES = ("postgresql", "mariadb", "sqlite", "sqlite of one study")
HOME = f"hpo_storage_{os.getpid()}"


@contextmanager
def place(database: str) -> Iterator[tuple[str, str]]:
    """The URL of a new study in a database, and one for Optuna, on the same server and disk. Dropped at the end. OSError where
    the server does not answer."""
    if database.startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            study = "" if database.endswith("study") else "?study=storage"
            yield f"sqlite:///{folder}/study.db{study}", f"sqlite:///{folder}/optuna.db"
        return
    url = sa.make_url(SERVERS[database]).set(drivername=DRIVERS[database])
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    schema = database == "postgresql"
    try:
        _execute(engine, f"CREATE {'SCHEMA' if schema else 'DATABASE'} {HOME}")
    except sa.exc.OperationalError as error:
        raise ConnectionError(f"{database} does not answer at {url.render_as_string()}: {type(error.orig).__name__}") from None
    try:
        home = url.update_query_dict({"options": f"-csearch_path={HOME}"}) if schema else url.set(database=HOME)
        ours = home.update_query_dict({"study": "storage"})
        yield ours.render_as_string(hide_password=False), home.render_as_string(hide_password=False)
    finally:
        _execute(engine, f"DROP SCHEMA {HOME} CASCADE" if schema else f"DROP DATABASE {HOME}")


def _execute(engine: sa.Engine, statement: str) -> None:
    with engine.connect() as db:
        db.exec_driver_sql(statement)


def name_server(database: str) -> str:
    """The version that a server, or SQLite, gives itself."""
    if database.startswith("sqlite"):
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"
    engine = sa.create_engine(sa.make_url(SERVERS[database]).set(drivername=DRIVERS[database]), poolclass=sa.NullPool)
    with engine.connect() as db:
        version = str(db.exec_driver_sql("SELECT version()").scalar())
    return version.split(" on ")[0].split(" (")[0] if database == "postgresql" else f"MariaDB {version}"
