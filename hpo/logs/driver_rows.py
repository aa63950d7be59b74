"""The rows of drivers in a database. The server's clock tells how old a beat is, since drivers' may be set differently."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hpo.logs.base import Driver
from hpo.logs.schema import DRIVERS

# Seconds by the server's clock. A file has none: several machines may work with it.
CLOCKS = {"postgresql": "extract(epoch FROM clock_timestamp())", "mysql": "unix_timestamp(now(6))"}


def insert_driver(db: sa.Connection, study: int, driver: Driver) -> None:
    """Writes or replaces a driver's row, within a transaction."""
    remove_driver(db, study, driver.number)
    row: dict[str, Any] = {
        "study": study, "number": driver.number, "process": driver.process, "beats": driver.beats, "seen": driver.seen,
        "lease": driver.lease, "beat": _clock(db),
    }  # fmt: skip
    db.execute(sa.insert(DRIVERS).values(row))


def select_drivers(db: sa.Connection, study: int) -> list[tuple[Driver, float | None]]:
    """Every driver's row with the seconds since its beat; None where there is no server."""
    found = DRIVERS.c
    age = _clock(db) - found.beat if db.dialect.name in CLOCKS else sa.null()
    rows = sa.select(found.number, found.process, found.beats, found.seen, found.lease, age).where(found.study == study)
    return [(Driver(*row[:5]), None if row[5] is None else float(row[5])) for row in db.execute(rows.order_by(found.number))]


def remove_driver(db: sa.Connection, study: int, number: int, beats: int | None = None) -> None:
    """Deletes a driver's row, where there is one, and if it has so many beats."""
    same = [] if beats is None else [DRIVERS.c.beats == beats]
    db.execute(sa.delete(DRIVERS).where(DRIVERS.c.study == study, DRIVERS.c.number == number, *same))


def _clock(db: sa.Connection) -> sa.ColumnElement[float]:
    return sa.literal_column(CLOCKS.get(db.dialect.name, "0.0"), sa.Double())
