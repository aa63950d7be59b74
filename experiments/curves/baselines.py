"""How the GP read several budgets before: rungs levelled by the median change, and log(until) as one more column.

Levelling shifts losses by the median change of the trials that have results at two neighbouring budgets. How both compare with
the present GP stands in experiments/LOG.md, 2026-11-22.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Literal

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.gp.observations import Observations
from hpo.optimizers.gp.sampler import GP
from surrogates import Domain


def level_losses(losses: Mapping[Key, Sequence[float]], keys: Sequence[Key]) -> np.ndarray:
    """(n, m) losses, each as if its trial had gained what others gained between its budget and the highest one: the median
    change of the trials that are finite at both of two neighbouring budgets."""
    budgets = sorted({until for _, until in keys})
    shift = {budgets[-1]: np.zeros(len(losses[keys[0]]))}
    for low, high in reversed(list(itertools.pairwise(budgets))):
        pairs = [(losses[key], losses[key[0], high]) for key in keys if key[1] == low and (key[0], high) in losses]
        gains = [np.subtract(after, before) for before, after in pairs if np.isfinite([before, after]).all()]
        shift[low] = shift[high] + (np.median(gains, axis=0) if gains else 0.0)
    return np.array([np.add(losses[key], shift[key[1]]) for key in keys])


def log_share(until: float, lowest: float, horizon: float) -> float:
    """Where a budget stands between the lowest one and the horizon, by its logarithm."""
    return log(max(until, lowest) / lowest) / log(horizon / lowest)


def with_column(d: Domain, kind: Literal["float", "budget"]) -> Domain:
    """The domain with one column more."""
    return Domain((*d.kinds, kind), (*d.levels, None), (*d.sizes, int(kind == "budget")), (*d.parents, ()))


@dataclass(frozen=True, eq=False)
class LogObservations(Observations):
    """log(until) on [0, 1] as one more column of the kernel, with a length scale of its own."""

    @cached_property
    def domain(self) -> Domain:
        """The space's domain, with that column where there are several budgets."""
        d = self.space.domain
        return with_column(d, "float") if self.has_budgets else d

    def rows_of(self, keys: Sequence[Key]) -> np.ndarray:
        """(n, d) or (n, d + 1) rows of started keys."""
        rows = super().rows_of(keys)
        if self.has_budgets:
            rows[:, -1] = [log_share(until, self.lowest, self.horizon) for _, until in keys]
        return rows


@dataclass(frozen=True, eq=False)
class LevelledObservations(LogObservations):
    """Losses too are brought to one level."""

    @cached_property
    def losses(self) -> np.ndarray:
        """(n, objectives)"""
        return level_losses({key: self.history.losses(key) for key in self.keys}, self.keys)


class Column(GP):
    """Only the column: losses as they were measured."""

    def observe(self, history: History, keys: Sequence[Key] | None = None) -> Observations:
        return LogObservations.of(history, self.space, keys)


class Levelled(GP):
    """The sampler as it was."""

    def observe(self, history: History, keys: Sequence[Key] | None = None) -> Observations:
        return LevelledObservations.of(history, self.space, keys)
