"""Studies beside one another, and two trials of one study: what differs, and by which results that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.analysis.progress import objective_value, total_work
from hpo.history import History
from hpo.job import Key
from hpo.stopping import search_seconds
from hpo.trial import best_front, best_key, first_objective

Both = tuple[Any, Any]


@dataclass(frozen=True)
class Standing:
    """How far a study has come. Values are of the first objective, as they were reported."""

    trials: int
    results: int
    failures: int
    work: float  # budget that was trained in all, in the study's unit
    seconds: float
    best: float | None
    key: Key | None  # whose that is
    front: int  # trials of the front; with one objective the best and its ties

    @classmethod
    def of(cls, history: History) -> Standing:
        """That of a history as it is now."""
        key, results = best_key(history), history.results
        best = None if key is None else objective_value(history, key)
        failures, work = sum(map(history.is_failure, results)), total_work(history)
        counts = len(history.trials), len(results), failures, work, search_seconds(history)
        return cls(*counts, best, key, len(best_front(history)))


def header_differences(first: History, other: History) -> dict[str, Both]:
    """What two studies were set to differently, by name: (in the first, in the other). Of different optimizers all of it."""
    old, new = ({**history.header.to_json(), "objectives": dict(history.header.objectives)} for history in (first, other))
    return _differences(old, new)


def _differences(first: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> dict[str, Both]:
    found: dict[str, Both] = {}
    for name, (old, new) in _pairs(first, other).items():
        alike = isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("name") == new.get("name")
        if alike:
            found |= _differences(old, new, f"{path}{name}.")
        elif old != new:
            found[f"{path}{name}"] = old, new
    return found


@dataclass(frozen=True)
class Contrast:
    """Two trials: `config` holds the parameters that differ, as (first, second), None where one has none.

    keys     the results that are compared: at the highest budget that both have finished, else the last of each
    metrics  of these results, by name; an error in the place of metrics that a failure lacks
    shared   (until, first, second) of the first objective at every budget that both have finished
    better   which of the two has the better result: 0 or 1; None where none is, or where their budgets differ
    """

    keys: tuple[Key, Key]
    config: Mapping[str, Both]
    metrics: Mapping[str, Both]
    errors: Both
    shared: tuple[tuple[int, float | None, float | None], ...]
    better: int | None


def compare_trials(history: History, first: Key, second: Key) -> Contrast:
    """The trials of two finished keys. ValueError for any other key."""
    for key in (first, second):
        if key not in history.results:
            raise ValueError(f"trial {key[0]} has no result at {key[1]} yet")
    keys = _comparable(history, first, second)
    jobs, results = [history.jobs[key] for key in keys], [history.results[key] for key in keys]
    config = _pairs(*(job.config for job in jobs))
    differ = {name: pair for name, pair in config.items() if pair[0] != pair[1]}
    errors = results[0].error, results[1].error
    return Contrast(keys, differ, _pairs(*(result.metrics for result in results)), errors, _shared(history, *keys),
                    _better(history, *keys))  # fmt: skip


def _comparable(history: History, first: Key, second: Key) -> tuple[Key, Key]:
    both = [until for until in _budgets(history, first) if until in _budgets(history, second)]
    return ((first[0], both[-1]), (second[0], both[-1])) if both else (first, second)


def _budgets(history: History, key: Key) -> list[int]:
    """Budgets at which a trial has a result, up to that of the key."""
    return [until for trial, until in history.trials[key[0]] if until <= key[1] and (trial, until) in history.results]


def _shared(history: History, first: Key, second: Key) -> tuple[tuple[int, float | None, float | None], ...]:
    name, results = first_objective(history), history.results
    budgets = [until for until in _budgets(history, first) if until in _budgets(history, second)]
    a, b = ({until: results[trial, until].metrics.get(name) for until in budgets} for trial in (first[0], second[0]))
    return tuple((until, a[until], b[until]) for until in budgets)


def _better(history: History, first: Key, second: Key) -> int | None:
    a, b = history.losses(first), history.losses(second)
    if first[1] != second[1] or a == b:
        return None
    wins = [all(x <= y for x, y in zip(a, b, strict=True)), all(y <= x for x, y in zip(a, b, strict=True))]
    return wins.index(True) if any(wins) else None


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Both]:
    return {name: (first.get(name), second.get(name)) for name in {**first, **second}}
