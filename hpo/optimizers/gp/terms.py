"""What else a proposal is weighed by: its cost, whether it is feasible, and what the user believes of the optimum.

Each is one term that is added to an acquisition on a log scale:

    log a(x) - log cost(x) + sum_c log P[metric c <= bound c at x] + (weight / n) log prior(x)

Costs and constrained metrics that are measured get a Gaussian process each, fitted, recorded and grown like that of the
loss; known ones are functions of a configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.gp.fits import Recipe, posteriors
from hpo.optimizers.gp.observations import View, encoded
from hpo.space import Config, Space
from surrogates import (
    Feasibility,
    GaussianProcess,
    Known,
    PosteriorMean,
    ScoreFunction,
    constrained,
    cost_aware,
    pibo,
)


@dataclass(frozen=True)
class Beliefs:
    """The terms of one sampler. See GP for what each is.

    A function that is wrong is its author's, and raises. A result that is wrong was paid for and is never lost: it is left
    out, and a warning says so, once a sampler.
    """

    space: Space
    cost: str | Callable[[Config], float] | None
    constraints: Mapping[str, float]
    prior: Callable[[Config], float] | None
    weight: float
    _said: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (self.cost is None or isinstance(self.cost, str) or callable(self.cost)):
            raise ValueError(f"cost is {self.cost!r}; allowed are the name of a metric and a function of a configuration")
        if not isinstance(self.constraints, Mapping):
            raise ValueError(f"constraints is {self.constraints!r}; allowed is {{metric: bound}}")
        for name, bound in self.constraints.items():
            if not isinstance(name, str) or not _number(bound):
                raise ValueError(f"the bound of the constraint {name!r} is {bound!r}; allowed is a finite number")
        if not (self.prior is None or callable(self.prior)):
            raise ValueError(f"prior is {self.prior!r}; allowed is a function of a configuration, its log density")
        if not _number(self.weight) or self.weight <= 0:
            raise ValueError(f"prior_weight is {self.weight!r}; allowed is a number above 0")

    def warn(self, sentence: str) -> None:
        """A warning that the same sampler does not repeat; sentences that begin alike, up to a colon, are the same."""
        about = sentence.partition(":")[0]
        if about not in self._said:
            self._said.add(about)
            warnings.warn(sentence, stacklevel=2)

    @property
    def any(self) -> bool:
        """Whether there is any term."""
        return self.cost is not None or bool(self.constraints) or self.prior is not None

    def feasible(self, history: History, key: Key) -> bool:
        """Whether a finished key kept every bound; a metric that is missing did not."""
        return bool(self.kept(history, [key])[0])

    def kept(self, history: History, keys: Sequence[Key]) -> np.ndarray:
        """(n,) whether finished keys kept every bound."""
        kept = np.ones(len(keys), dtype=bool)
        for name, bound in self.constraints.items():
            kept &= np.array([value is not None and value <= bound for value in measured(history, keys, name)], dtype=bool)
        return kept

    def _check(self, history: History, keys: Sequence[Key]) -> None:
        """ValueError for a metric that no success has."""
        good = [key for key in keys if not history.is_failure(key)]
        for name in [*self.constraints, *([self.cost] if isinstance(self.cost, str) else [])]:
            if good and not any(name in history.results[key].metrics or name in history.results[key].system for key in good):
                first = history.results[good[0]]
                there = sorted({*first.metrics, *first.system})
                raise ValueError(f"no result has the metric {name!r}; the last ones hold {there}")

    def fitted(self, history: History, recipe: Recipe, view: View, keys: Sequence[Key], seed: int) -> Terms:
        """The models of what is measured."""
        self._check(history, keys)
        cost: ScoreFunction | None = None
        note: dict[str, Any] = {}
        if isinstance(self.cost, str):
            cost, note = self._cost(self.cost, history, recipe, view, keys, seed)
        elif self.cost is not None:
            cost = Known(Asked(self.space, "cost", self.cost, _positive, "a finite number above 0", np.log), view.domain)
        gps: list[GaussianProcess] = []
        for name in self.constraints:
            more, found = self._excess(name, history, recipe, view, keys, seed)
            gps, note = gps + more, note | found
        seen = self.kept(history, keys)
        if view.several and self.constraints:  # what a short training kept may be exceeded by a long one
            told = view.lift(encoded(history, self.space, keys))
            seen = np.all([gp.mean(told) <= 0.0 for gp in gps], axis=0) if gps else np.zeros(len(keys), dtype=bool)
        prior: ScoreFunction | None = None
        if self.prior is not None:
            allowed = "a number, the log density, or -inf"
            prior = Known(Asked(self.space, "prior", self.prior, lambda value: value < np.inf, allowed), view.domain)
        return Terms(cost, gps, prior, self.weight, np.asarray(seen), note)

    def _excess(
        self, name: str, history: History, recipe: Recipe, view: View, keys: Sequence[Key], seed: int
    ) -> tuple[list[GaussianProcess], dict[str, Any]]:
        """A GP of how far a metric exceeds its bound (squeezed: 0 stays 0); none without results."""
        keys, values = _reported(history, keys, name)
        if not keys:
            return [], {}
        return posteriors(history, recipe, view, f"{name} bound", keys, squeezed(values - self.constraints[name]), seed)

    def _cost(
        self, name: str, history: History, recipe: Recipe, view: View, keys: Sequence[Key], seed: int
    ) -> tuple[PosteriorMean | None, dict[str, Any]]:
        """The posterior mean of the logarithm of a metric; None without results of which it has one."""
        there = {key: value for key, value in zip(keys, measured(history, keys, name), strict=True) if value is not None}
        keys, values = _reported(history, keys, name)
        keys, values = [key for key, value in zip(keys, values, strict=True) if value > 0.0], values[values > 0.0]
        if len(keys) < len(there):
            legal = set(keys)
            wrong = next(key for key in there if key not in legal)
            self.warn(f"the model of the cost {name!r} leaves results out: allowed is a finite number above 0 (no logarithm "
                      f"of one), and that of trial {wrong[0]} is {there[wrong]!r}")
        if not keys:
            return None, {}
        logs = np.log(values)
        shift, scale = float(logs.mean()), float(logs.std()) or 1.0  # not robustly: all of a cost counts
        (gp,), note = posteriors(history, recipe, view, f"log {name}", keys, (logs - shift) / scale, seed)
        return PosteriorMean(gp, shift, scale), note


@dataclass(frozen=True, eq=False)
class Asked:
    """A function of a configuration, asked about rows (m, d) or longer ones: (m,) values, or what `of` makes of them.

    ValueError, in one sentence, for a value that is no number or not a legal one: an order by it would be an accident.
    NaN where the space excludes the configuration: a search may step there, and nobody promised values there.
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
        if self.space.feasible(config):
            raise ValueError(f"{self.name} is {came!r} for {config}; allowed is {self.allowed}")
        return float("nan")


@dataclass(frozen=True, eq=False)
class Terms:
    """What is added to an acquisition in one situation.

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

    def added(self, score: ScoreFunction) -> ScoreFunction:
        """The score with these terms."""
        if self.cost is not None:
            score = cost_aware(score, self.cost)
        if self.excess:
            score = constrained(score, Feasibility(self.excess, [0.0] * len(self.excess)), bool(self.valid.any()))
        return score if self.prior is None else pibo(score, self.prior, self.weight, len(self.valid))


def _positive(value: float) -> bool:
    return isfinite(value) and value > 0.0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _reported(history: History, keys: Sequence[Key], name: str) -> tuple[list[Key], np.ndarray]:
    """The keys whose result has a finite metric of this name, and the metric (n,)."""
    values = np.array([np.nan if value is None else value for value in measured(history, keys, name)], dtype=float)
    there = np.isfinite(values)
    return [key for key, finite in zip(keys, there, strict=True) if finite], values[there]


def measured(history: History, keys: Sequence[Key], name: str) -> list[float | None]:
    """What finished keys have under a name: what the objective reported, where a success of the study reported it, else what
    the framework measured (Result.system). None where there is neither.

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


def squeezed(excess: np.ndarray) -> np.ndarray:
    """How far a metric exceeds its bound, on a scale on which 0 stays 0 and no value is far from the others."""
    scale = float(np.median(np.abs(excess))) or float(np.abs(excess).max()) or 1.0
    return np.asarray(np.arcsinh(excess / scale))
