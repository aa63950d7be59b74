"""What results report under a name: metrics of the objective, and what the framework measured beside them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from hpo.history import History
from hpo.job import Key


def finite_metric(history: History, keys: Sequence[Key], name: str) -> tuple[list[Key], np.ndarray]:
    """The keys whose result has a finite metric of this name, and the metric (n,)."""
    values = np.array([np.nan if value is None else value for value in metric_values(history, keys, name)], dtype=float)
    there = np.isfinite(values)
    return [key for key, finite in zip(keys, there, strict=True) if finite], values[there]


def metric_values(history: History, keys: Sequence[Key], name: str) -> list[float | None]:
    """The values of a metric for finished keys: what the objective reported, if any success of the study reported it, else
    what the framework measured (Result.system). None where there is neither.

    Results of old logs have no system: there the framework's seconds stood among the metrics, and are read there.
    """
    user, results = _is_users(history, name), [history.results[key] for key in keys]
    return [result.metrics.get(name, None if user else result.system.get(name)) for result in results]


def _is_users(history: History, name: str) -> bool:
    """Whether a success whose system is recorded beside its metrics holds the name among the metrics."""
    slot = ("reported", name)
    read, found = history.memo.get(slot, (0, False))
    if not found:
        new = islice(history.results.items(), read, None)
        found = any(name in result.metrics and bool(result.system) and not history.is_failure(key) for key, result in new)
        history.memo[slot] = len(history.results), found
    return bool(found)


def squeeze(excess: np.ndarray) -> np.ndarray:
    """How far a metric exceeds its bound, on a scale on which 0 stays 0 and no value is far from the others."""
    scale = float(np.median(np.abs(excess))) or float(np.abs(excess).max()) or 1.0
    return np.asarray(np.arcsinh(excess / scale))
