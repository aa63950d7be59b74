"""What an error of a database means: whether to try again, and what to say. One row a dialect in `READERS`.

Codes are the databases' own: SQLSTATE of PostgreSQL, numbers of MySQL and MariaDB, result codes of SQLite.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

LOST = "lost"  # the connection broke, or none came about: what became of a commit is unknown
BUSY = "busy"  # rolled back because of others: a deadlock, a lock that was waited for in vain
REFUSED = "refused"  # the user, the password, the database's name or a right
FULL = "full"
LARGE = "large"  # more than a message to the server may have
UNIQUE = "unique"
OTHER = "other"

STATES = {  # of PostgreSQL, by their beginnings
    "08": LOST, "57P": LOST, "53300": LOST, "25P03": LOST, "40": BUSY, "55P03": BUSY, "28": REFUSED, "3D": REFUSED,
    "42501": REFUSED, "25006": REFUSED, "53100": FULL, "53200": FULL, "54": LARGE, "23505": UNIQUE,
}  # fmt: skip
# Where no connection came about there is no SQLSTATE, only the server's sentence; without "FATAL" there was no server.
FATAL = re.compile(r"FATAL: .*(password|role|database \"|pg_hba|authentication|permission|SSL|encryption)", re.DOTALL)
NUMBERS = {  # of MySQL and MariaDB; from 2000 on, of the driver
    **dict.fromkeys((1040, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1927, 4031), LOST),
    **dict.fromkeys((0, 2002, 2003, 2006, 2013, 2055), LOST),
    **dict.fromkeys((1020, 1205, 1213, 3572), BUSY),
    **dict.fromkeys((1044, 1045, 1049, 1142, 1143, 1227, 1290, 1410, 1698, 1792, 1836), REFUSED),
    **dict.fromkeys((1021, 1041, 1114), FULL), 1153: LARGE, 1301: LARGE, 1062: UNIQUE,
}  # fmt: skip
RESULTS = {
    sqlite3.SQLITE_BUSY: BUSY, sqlite3.SQLITE_LOCKED: BUSY, sqlite3.SQLITE_READONLY: REFUSED, sqlite3.SQLITE_PERM: REFUSED,
    sqlite3.SQLITE_CANTOPEN: REFUSED, sqlite3.SQLITE_FULL: FULL, sqlite3.SQLITE_IOERR: FULL, sqlite3.SQLITE_TOOBIG: LARGE,
}  # fmt: skip


def _postgresql(error: Any) -> str:
    state = getattr(error, "sqlstate", None)
    if state is None:
        refused = FATAL.search(str(error))
        return REFUSED if refused else LOST if type(error).__name__ == "OperationalError" else OTHER
    return next((kind for start, kind in STATES.items() if state.startswith(start)), OTHER)


def _mysql(error: Any) -> str:
    return NUMBERS.get(error.args[0], OTHER) if error.args else OTHER


def _sqlite(error: Any) -> str:
    code = getattr(error, "sqlite_errorcode", 0)
    if code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
        return UNIQUE
    return RESULTS.get(code & 0xFF, OTHER)


READERS: dict[str, Callable[[Any], str]] = {"postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql, "sqlite": _sqlite}


def sentence(error: BaseException, password: str | None) -> str:
    """An error of a driver in one line, without the password."""
    parts = [str(part) for part in error.args if not isinstance(part, int)] or [type(error).__name__]
    said = " ".join(" ".join(parts).split())
    return said.replace(password, "***") if password else said
