"""Logs: append-only storage for a study's events. `LOGS` maps the scheme of a URL to a class; each passes the log laws by being
listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo.logs.base import Collision, Event, Log, LogError
from hpo.logs.memory import MemoryLog
from hpo.logs.sql import SQLLog, delete_study, list_studies
from hpo.logs.sqlite import SQLiteLog
from hpo.logs.urls import find_scheme, hide_password, read_query
from hpo.values import format_value

LOGS: dict[str, type[Log]] = {"memory": MemoryLog, "sqlite": SQLiteLog, "postgresql": SQLLog, "mysql": SQLLog, "mariadb": SQLLog}
METHODS = ("header", "open", "append", "read", "close")
FIELDS = ("place", "path", "refusal")


def open_log(log: Any, readonly: bool = False) -> Log:
    """A log by the path of its SQLite file, by a URL whose scheme stands in LOGS, or the log itself.

    A scheme may name the driver too: mysql+pymysql://. An SQLite file holds one study, unless the URL names one among several:
    sqlite:///all.db?study=a.

    ValueError for an unknown scheme, TypeError for what is no log. The log itself reports errors of the file or server.
    """
    if isinstance(log, str) and "://" in log:
        scheme = find_scheme(log)
        if scheme not in LOGS:
            allowed = [f"{name}://" for name in LOGS]
            raise ValueError(f"the log {hide_password(log)!r:.120} has an unknown scheme; allowed are {allowed}")
        several = scheme == "sqlite" and "study" in read_query(log)
        return (SQLLog if several else LOGS[scheme]).from_url(log, readonly)
    if isinstance(log, str | Path):
        return SQLiteLog(log, readonly)
    if isinstance(log, type) or not all(callable(getattr(log, name, None)) for name in METHODS):
        raise TypeError(
            f"log is {format_value(log)}; allowed are a path such as 'study.db', a log such as SQLiteLog('study.db'), a URL such "
            f"as 'sqlite:///study.db' and None"
        )
    lacks = [name for name in FIELDS if not hasattr(log, name)]
    if lacks:
        raise TypeError(f"the log {format_value(log)} has no {lacks[0]}; derive its class from hpo.logs.Log, which declares it")
    found: Log = log
    return found


__all__ = [
    "LOGS", "Collision", "Event", "Log", "LogError", "MemoryLog", "SQLLog", "SQLiteLog", "delete_study", "list_studies",
    "open_log",
]  # fmt: skip
