"""Bounds on what results report, {metric: bound}: a result should have metric <= bound. And the successes that keep them.

An optimizer has them as its option `constraints`, so they stand in the header with its other options: whoever reads a history
knows them. Every answer about a study is of the results that keep them: what is the best, the front and its volume, what is
recommended, whose checkpoints stay. (Constraints of the space are another matter: what breaks one is never tried.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.metrics import check_metric, is_users, metric_column
from hpo.ranking import Ranking
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

    def excess(self, history: History, keys: Sequence[Key]) -> np.ndarray:
        """(n,) the sum of what the metrics of finished keys are beyond their bounds; infinite where one is missing or NaN."""
        total = np.zeros(len(keys))
        for name, bound in self.constraints.items():
            values = metric_column(history, keys, name)
            total += np.where(np.isnan(values), np.inf, np.maximum(values - bound, 0.0))
        return total

    def check(self, history: History) -> None:
        """ValueError where no result has one of the metrics (see check_metric). Proposals ask for it, which would be guesses;
        answers do not, and say what they lack."""
        for name in self.constraints:
            check_metric(history, name)

    def __str__(self) -> str:
        return " and ".join(f"{name} <= {bound:g}" for name, bound in self.constraints.items())


def bounds_of(described: Mapping[str, Any]) -> Bounds:
    """The bounds of an optimizer by its description in a header, and of those that it wraps; of two the lower."""
    found: dict[str, float] = {}
    for name, value in described.items():
        if not isinstance(value, Mapping):
            continue
        inner = value if name == "constraints" else bounds_of(value).constraints
        if all(map(is_finite, inner.values())):  # else it is an option of somebody's own that means something else
            found |= {metric: min(bound, found.get(metric, math.inf)) for metric, bound in inner.items()}
    return Bounds(found)


@dataclass
class FeasibleResults:
    """The successes of a history that keep the bounds of its header, as far as it was read."""

    bounds: Bounds
    found: Ranking
    least: dict[str, float] = field(default_factory=dict)  # of every metric among all successes; without one, infinite
    read: int = 0  # results
    users: tuple[bool, ...] = ()  # whose metrics these are: once the objective reports one, all results are read anew

    @classmethod
    def of(cls, history: History) -> FeasibleResults:
        """That of a history, up to date; it is kept beside it."""
        state = history.memo.get("feasible") or cls.begin(history, bounds_of(history.header.optimizer))
        if state.bounds.constraints:
            users = tuple(is_users(history, name) for name in state.bounds.constraints)
            if users != state.users:
                state = cls.begin(history, state.bounds)
                state.users = users
            state.follow(history)
        history.memo["feasible"] = state
        return state  # type: ignore[no-any-return]

    @classmethod
    def begin(cls, history: History, bounds: Bounds) -> FeasibleResults:
        """Before the first result; without bounds, all successes."""
        found = Ranking(history.losses, history.rank) if bounds.constraints else history.successes
        return cls(bounds, found, dict.fromkeys(bounds.constraints, math.inf))

    def follow(self, history: History) -> None:
        """Reads the results that have come since."""
        good = [key for key in islice(history.results, self.read, None) if key in history.successes]
        for key, excess in zip(good, self.bounds.excess(history, good), strict=True):
            if excess == 0.0:
                self.found.add(key)
        for name in self.least if good else ():
            self.least[name] = float(np.fmin.reduce([self.least[name], *metric_column(history, good, name)]))
        self.read = len(history.results)


def feasible(history: History) -> Ranking:
    """The successes that keep the bounds of the study's optimizer; where it has none, all of them."""
    return FeasibleResults.of(history).found


def explain_infeasible(history: History) -> str:
    """That no success keeps the bounds, and the least value of each metric, in a sentence; empty if one does, or without any."""
    state, good = FeasibleResults.of(history), len(history.successes)
    if not good or len(state.found):
        return ""
    said = [f"the least {name} is {least:g}" if least < math.inf else f"no result has a finite {name}"
            for name, least in state.least.items()]  # fmt: skip
    return f"none of {good} successful results keeps {state.bounds}; {', '.join(said)}"
