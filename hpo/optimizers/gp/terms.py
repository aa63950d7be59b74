"""What is added to an acquisition on a log scale, in one context:

    log a(x) - log cost(x) + sum_c log P[metric c <= bound c at x] + (weight / n) log prior(x)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.space import Config, Space
from surrogates import Feasibility, GaussianProcess, ScoreFunction, cost_aware, pibo, with_constraints


@dataclass(frozen=True, eq=False)
class Terms:
    """What is added to an acquisition in one context.

    cost     log cost; None without     excess  a GP of how far each constrained metric exceeds its bound
    prior    log prior; None without    valid   (n,) whether each read result keeps every bound, at the horizon
    note     what the job's note has to record of the fits
    """

    cost: ScoreFunction | None
    excess: Sequence[GaussianProcess]
    prior: ScoreFunction | None
    weight: float
    valid: np.ndarray
    note: Mapping[str, Any]

    def add_to(self, score: ScoreFunction) -> ScoreFunction:
        """The score with these terms."""
        if self.cost is not None:
            score = cost_aware(score, self.cost)
        if self.excess:
            score = with_constraints(score, Feasibility(self.excess, [0.0] * len(self.excess)), bool(self.valid.any()))
        return score if self.prior is None else pibo(score, self.prior, self.weight, len(self.valid))


@dataclass(frozen=True, eq=False)
class ConfigFunction:
    """A function of a configuration, asked about rows (m, d) or longer ones: (m,) values, or what `of` makes of them.

    ValueError, in one sentence, for a value that is no number or not a legal one: an order by it would be an accident.
    NaN where the space excludes the configuration: a search may step there, and the function need not work there.
    """

    space: Space
    name: str
    function: Callable[[Config], float]
    legal: Callable[[float], bool]
    allowed: str
    of: Callable[[np.ndarray], Any] = np.asarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """(m,)"""
        return np.asarray(self.of(np.array([self._value(row) for row in X[:, : self.space.domain.d]], dtype=float)))

    def _value(self, row: np.ndarray) -> float:
        config = self.space.decode(row)
        came = self.function(config)
        try:
            value = float(came)
        except (TypeError, ValueError, OverflowError):
            value = float("nan")
        if self.legal(value):
            return value
        if self.space.is_feasible(config):
            raise ValueError(f"{self.name} is {came!r} for {config}; allowed is {self.allowed}")
        return float("nan")
