"""What a study's history says in numbers: rungs, tokens, time, the default configuration's place. Live and report read it."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.history import History
from hpo.job import Job, Key
from hpo.study import Study


@dataclass(frozen=True)
class Rung:
    """One budget: how many trials have finished and failed there, how many are on their way, the lowest loss."""

    until: int
    finished: int
    failed: int
    running: int
    best: float | None


def rungs(history: History) -> list[Rung]:
    """Every budget at which something was started, lowest first."""
    return [_rung(history, until) for until in sorted({key[1] for key in history.jobs})]


def _rung(history: History, until: int) -> Rung:
    keys = history.at(until)
    losses = [history.losses(key)[0] for key in keys if not history.failed(key)]
    running = sum(key[1] == until for key in history.pending)
    return Rung(until, len(keys), len(keys) - len(losses), running, min(losses, default=None))


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
    """When every key finished, in seconds of work: pauses between two runs of a study do not count."""
    worked, last = 0.0, None
    times: dict[Key, float] = {}
    for event in history.events:
        if last is not None and event.kind != "run":
            worked += event.time - last
        if last is not None or event.kind == "run":  # what is told before the first run costs no time
            last = event.time
        if event.kind == "finish":
            times[event.body["trial"], event.body["until"]] = worked
        elif event.kind == "add":
            times[Job.from_json(event.body["job"]).key] = worked
    return times


def best_so_far(history: History) -> list[tuple[float, Key]]:
    """(seconds, key) whenever the study's answer changed: the lowest loss at the highest budget reached until then."""
    found: list[tuple[float, Key]] = []
    for key, seconds in sorted(clock(history).items(), key=lambda item: (item[1], item[0])):
        if not history.failed(key) and (not found or _better(history, key, found[-1][1])):
            found.append((seconds, key))
    return found


def _better(history: History, key: Key, best: Key) -> bool:
    return (-key[1], history.losses(key)[0], key) < (-best[1], history.losses(best)[0], best)


def queued_trial(history: History) -> int | None:
    """The trial that took the enqueued configuration: the default one."""
    return next((key[0] for key, job in history.jobs.items() if "queued" in job.note), None)


def last_success(history: History, trial: int | None) -> Key | None:
    """A trial's furthest finished key without failure."""
    keys = history.trials.get(trial, []) if trial is not None else []
    return next((key for key in reversed(keys) if key in history.results and not history.failed(key)), None)


def best_key(study: Study) -> Key | None:
    """The study's best; None while nothing has succeeded."""
    return study.best.key if study.successes() else None


def rung_points(history: History, trial: int) -> list[tuple[int, float]]:
    """A trial's learning curve from rung to rung: (budget, loss) of every success."""
    keys = [key for key in history.trials[trial] if key in history.results and not history.failed(key)]
    return sorted((key[1], history.losses(key)[0]) for key in keys)


def ahead(history: History, trial: int) -> int:
    """How many other trials stand lower on the way, at the last rung that they reached, than this one did there."""
    mine = dict(rung_points(history, trial))
    others = [rung_points(history, other)[-1:] for other in history.trials if other != trial]
    return sum(loss < mine[until] for points in others for until, loss in points if until in mine)
