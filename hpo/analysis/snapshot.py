"""A study at one moment, as values that no longer change: what a live display shows, what the head of a report says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.analysis.progress import RungSummary, count_rungs, objective_value
from hpo.analysis.tally import Tally
from hpo.analysis.workers import DriverState
from hpo.history import History
from hpo.job import Key
from hpo.optimizers.finals import FINALS, default_trial, finalists, furthest
from hpo.stopping import explain_stop, is_over, is_ready, search_end, search_seconds
from hpo.trial import best_front, best_key, describe_best


@dataclass(frozen=True)
class Outcome:
    """A result as a display shows it. values: of every objective that was reported, by name."""

    key: Key
    values: Mapping[str, float]
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment. Values are those of the first objective, as they were reported."""

    rungs: tuple[RungSummary, ...] = ()
    spent: float = 0.0  # seconds of search and finals so far
    ready: bool = False  # whether a worker of this run has been ready
    finals: int | None = None  # once the finals have begun: trials beside the default that are trained to the end
    has_default: bool = False
    started: int = 0  # trials
    finished: int = 0  # keys
    failed: int = 0
    whole: int = 0  # keys at the horizon
    work: float = 0.0  # budget trained in all, in the study's unit
    best: tuple[Key, float, Mapping[str, Any]] | None = None
    default: tuple[Key, float] | None = None
    unit: str = "evaluations"
    horizon: int = 1
    objectives: tuple[str, ...] = ("loss",)
    events: int = 0
    front: int = 0  # trials on the front, of several objectives
    summary: str = ""  # the best so far, or the front, in a few words
    trials: int | None = None  # that may be started, by the drivers' own limits; None for no limit
    seconds: float | None = None  # that they may spend, likewise
    first: int = 0  # trials that count for that limit and have a result
    pace: float = 0.0  # of these a second, by the last few; 0 where it is not known yet
    idle: float = 0.0  # seconds since the last event, by this machine's clock
    lost: int = 0  # jobs that the next ask gives out again
    limited: bool = False  # whether no more trials may start
    over: bool = False  # whether no more jobs may be asked for
    stopped: str = ""  # why, in a few words
    latest: tuple[Outcome, ...] = ()  # the last few results, the newest first
    drivers: tuple[DriverState, ...] | None = None  # None where nobody asked

    def total(self, state: str) -> int:
        """How many jobs or trials of all rungs are "running", "waiting" or "paused"."""
        return sum(getattr(rung, state) for rung in self.rungs)

    @property
    def is_alive(self) -> bool:
        """Whether a driver lives; so it is assumed where nobody asked."""
        return self.drivers is None or any(driver.is_alive for driver in self.drivers)

    def seconds_left(self, since: float = 0.0) -> float | None:
        """Seconds until the trials or the seconds are used up, whichever is first, `since` seconds after this moment; None where
        there is no limit, no pace yet, or nothing but jobs in flight to wait for. At least that: what has started may go on."""
        found = [] if self.seconds is None else [self.seconds - self.spent]
        if self.trials is not None and self.pace and self.first < self.trials:
            found.append((self.trials - self.first) / self.pace)
        return max(0.0, min(found) - since) if found and not self.over else None


def snapshot(history: History, workers: int | None = None, drivers: Sequence[DriverState] | None = None) -> Snapshot:
    """The history as it is now.

    workers   so many jobs train at once, and the other jobs in flight wait; None: all of them train
    drivers   what is known of them
    """
    over, usual, best = search_end(history), default_trial(history), best_key(history)
    default = None if usual is None else furthest(history, usual)
    in_finals = over is not None and over["phase"] == FINALS
    tally, names = Tally.of(history), tuple(history.header.objectives)
    runs = tuple(driver.number for driver in drivers or () if driver.is_alive and driver.number is not None)
    last = history.clock.last
    return Snapshot(
        rungs=tuple(count_rungs(history, len(history.pending) if workers is None else workers)),
        spent=search_seconds(history),
        ready=is_ready(history),
        finals=len(set(finalists(history, over["keep"])) - {usual}) if over is not None and in_finals else None,
        has_default=usual is not None or history.queue_head is not None,
        started=len(history.trials),
        finished=len(history.results),
        failed=sum(tally.failed.values()),
        whole=len(history.at(history.header.horizon)),
        work=tally.work,
        best=None if best is None else (best, objective_value(history, best), dict(history.jobs[best].config)),
        default=None if default is None else (default, objective_value(history, default)),
        unit=history.header.unit,
        horizon=history.header.horizon,
        objectives=names,
        events=len(history),
        front=len(best_front(history)) if len(names) > 1 else 0,
        summary=describe_best(history),
        trials=tally.limit("trials", runs),
        seconds=tally.limit("seconds", runs),
        first=tally.first,
        pace=tally.pace,
        idle=0.0 if last is None else max(0.0, time.time() - last),
        lost=len(history.retries),
        limited=history.limited,
        over=is_over(history),
        stopped=explain_stop(history),
        latest=tuple(_outcome(history, key) for key in tally.latest),
        drivers=None if drivers is None else tuple(drivers),
    )


def _outcome(history: History, key: Key) -> Outcome:
    result = history.results[key]
    values = {name: result.metrics[name] for name in history.header.objectives if name in result.metrics}
    return Outcome(key, values, result.system.get("seconds", 0.0), result.error)
