"""Numbers about a study's history: rungs, work done, when every key finished, the best so far."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from hpo.analysis.tally import Tally, position_of
from hpo.bounds import feasible
from hpo.history import History
from hpo.job import Job, Key


@dataclass(frozen=True)
class RungSummary:
    """One budget: how many trials have finished or failed there, how many of them have paused (or stopped) there, how many are
    running or wait for a worker, the lowest loss of those that keep the optimizer's bounds."""

    until: int
    finished: int
    failed: int
    running: int
    waiting: int
    best: float | None  # value of the first objective, as it was reported
    paused: int = 0  # succeeded below the horizon, and have not gone on yet


def count_rungs(history: History, workers: int) -> list[RungSummary]:
    """Every budget at which something was started, lowest first. Of the jobs in flight, the first `workers` in order of starting
    are running; the rest wait."""
    flying = list(history.pending)
    running = Counter(until for _, until in flying[:workers])
    waiting = Counter(until for _, until in flying[workers:])
    budgets = sorted({*history.budgets, *running, *waiting})
    return [_rung(history, until, running[until], waiting[until]) for until in budgets]


def _rung(history: History, until: int, running: int, waiting: int) -> RungSummary:
    keys, best, tally = history.at(until), feasible(history).at(until)[:1], Tally.of(history)
    failed = tally.failed[until]
    paused = 0 if until == history.header.horizon else max(0, len(keys) - failed - tally.continued[until])
    lowest = objective_value(history, best[0]) if best else None
    return RungSummary(until, len(keys), failed, running, waiting, lowest, paused)


def objective_value(history: History, key: Key, place: int = 0) -> float:
    """The reported value of an objective of a success. place: the objective's position in the header."""
    return history.results[key].metrics[list(history.header.objectives)[place]]


def total_work(history: History) -> float:
    """The budget that was trained in all: for every finished key, what it added to its source. It is read from the metric that
    has the unit's name, if there is one; else a success has trained to its budget, and a failure counts as 0."""
    return sum(trained_units(history, key) for key in history.results)


def trained_units(history: History, key: Key) -> float:
    """The budget that a finished key added to its source."""
    return max(0.0, position_of(history, key) - position_of(history, history.jobs[key].source))


def finish_times(history: History) -> dict[Key, float]:
    """When every key finished, in seconds of search and in order. Pauses between two runs of a study and the start-up of workers
    do not count (hpo/stopping.py). All are 0 if no run has driven the study."""
    births = _start_times(history)
    run, earlier, worked, last = -1, 0.0, 0.0, None
    times: dict[Key, float] = {}
    for event in history.events:
        if event.kind == "run":
            earlier += max(0.0, worked - births[run]) if run >= 0 else 0.0
            run, worked = run + 1, 0.0
        elif last is not None:
            worked += max(0.0, event.time - last)
        if last is not None or event.kind == "run":  # results told before the first run take no time
            last = event.time
        now = earlier + (max(0.0, worked - births[run]) if run >= 0 else 0.0)
        if event.kind == "finish":
            times.setdefault((event.body["trial"], event.body["until"]), now)
        elif event.kind == "add":
            times.setdefault(Job.from_json(event.body["job"]).key, now)
    return times


def _start_times(history: History) -> list[float]:
    """For every run, the seconds until its first worker was ready; infinite if nothing has finished in it."""
    found: list[float] = []
    for event in history.events:
        if event.kind == "run":
            found.append(math.inf)
        elif event.kind == "finish" and found:
            born = event.body["result"].get("system", {}).get("birth_seconds", 0.0)
            if found[-1] == math.inf or 0.0 < born < found[-1]:
                found[-1] = born
    return found


def best_so_far(history: History, place: int = 0) -> list[Key]:
    """Every key that was the best for a while, in order: the lowest loss at the highest budget reached until then, of the
    successes that keep the optimizer's bounds.

    place: the position of the objective in the header
    """
    found: list[Key] = []
    kept = feasible(history)
    for key in finish_times(history):
        if key in kept and (not found or _better(history, key, found[-1], place)):
            found.append(key)
    return found


def _better(history: History, key: Key, best: Key, place: int) -> bool:
    return (-key[1], history.losses(key)[place], key) < (-best[1], history.losses(best)[place], best)


def rung_points(history: History, trial: int, place: int = 0) -> list[tuple[int, float]]:
    """A trial's learning curve from rung to rung: (budget, value as reported) of every success."""
    keys = [key for key in history.trials[trial] if key in history.results and not history.is_failure(key)]
    return sorted((key[1], objective_value(history, key, place)) for key in keys)
