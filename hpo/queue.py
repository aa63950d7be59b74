"""Configurations that wait for a trial: what was enqueued and not yet taken, and which failed trials are worth another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.history import History
from hpo.values import identity

Config = Mapping[str, Any]


def list_queued(history: History) -> list[Config]:
    """What was enqueued and has no trial yet, oldest first."""
    found = {place: event.body["config"] for place, event in enumerate(history.events) if event.kind == "enqueue"}
    firsts = (history.jobs[keys[0]] for keys in history.trials.values())
    taken = {job.note.study.get("queued") for job in firsts}
    return [config for place, config in found.items() if place not in taken]


def list_failures(history: History) -> list[int]:
    """Trials whose last result is a failure, and whose configuration neither waits in the queue nor has a later trial.

    Trials that began with another one's weights are left out: their configuration alone is not what has failed.
    """
    last = {identity(history.jobs[keys[0]].config): trial for trial, keys in sorted(history.trials.items())}
    waiting = {identity(config) for config in list_queued(history)}
    return [trial for name, trial in last.items() if name not in waiting and _has_failed(history, trial)]


def _has_failed(history: History, trial: int) -> bool:
    key = history.trials[trial][-1]
    return trial not in history.adopted and key in history.results and history.is_failure(key)


def enqueue_failures(history: History, trials: Sequence[int] | None = None) -> dict[int, Config]:
    """Enqueues the configurations of failed trials again, an event each, and returns them by trial. A log only grows: the
    failures stay, the next fresh trials take these configurations, and learners read both.

    trials   some of `list_failures` (default: all). ValueError for any other.
    """
    failures = list_failures(history)
    for trial in trials or ():
        if trial not in failures:
            raise ValueError(f"trial {trial} is none to be tried again; allowed are {failures}, which failed and were not since")
    chosen = failures if trials is None else trials
    found: dict[int, Config] = {trial: history.jobs[history.trials[trial][0]].config for trial in chosen}
    for config in found.values():
        history.enqueue(config)
    return found
