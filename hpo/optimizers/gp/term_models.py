"""Cost, constraints and prior of a proposal, each as a term of the acquisition.

terms.py adds them to it. Costs and constrained metrics that are measured get a Gaussian process each, which is fitted,
recorded and extended like that of the loss; known ones are functions of a configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from hpo.bounds import Bounds
from hpo.metrics import check_metric, finite_metric, metric_values
from hpo.optimizers.gp.fits import Recipe, posteriors
from hpo.optimizers.gp.observations import Observations
from hpo.optimizers.gp.terms import ConfigFunction, Terms
from hpo.space import Config, Space
from surrogates import GaussianProcess, Known, PosteriorMean, ScoreFunction


@dataclass(frozen=True)
class TermModels:
    """The terms of one sampler. See GP for what each is.

    A user's function with an illegal value raises. A result with an illegal value is not lost: it is left out of the term's
    model, and a warning says so, once per sampler.
    """

    space: Space
    cost: str | Callable[[Config], float] | None
    bounds: Bounds
    prior: Callable[[Config], float] | None
    weight: float
    _said: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (self.cost is None or isinstance(self.cost, str) or callable(self.cost)):
            raise ValueError(f"cost is {self.cost!r}; allowed are the name of a metric and a function of a configuration")
        if not (self.prior is None or callable(self.prior)):
            raise ValueError(f"prior is {self.prior!r}; allowed is a function of a configuration, its log density")
        if not _number(self.weight) or self.weight <= 0:
            raise ValueError(f"prior_weight is {self.weight!r}; allowed is a number above 0")

    def warn(self, sentence: str) -> None:
        """Gives a warning once per sampler; sentences that are the same up to a colon count as one."""
        about = sentence.partition(":")[0]
        if about not in self._said:
            self._said.add(about)
            warnings.warn(sentence, stacklevel=2)

    @property
    def has_terms(self) -> bool:
        """Whether there is any term."""
        return self.cost is not None or bool(self.bounds.constraints) or self.prior is not None

    def fit_terms(self, read: Observations, recipe: Recipe, seed: int) -> Terms:
        """The models of what is measured."""
        self.bounds.check(read.history)
        if isinstance(self.cost, str):
            check_metric(read.history, self.cost)
        cost: ScoreFunction | None = None
        note: dict[str, Any] = {}
        if isinstance(self.cost, str):
            cost, note = self._cost(self.cost, read, recipe, seed)
        elif self.cost is not None:
            cost = Known(ConfigFunction(self.space, "cost", self.cost, _positive, "a finite number above 0", np.log), read.domain)
        gps: list[GaussianProcess] = []
        for name in self.bounds.constraints:
            more, found = self._excess(name, read, recipe, seed)
            gps, note = gps + more, note | found
        seen = self.bounds.excess(read.history, read.keys) == 0.0
        if read.has_budgets and self.bounds.constraints:  # what a short training kept may be exceeded by a long one
            told = read.lift(read.configs)
            seen = np.all([gp.mean(told) <= 0.0 for gp in gps], axis=0) if gps else np.zeros(len(read.keys), dtype=bool)
        prior: ScoreFunction | None = None
        if self.prior is not None:
            allowed = "a number, the log density, or -inf"
            prior = Known(ConfigFunction(self.space, "prior", self.prior, lambda value: value < np.inf, allowed), read.domain)
        return Terms(cost, gps, prior, self.weight, np.asarray(seen), note)

    def _excess(
        self, name: str, read: Observations, recipe: Recipe, seed: int
    ) -> tuple[list[GaussianProcess], dict[str, Any]]:
        """A GP of how far a metric exceeds its bound (squeezed: 0 stays 0); none without results."""
        keys, values = finite_metric(read.history, read.keys, name)
        if not keys:
            return [], {}
        return posteriors(read.select(keys), recipe, f"{name} bound", squeeze(values - self.bounds.constraints[name]), seed)

    def _cost(
        self, name: str, read: Observations, recipe: Recipe, seed: int
    ) -> tuple[PosteriorMean | None, dict[str, Any]]:
        """The posterior mean of the logarithm of a metric; None without results of which it has one."""
        history, keys = read.history, read.keys
        there = {key: value for key, value in zip(keys, metric_values(history, keys, name), strict=True) if value is not None}
        keys, values = finite_metric(history, keys, name)
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
        (gp,), note = posteriors(read.select(keys), recipe, f"log {name}", (logs - shift) / scale, seed)
        return PosteriorMean(gp, shift, scale), note


def _positive(value: float) -> bool:
    return isfinite(value) and value > 0.0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def squeeze(excess: np.ndarray) -> np.ndarray:
    """How far a metric exceeds its bound, on a scale on which 0 stays 0 and no value is far from the others."""
    scale = float(np.median(np.abs(excess))) or float(np.abs(excess).max()) or 1.0
    return np.asarray(np.arcsinh(excess / scale))
