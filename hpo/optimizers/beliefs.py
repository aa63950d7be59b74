"""What else a proposal is weighed by: its cost, whether it is feasible, and what the user believes of the optimum.

Each is one term that is added to an acquisition on a log scale:

    log a(x) - cooling log cost(x) + sum_c log P[metric c <= bound c at x] + (weight / n) log prior(x)

Costs and constrained metrics that are measured get a Gaussian process each, fitted, recorded and grown like that of the
loss; known ones are functions of a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.fidelity import View
from hpo.optimizers.model import Recipe, posteriors
from hpo.space import Config, Space
from surrogates import Feasibility, Known, PosteriorMean, ScoreFunction, constrained, cost_aware, pibo, standardise

LEAST_COST = 1e-12  # costs are compared by their logarithm


@dataclass(frozen=True)
class Beliefs:
    """The terms of one sampler. See GP for what each is."""

    space: Space
    cost: str | Callable[[Config], float] | None
    constraints: Mapping[str, float]
    prior: Callable[[Config], float] | None
    weight: float

    def feasible(self, history: History, key: Key) -> bool:
        """Whether a finished key kept every bound; a metric that is missing did not."""
        metrics = history.results[key].metrics
        return all(metrics.get(name, float("inf")) <= bound for name, bound in self.constraints.items())

    def measured(self, history: History, keys: Sequence[Key]) -> list[str]:
        """Metrics that need a model. ValueError for one that no success has reported."""
        names = [*self.constraints, *([self.cost] if isinstance(self.cost, str) else [])]
        good = [key for key in keys if not history.failed(key)]
        for name in names:
            if good and not any(name in history.results[key].metrics for key in good):
                there = sorted(history.results[good[0]].metrics)
                raise ValueError(f"no result has the metric {name!r}; the last ones hold {there}")
        return names

    def added(
        self, score: ScoreFunction, history: History, recipe: Recipe, view: View, keys: Sequence[Key], seed: int
    ) -> tuple[ScoreFunction, dict[str, Any]]:
        """The score with its terms, and what the note has to record of their fits."""
        models: dict[str, Any] = {}
        note: dict[str, Any] = {}
        for name in self.measured(history, keys):
            models[name], found = self._model(name, history, recipe, view, keys, seed)
            note |= found
        if isinstance(self.cost, str) and models[self.cost] is not None:
            score = cost_aware(score, models[self.cost])
        elif callable(self.cost):
            score = cost_aware(score, self._known(self.cost, view, logarithm=True))
        gps = [models[name] for name in self.constraints if models[name] is not None]
        if gps:
            known = any(self.feasible(history, key) for key in keys)
            score = constrained(score, Feasibility(gps, [0.0] * len(gps)), known)
        if self.prior is not None:
            score = pibo(score, self._known(self.prior, view, logarithm=False), self.weight, len(keys))
        return score, note

    def _model(
        self, name: str, history: History, recipe: Recipe, view: View, keys: Sequence[Key], seed: int
    ) -> tuple[Any, dict[str, Any]]:
        """A GP of (metric - bound) squeezed, or the posterior mean of the logarithm of a cost; None without results."""
        keys = [key for key in keys if np.isfinite(history.results[key].metrics.get(name, np.nan))]
        if not keys:
            return None, {}
        values = np.array([history.results[key].metrics[name] for key in keys])
        if name in self.constraints:
            (gp,), note = posteriors(history, recipe, view, name, keys, squeezed(values - self.constraints[name]), seed)
            return gp, note
        scaled = standardise(np.log(np.maximum(values, LEAST_COST)))
        (gp,), note = posteriors(history, recipe, view, name, keys, scaled.z, seed)
        return PosteriorMean(gp, scaled.shift, scaled.scale), note

    def _known(self, function: Callable[[Config], float], view: View, logarithm: bool) -> Known:
        d = self.space.domain.d

        def values(X: np.ndarray) -> np.ndarray:
            found = [float(function(self.space.decode(row))) for row in X[:, :d]]
            return np.log(np.maximum(found, LEAST_COST)) if logarithm else np.asarray(found)

        return Known(values, view.domain)


def squeezed(excess: np.ndarray) -> np.ndarray:
    """How far a metric exceeds its bound, on a scale on which 0 stays 0 and no value is far from the others."""
    scale = float(np.median(np.abs(excess))) or float(np.abs(excess).max()) or 1.0
    return np.asarray(np.arcsinh(excess / scale))


@dataclass(frozen=True)
class Around:
    """log density of a belief that the optimum is near a configuration: GP(space, prior=Around(space, config, sd=0.2)).

    Normal around each number on the scale of the search (sd as a share of the range), and a choice is the given one with
    probability `sure`. Inactive parameters count nothing.
    """

    space: Space
    config: Mapping[str, Any]
    sd: float = 0.2
    sure: float = 0.7

    def __post_init__(self) -> None:
        if not self.sd > 0 or not 0 < self.sure < 1:
            raise ValueError(f"sd is {self.sd!r} and sure is {self.sure!r}; allowed are sd > 0 and 0 < sure < 1")
        self.space.check(self.config)

    def __call__(self, config: Config) -> float:
        """Up to a constant."""
        total = 0.0
        for name in self.space.columns:
            if name not in config or name not in self.config:
                continue
            spec = self.space.parameters[name]
            if spec.kind == "categorical":
                same = config[name] == self.config[name]
                total += log(self.sure if same else (1.0 - self.sure) / max(spec.size - 1, 1))
            else:
                total -= 0.5 * ((spec.encode(config[name]) - spec.encode(self.config[name])) / self.sd) ** 2
        return total
