"""What results report under a name: metrics of the objective, and what the framework measured beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from hpo.history import History
from hpo.job import Key, Result

SEVERAL = 10  # whole trainings


def metric_values(history: History, keys: Sequence[Key], name: str) -> list[float | None]:
    """The values of a metric for finished keys: what the objective reported, if any success of the study reported it, else
    what the framework measured (Result.system). None where there is neither.

    Results of old logs have no system: there the framework's seconds stood among the metrics, and are read there.
    """
    user, results = is_users(history, name), [history.results[key] for key in keys]
    return [result.metrics.get(name, None if user else result.system.get(name)) for result in results]


def metric_column(history: History, keys: Sequence[Key], name: str) -> np.ndarray:
    """(n,) `metric_values`, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in metric_values(history, keys, name)], dtype=float)


def finite_metric(history: History, keys: Sequence[Key], name: str) -> tuple[list[Key], np.ndarray]:
    """The keys whose result has a finite metric of this name, and the metric (n,)."""
    values = metric_column(history, keys, name)
    there = np.isfinite(values)
    return [key for key, finite in zip(keys, there, strict=True) if finite], values[there]


def is_users(history: History, name: str) -> bool:
    """Whether a success whose system is recorded beside its metrics holds the name among the metrics."""
    return _has_success(history, ("reported", name), lambda result: name in result.metrics and bool(result.system))


def check_metric(history: History, name: str) -> None:
    """ValueError where no success has a metric of this name although several trainings came to their end: it is misspelt, or
    nobody reports it. Fewer prove nothing, nor do shorter ones: it may be measured at the end, or not of every configuration."""
    if _has_success(history, ("held", name), lambda result: name in result.metrics or name in result.system):
        return
    whole = [history.results[key] for key in history.successes.at(history.header.horizon)]
    if len(whole) >= SEVERAL:
        there = sorted({found for result in whole for found in (*result.metrics, *result.system)})
        raise ValueError(f"no result has the metric {name!r}; allowed are {there}")


def _has_success(history: History, slot: tuple[str, str], holds: Callable[[Result], bool]) -> bool:
    """Whether something holds of any success. slot: under which the answer is kept, so that a result is looked at once."""
    read, found = history.memo.get(slot, (0, False))
    if not found:
        new = islice(history.results.items(), read, None)
        found = any(holds(result) and not history.is_failure(key) for key, result in new)
        history.memo[slot] = len(history.results), found
    return bool(found)
