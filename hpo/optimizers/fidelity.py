"""Results at several budgets as one model's data: the budget is an input, and every proposal is judged at the horizon.

Losses are read as they were measured, at whatever budget. What a short training says of a long one is the model's business
(surrogates/budget.py): each configuration has a loss at the horizon, and a learning curve that decays towards it.

Other ways are measured beside it (python -m experiments.curves): log(until) as one more column of the kernel, and losses
that are first brought together by the median change of the trials that stand at both of two rungs. Under ASHA this one
searches better on average. Offline, of configurations that nobody trained, it tells the best third of TaskSet's apart better,
but all of them worse, and is no better on 40 small language models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
    keys = [key for key in history.finished if history.own(key)]
    return sorted(keys, key=lambda key: (history.epoch(key), key))


def encoded(history: History, space: Space, keys: Sequence[Key]) -> np.ndarray:
    """(n, d) rows of started keys; every configuration is encoded once a history."""
    owner, rows = history.memo.setdefault(("rows", id(space)), (space, {}))  # the space is kept, so its id stays its own
    for key in keys:
        if key not in rows:
            rows[key] = owner.encode(history.jobs[key].config)
    return np.array([rows[key] for key in keys]).reshape(len(keys), len(space.columns))


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
