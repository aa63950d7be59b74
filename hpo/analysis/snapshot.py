"""A study at one moment, as values that no longer change, for a live display and for the head of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.analysis.progress import RungSummary, count_rungs, objective_value, total_work
from hpo.history import History
from hpo.job import Key
from hpo.optimizers.finals import FINALS, default_trial, finalists, furthest
from hpo.stopping import is_ready, search_end, search_seconds
from hpo.trial import best_key


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


def snapshot(history: History, workers: int = 1) -> Snapshot:
    """The history as it is now. `workers` jobs train at once; the other jobs in flight wait."""
    over, usual, best = search_end(history), default_trial(history), best_key(history)
    default = None if usual is None else furthest(history, usual)
    in_finals = over is not None and over["phase"] == FINALS
    return Snapshot(
        rungs=tuple(count_rungs(history, workers)),
        spent=search_seconds(history),
        ready=is_ready(history),
        finals=len(set(finalists(history, over["keep"])) - {usual}) if over is not None and in_finals else None,
        has_default=usual is not None or history.queue_head is not None,
        started=len(history.trials),
        finished=len(history.results),
        failed=sum(map(history.is_failure, history.results)),
        whole=len(history.at(history.header.horizon)),
        work=total_work(history),
        best=None if best is None else (best, objective_value(history, best), dict(history.jobs[best].config)),
        default=None if default is None else (default, objective_value(history, default)),
    )
