"""Logs: append-only homes of a study's events. `LOGS` maps a name to a class; each passes the log laws by being listed."""

from __future__ import annotations

from hpo.logs.base import Collision, Event, Log, LogError
from hpo.logs.memory import MemoryLog
from hpo.logs.sqlite import SQLiteLog

LOGS: dict[str, type[MemoryLog] | type[SQLiteLog]] = {"memory": MemoryLog, "sqlite": SQLiteLog}

__all__ = ["LOGS", "Collision", "Event", "Log", "LogError", "MemoryLog", "SQLiteLog"]
