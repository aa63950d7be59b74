"""The table of a study: one row for each finished key.

Columns, in this order: `trial` and `until`; the objectives; the configuration as `config.<name>`; the other metrics;
`error`, `source` and `seed`; what the framework measured as `system.<name>`; the times `started` and `finished`.

A metric's column has the metric's name. If the table has a column of this name already (`error`, `config.x`), the metric's
column is `metrics.<name>`: so no metric overwrites a column of the table, and none is lost.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.history import History
from hpo.job import Job, Key

OWN = ("trial", "until", "error", "source", "seed", "started", "finished")
PREFIXES = ("config.", "system.", "metrics.")


def column(metric: str) -> str:
    """The column of a metric: its name, or `metrics.<name>` if the table has a column of this name already."""
    return f"metrics.{metric}" if metric in OWN or metric.startswith(PREFIXES) else metric


def columns(history: History) -> list[str]:
    """Every column of the table, in order; a table without rows has them, too."""
    objectives, done = list(history.header.objectives), history.finished_keys
    configs = _names([history.header.space["parameters"], *(history.jobs[key].config for key in done)])
    metrics = [name for name in _names(history.results[key].metrics for key in done) if name not in objectives]
    system = _names(history.results[key].system for key in done)
    return [
        "trial", "until", *map(column, objectives), *(f"config.{name}" for name in configs), *map(column, metrics),
        "error", "source", "seed", *(f"system.{name}" for name in system), "started", "finished",
    ]  # fmt: skip


def rows(history: History) -> list[dict[str, Any]]:
    """The table as dictionaries, each with the values that its key has, in the order of the columns."""
    begun, ended = _times(history)
    order = columns(history)
    found = []
    for key in history.finished_keys:
        cells = row_cells(history, key)
        cells |= {"started": _clock(begun.get(key)), "finished": _clock(ended.get(key))}
        found.append({name: cells[name] for name in order if name in cells})
    return found


def row_cells(history: History, key: Key) -> dict[str, Any]:
    """The row of a finished key without its times, by column."""
    job, result = history.jobs[key], history.results[key]
    own = {"trial": key[0], "until": key[1], "error": result.error, "source": job.source, "seed": job.seed}
    return {
        **{column(name): value for name, value in result.metrics.items()},
        **{f"config.{name}": value for name, value in job.config.items()},
        **{f"system.{name}": value for name, value in result.system.items()},
        **own,
    }


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every name, in the order of first occurrence."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _times(history: History) -> tuple[dict[Key, float], dict[Key, float]]:
    """When every key was started and finished, in seconds since the epoch."""
    begun: dict[Key, float] = {}
    ended: dict[Key, float] = {}
    for event in history.events:
        if event.kind in ("start", "add"):
            begun[Job.from_json(event.body["job"]).key] = event.time
        if event.kind == "finish":
            ended[event.body["trial"], event.body["until"]] = event.time
        elif event.kind == "add":
            ended[Job.from_json(event.body["job"]).key] = event.time
    return begun, ended


def _clock(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
