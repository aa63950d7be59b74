"""Results at several budgets as one model's data: the budget is an input, and every proposal is judged at the horizon.

Losses are read as they were measured, at whatever budget. What a short training says of a long one is the model's business
(surrogates/learning_curves.py): each configuration has a loss at the horizon, and a learning curve that decays towards it.

Levelled rungs, and log(until) as a column of the kernel, search worse (experiments/LOG.md, 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.space import Space
from surrogates import Domain, ScoreFunction


def readable(history: History) -> list[Key]:
    """Keys to learn from: trials with their own weights, at every budget, in the order in which they could be read.

    That order is by the number of starts before a finish, then by key: results that arrive between two starts stand in
    one order however they arrived, and what an earlier proposal had read stays in front.
    """
    adopted, read, ordered = history.memo.get("readable", (0, 0, []))
    if adopted != len(history.adopted):  # weights that are not its own were a trial's from the first job on, as a rule
        read, ordered = 0, []
    new = [key for key in islice(history.results, read, None) if history.own(key)]
    ordered = sorted([*ordered, *((history.epoch(key), key) for key in new)])  # sorted already, but for a few at its end
    history.memo["readable"] = len(history.adopted), len(history.results), ordered
    return [key for _, key in ordered]


class Rows:
    """The rows of started keys, each encoded once a history."""

    def __init__(self, space: Space) -> None:
        self.space = space  # kept, so that its id stays its own
        self.index: dict[Key, int] = {}
        self.table = np.empty((64, len(space.columns)))
        self.seen: set[bytes] = set()  # keys (domain.keys) of the configurations of the first `trials` trials
        self.trials = 0

    @classmethod
    def of(cls, history: History, space: Space) -> Rows:
        """Those of a history."""
        found: Rows = history.memo.setdefault(("rows", id(space)), cls(space))
        return found

    def __call__(self, history: History, keys: Sequence[Key]) -> np.ndarray:
        """(n, d)"""
        for key in keys:
            if key not in self.index:
                self._add(key, history.jobs[key].config)
        return self.table[[self.index[key] for key in keys]]

    def _add(self, key: Key, config: Mapping[str, Any]) -> None:
        if len(self.index) == len(self.table):
            self.table = np.concatenate([self.table, np.empty_like(self.table)])
        self.table[len(self.index)] = self.space.encode(config)
        self.index[key] = len(self.index)

    def started(self, history: History) -> set[bytes]:
        """Keys (domain.keys) of every configuration that was ever started, told or pending. A copy."""
        new = list(islice(history.trials.values(), self.trials, None))
        self.seen.update(self.space.domain.keys(self(history, [keys[0] for keys in new])))
        self.trials += len(new)
        return set(self.seen)


def encoded(history: History, space: Space, keys: Sequence[Key]) -> np.ndarray:
    """(n, d) rows of started keys; every configuration is encoded once a history."""
    return Rows.of(history, space)(history, keys)


@dataclass(frozen=True, eq=False)
class View:
    """Configurations as rows of a model; with several budgets there is one column more, the budget's share of the horizon."""

    space: Space
    lowest: int
    horizon: int  # equal to `lowest` where there is only one budget

    @classmethod
    def of(cls, space: Space, history: History, keys: Sequence[Key]) -> View:
        """The view that all of `keys` need."""
        budgets = {until for _, until in keys}
        several = len(budgets) > 1
        top = history.header.horizon if several else min(budgets)
        return cls(space, min(budgets), top)

    @property
    def several(self) -> bool:
        return self.lowest < self.horizon

    @cached_property
    def domain(self) -> Domain:
        """The space's domain, with the budget as last column where there are several."""
        d = self.space.domain
        if not self.several:
            return d
        holds = d.feasible  # knows nothing of budgets
        feasible = None if holds is None else lambda rows: holds(rows[:, :-1])
        return Domain((*d.kinds, "budget"), (*d.levels, None), (*d.sizes, 1), (*d.parents, ()), feasible)

    def rows(self, history: History, keys: Sequence[Key]) -> np.ndarray:
        """(n, d) or (n, d + 1) rows of started keys."""
        plain = encoded(history, self.space, keys)
        if not self.several:
            return plain
        return np.column_stack([plain, [until / self.horizon for _, until in keys]])

    def lift(self, rows: np.ndarray) -> np.ndarray:
        """(m, d) rows of the space at the horizon."""
        return np.column_stack([rows, np.ones(len(rows))]) if self.several else rows


@dataclass(frozen=True, eq=False)
class AtHorizon:
    """A score over the space's own rows (m, d): the model's score at the horizon."""

    score: ScoreFunction
    view: View

    @property
    def log_scale(self) -> bool:
        return self.score.log_scale

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return self.score(self.view.lift(X))

    def gradient(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = self.score.gradient(self.view.lift(X))
        return values, slopes[:, : X.shape[1]]
