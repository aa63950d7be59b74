"""What a study's history says in numbers: rungs, tokens, time, the default configuration's place. Live and report read it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Job, Key
from hpo.stopping import is_over, search_end, spent
from hpo.study import Study


@dataclass(frozen=True)
class Rung:
    """One budget: how many trials have finished and failed there, how many are trained and wait for a worker, the lowest loss."""

    until: int
    finished: int
    failed: int
    running: int
    waiting: int
    best: float | None


def rungs(history: History, workers: int) -> list[Rung]:
    """Every budget at which something was started, lowest first. Of what is in flight, as much is trained as there are
    workers, in order of starting; the rest waits behind them."""
    flying = list(history.pending)
    running = Counter(until for _, until in flying[:workers])
    waiting = Counter(until for _, until in flying[workers:])
    budgets = sorted({*history.budgets, *running, *waiting})
    return [_rung(history, until, running[until], waiting[until]) for until in budgets]


def _rung(history: History, until: int, running: int, waiting: int) -> Rung:
    keys = history.at(until)
    losses = [history.losses(key)[0] for key in keys if not history.is_failure(key)]
    return Rung(until, len(keys), len(keys) - len(losses), running, waiting, min(losses, default=None))


def summary(study: Study, seconds: float) -> list[str]:
    """How much was done in how many seconds, and what became of the search's seconds, in a sentence each."""
    history = study.history
    took = spent(history)
    trained = len(history.at(study.header.horizon))
    said = [f"{len(history.trials)} trials, {trained} trained to the end, {tokens(history):,} tokens in {took:.0f} s"]
    end = search_end(history)
    if end is not None and is_over(history):
        said.append(
            f"{seconds:g} s are too few to train one configuration to the end here: that would take about {end['reserve']:.0f} s"
        )
    elif end is not None and took > 1.05 * seconds:
        said.append(f"the finals were finished beyond the {seconds:g} s: trainings took longer than before, or than was expected")
    return said


def tokens(history: History) -> int:
    """Tokens trained in all: of every finished key, those beyond its source."""
    return round(
        sum(max(0.0, _tokens(history, key) - _tokens(history, _source(history, key))) for key in history.results)
    )


def _source(history: History, key: Key) -> Key | None:
    return history.jobs[key].source


def _tokens(history: History, key: Key | None) -> float:
    return history.results[key].metrics.get("tokens", 0.0) if key is not None and key in history.results else 0.0


def clock(history: History) -> dict[Key, float]:
    """When every key finished, in seconds of search: neither pauses between two runs of a study nor the start-up of the
    workers count (hpo/stopping.py)."""
    births = _births(history)
    run, earlier, worked, last = -1, 0.0, 0.0, None
    times: dict[Key, float] = {}
    for event in history.events:
        if event.kind == "run":
            earlier += max(0.0, worked - births[run]) if run >= 0 else 0.0
            run, worked = run + 1, 0.0
        elif last is not None:
            worked += max(0.0, event.time - last)
        if last is not None or event.kind == "run":  # what is told before the first run costs no time
            last = event.time
        now = earlier + (max(0.0, worked - births[run]) if run >= 0 else 0.0)
        if event.kind == "finish":
            times[event.body["trial"], event.body["until"]] = now
        elif event.kind == "add":
            times[Job.from_json(event.body["job"]).key] = now
    return times


def _births(history: History) -> list[float]:
    """Of every run, the seconds until its first worker was ready; infinite where nothing has finished."""
    found: list[float] = []
    for event in history.events:
        if event.kind == "run":
            found.append(math.inf)
        elif event.kind == "finish" and found:
            born = event.body["result"].get("system", {}).get("birth_seconds", 0.0)
            if found[-1] == math.inf or 0.0 < born < found[-1]:
                found[-1] = born
    return found


def best_so_far(history: History) -> list[tuple[float, Key]]:
    """(seconds, key) whenever the study's answer changed: the lowest loss at the highest budget reached until then."""
    found: list[tuple[float, Key]] = []
    for key, seconds in sorted(clock(history).items(), key=lambda item: (item[1], item[0])):
        if not history.is_failure(key) and (not found or _better(history, key, found[-1][1])):
            found.append((seconds, key))
    return found


def _better(history: History, key: Key, best: Key) -> bool:
    return (-key[1], history.losses(key)[0], key) < (-best[1], history.losses(best)[0], best)


def last_success(history: History, trial: int | None) -> Key | None:
    """A trial's furthest finished key without failure."""
    keys = history.trials.get(trial, []) if trial is not None else []
    return next((key for key in reversed(keys) if key in history.results and not history.is_failure(key)), None)


def best_key(study: Study) -> Key | None:
    """The study's best; None while nothing has succeeded."""
    return study.best.key if study.successes() else None


def rung_points(history: History, trial: int) -> list[tuple[int, float]]:
    """A trial's learning curve from rung to rung: (budget, loss) of every success."""
    keys = [key for key in history.trials[trial] if key in history.results and not history.is_failure(key)]
    return sorted((key[1], history.losses(key)[0]) for key in keys)


def ahead(history: History, trial: int) -> int:
    """How many other trials stand lower on the way, at the last rung that they reached, than this one did there."""
    mine = dict(rung_points(history, trial))
    others = [rung_points(history, other)[-1:] for other in history.trials if other != trial]
    return sum(loss < mine[until] for points in others for until, loss in points if until in mine)
