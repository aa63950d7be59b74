"""Results at several budgets as one model's data: the budget is an input, and every proposal is judged at the horizon.

Selection makes a rung's results incomparable with another's (only the good go on), so the levels are brought together by
pairs: the shift between two neighbouring budgets is the median change of the trials that stand at both. What is left of
the budget's influence is one more column, log(until) on [0, 1], with a length scale of its own: if a short training says
nothing about a long one, the fit finds it short (Swersky et al. 2013; Klein et al. 2017 use such a kernel).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.space import Space
from surrogates import Domain, ScoreFunction

MOST = 500  # results that are read; beyond, the highest budgets and the lowest losses come first


def readable(history: History) -> list[Key]:
    """Keys to learn from: trials with their own weights, at every budget, in the order in which they could be read.

    That order is by the number of starts before a finish, then by key: results that arrive between two starts stand in
    one order however they arrived, and what an earlier proposal had read stays in front.
    """
    keys = [key for key in history.finished if history.own(key)]
    if len(keys) > MOST and len({until for _, until in keys}) > 1:
        ranked = (key for until in reversed(history.budgets) for key in history.rank(history.at(until)))
        keys = list(itertools.islice((key for key in ranked if history.own(key)), MOST))
    return sorted(keys, key=lambda key: (history.epoch(key), key))


def encoded(history: History, space: Space, keys: Sequence[Key]) -> np.ndarray:
    """(n, d) rows of started keys; every configuration is encoded once a history."""
    owner, rows = history.memo.setdefault(("rows", id(space)), (space, {}))  # the space is kept, so its id stays its own
    for key in keys:
        if key not in rows:
            rows[key] = owner.encode(history.jobs[key].config)
    return np.array([rows[key] for key in keys]).reshape(len(keys), len(space.columns))


def levelled(history: History, keys: Sequence[Key]) -> np.ndarray:
    """(n, m) losses, each as if its trial had gained what others gained between its budget and the highest one."""
    losses = np.array([history.losses(key) for key in keys])
    budgets = sorted({until for _, until in keys})
    shift = {budgets[-1]: np.zeros(losses.shape[1])}
    for low, high in reversed(list(itertools.pairwise(budgets))):
        shift[low] = shift[high] + _gain(history, keys, low, high, losses.shape[1])
    return losses + np.array([shift[until] for _, until in keys])


def _gain(history: History, keys: Sequence[Key], low: int, high: int, objectives: int) -> np.ndarray:
    """(m,) median change from one budget to the next, over trials that are finite at both; 0 without any."""
    there = set(keys)
    pairs = [
        (history.losses(key), history.losses((key[0], high)))
        for key in keys
        if key[1] == low and (key[0], high) in there
    ]
    finite = [np.subtract(after, before) for before, after in pairs if np.isfinite([before, after]).all()]
    return np.asarray(np.median(finite, axis=0)) if finite else np.zeros(objectives)


@dataclass(frozen=True, eq=False)
class View:
    """Configurations as rows of a model; with several budgets there is one column more, the budget's."""

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
        return Domain((*d.kinds, "float"), (*d.levels, None), (*d.sizes, 0), (*d.parents, ()))

    def rows(self, history: History, keys: Sequence[Key]) -> np.ndarray:
        """(n, d) or (n, d + 1) rows of started keys."""
        plain = encoded(history, self.space, keys)
        if not self.several:
            return plain
        span = math.log(self.horizon / self.lowest)
        place = [math.log(max(until, self.lowest) / self.lowest) / span for _, until in keys]
        return np.column_stack([plain, place])

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
