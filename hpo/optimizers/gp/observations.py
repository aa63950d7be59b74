"""Results at several budgets as one model's data: the budget is an input, and every proposal is judged at the horizon.

Losses are read as they were measured, at every budget. The model decides what a short training says of a long one
(surrogates/learning_curves.py): each configuration has a loss at the horizon, and a learning curve that decays towards it.

Levelled rungs, and log(until) as a column of the kernel, search worse (experiments/LOG.md, 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any, Self

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.space import Space
from surrogates import Domain, ScoreFunction


def list_readable(history: History) -> list[Key]:
    """Keys to learn from: trials with their own weights, at every budget, in the order in which they could be read.

    That order is by the number of starts before a finish, then by key: results that arrive between two starts stand in
    one order however they arrived, and what an earlier proposal had read stays in front.
    """
    adopted, read, ordered = history.memo.get("readable", (0, 0, []))
    if adopted != len(history.adopted):  # rare: as a rule a trial adopts weights in its first job
        read, ordered = 0, []
    new = [key for key in islice(history.results, read, None) if history.is_own(key)]
    ordered = sorted([*ordered, *((history.epoch(key), key) for key in new)])  # sorted already, but for a few at its end
    history.memo["readable"] = len(history.adopted), len(history.results), ordered
    return [key for _, key in ordered]


class RowTable:
    """The rows of started keys; each is encoded once per history."""

    def __init__(self, space: Space, name: str) -> None:
        self.space, self.name = space, name
        self.index: dict[Key, int] = {}
        self.table = np.empty((64, len(space.columns)))
        self.seen: set[bytes] = set()  # keys (domain.keys) of the configurations of the first `trials` trials
        self.trials = 0

    @classmethod
    def of(cls, history: History, space: Space) -> RowTable:
        """The table of a history and a space. Spaces with the same description share one: their rows are the same."""
        name = sha256(repr(space.describe()).encode()).hexdigest()
        found: RowTable = history.memo.setdefault(("rows", name), cls(space, name))
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

    def started_keys(self, history: History) -> set[bytes]:
        """Keys (domain.keys) of every configuration that was ever started, told or pending. A copy."""
        new = list(islice(history.trials.values(), self.trials, None))
        self.seen.update(self.space.domain.keys(self(history, [keys[0] for keys in new])))
        self.trials += len(new)
        return set(self.seen)


@dataclass(frozen=True, eq=False)
class Observations:
    """What a proposal has read: finished keys (n,) of a history, as data of a model over a space.

    Where there are several budgets, rows have one column more than the space, the budget's share of the horizon.
    """

    history: History
    space: Space
    keys: Sequence[Key]
    lowest: int
    horizon: int  # equal to `lowest` where there is only one budget

    @classmethod
    def of(cls, history: History, space: Space, keys: Sequence[Key] | None = None) -> Self:
        """The observations of all readable keys, or of the keys given."""
        keys = list_readable(history) if keys is None else keys
        budgets = {until for _, until in keys} or {history.header.horizon}
        top = history.header.horizon if len(budgets) > 1 else min(budgets)
        return cls(history, space, keys, min(budgets), top)

    def select(self, keys: Sequence[Key]) -> Self:
        """The same model's data at other finished keys."""
        other = replace(self, keys=keys)
        vars(other).update(domain=self.domain, table=self.table)  # where cached_property keeps them: the domain is computed once
        return other

    @cached_property
    def table(self) -> RowTable:
        """Where rows of this history and space are kept."""
        return RowTable.of(self.history, self.space)

    @property
    def has_budgets(self) -> bool:
        """Whether the budget is a column."""
        return self.lowest < self.horizon

    @cached_property
    def domain(self) -> Domain:
        """The space's domain, with the budget as last column where there are several."""
        d = self.space.domain
        if not self.has_budgets:
            return d
        holds = d.feasible  # is not told the budget
        feasible = None if holds is None else lambda rows: holds(rows[:, :-1])
        return Domain((*d.kinds, "budget"), (*d.levels, None), (*d.sizes, 1), (*d.parents, ()), feasible)

    @cached_property
    def configs(self) -> np.ndarray:
        """(n, d) rows of the space, without budgets."""
        return self.table(self.history, self.keys)

    @cached_property
    def rows(self) -> np.ndarray:
        """(n, d) or (n, d + 1) rows of the model."""
        return self.rows_of(self.keys)

    @cached_property
    def losses(self) -> np.ndarray:
        """(n, objectives) losses as the model reads them: as they were measured, infinite for failures."""
        return np.array([self.history.losses(key) for key in self.keys])

    def rows_of(self, keys: Sequence[Key]) -> np.ndarray:
        """(m, d) or (m, d + 1) rows of any started keys."""
        configs = self.table(self.history, keys)
        if not self.has_budgets:
            return configs
        return np.column_stack([configs, [until / self.horizon for _, until in keys]])

    def lift(self, rows: np.ndarray) -> np.ndarray:
        """(m, d) rows of the space at the horizon."""
        return np.column_stack([rows, np.ones(len(rows))]) if self.has_budgets else rows

    @cached_property
    def pending_rows(self) -> np.ndarray:
        """(p, d) or (p, d + 1) pending jobs, lifted to the horizon. A configuration that the model has a result of there is
        left out; while only one budget has results, it counts as the horizon."""
        history = self.history
        keys = sorted({key[0]: key for key in [*history.pending, *history.retries]}.values())
        rows = self.lift(self.table(history, keys))
        if not keys:
            return rows
        told = set(self.domain.keys(self.rows))
        return rows[[name not in told for name in self.domain.keys(rows)]]


@dataclass(frozen=True, eq=False)
class AtHorizon:
    """A score over the space's own rows (m, d): the model's score at the horizon."""

    score: ScoreFunction
    observations: Observations

    @property
    def log_scale(self) -> bool:
        return self.score.log_scale

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return self.score(self.observations.lift(X))

    def gradient(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = self.score.gradient(self.observations.lift(X))
        return values, slopes[:, : X.shape[1]]
