"""Constrained metrics of samplers without a model of them: {metric: bound}, a result should have metric <= bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizer import CANDIDATES
from hpo.optimizers.gp.metrics import metric_values
from hpo.values import format_value, is_finite


@dataclass(frozen=True)
class Bounds:
    """ValueError where it is not a mapping from names to finite numbers."""

    constraints: Mapping[str, float]

    def __post_init__(self) -> None:
        if not isinstance(self.constraints, Mapping):
            raise ValueError(f"constraints is {format_value(self.constraints)}; allowed is {{metric: bound}}")
        for name, bound in self.constraints.items():
            if not isinstance(name, str) or not is_finite(bound):
                raise ValueError(f"the bound of the constraint {name!r} is {format_value(bound)}; allowed is a finite number")

    def violations(self, history: History, keys: Sequence[Key]) -> np.ndarray:
        """(n,) the sum of what the metrics of finished keys are beyond their bounds; infinite where one is missing or NaN.

        ValueError where there are keys and none of them has a metric.
        """
        total = np.zeros(len(keys))
        for name, bound in self.constraints.items():
            values = np.array([np.nan if v is None else v for v in metric_values(history, keys, name)], dtype=float)
            if len(values) and np.isnan(values).all():
                first = history.results[keys[0]]
                there = sorted({*first.metrics, *first.system})
                raise ValueError(f"no result has the metric {name!r}; the last ones hold {there}")
            total += np.where(np.isnan(values), np.inf, np.maximum(values - bound, 0.0))
        return total

    def candidates(self, history: History) -> list[Key]:
        """The few best successes that kept every bound, at the highest budget that has any."""
        for until in reversed(history.budgets):
            good = [key for key in history.at(until) if not history.is_failure(key)]
            kept = [key for key, excess in zip(good, self.violations(history, good), strict=True) if excess == 0.0]
            if kept:
                return history.rank(kept)[:CANDIDATES]
        return []

    def explain_none(self, history: History) -> str:
        """That no success kept every bound, and the least value of each constrained metric; empty if one did."""
        good = [key for key in history.finished_keys if not history.is_failure(key)]
        if not good or (self.violations(history, good) == 0.0).any():
            return ""
        bounds = " and ".join(f"{name} <= {bound:g}" for name, bound in self.constraints.items())
        least = ", ".join(f"the least {name} is {_least(history, good, name):g}" for name in self.constraints)
        return f"none of {len(good)} successful results keeps {bounds}; {least}"


def _least(history: History, keys: Sequence[Key], name: str) -> float:
    return min(float("inf") if value is None else value for value in metric_values(history, keys, name))
