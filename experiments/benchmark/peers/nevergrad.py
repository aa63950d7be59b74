"""Nevergrad (Rapin and Teytaud 2018): NGOpt, its wizard that chooses an algorithm by dimension, kinds and budget.

It has no conditional parameters: all are given to it, and inactive ones are dropped when its point is decoded. It has no
failed evaluations: one that diverged is told the worst finite loss so far, and while there is none infinity, which it
clips to 5e20 by itself. It starts from the middle of every range. What it recommends is `provide_recommendation`, which
need not be a point that was evaluated.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import nevergrad as ng
import numpy as np

from experiments.benchmark import peers
from hpo.parameters import Categorical, Float, Int, Parameter
from hpo.space import Config, Space


def instrument(spec: Parameter) -> ng.p.Parameter:
    """One of our parameters as one of theirs; an integer with a step is an ordered choice."""
    if isinstance(spec, Categorical):
        return ng.p.Choice(list(spec.choices))
    if isinstance(spec, Int) and spec.step > 1:
        return ng.p.TransitionChoice([spec.lo + i * spec.step for i in range(spec.count)])
    assert isinstance(spec, Float | Int), spec
    if spec.log:
        scalar: Any = ng.p.Log(lower=spec.lo, upper=spec.hi)
    else:
        scalar = ng.p.Scalar(lower=spec.lo, upper=spec.hi)
    return scalar.set_integer_casting() if isinstance(spec, Int) else scalar


def from_candidate(spec: Parameter, given: Any) -> Any:
    """Their value as ours: their transforms of a range can miss its ends by a rounding."""
    if isinstance(spec, Categorical):
        return given
    assert isinstance(spec, Float | Int), spec
    return min(max(given, spec.lo), spec.hi)


class Nevergrad:
    """NGOpt, one evaluation after another."""

    def __init__(self, space: Space, seed: int, budget: int) -> None:
        self.space = space
        parameters = {name: instrument(space.parameters[name]) for name in space.columns}
        instrumentation = ng.p.Dict(**parameters)
        instrumentation.random_state = np.random.RandomState(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.optimizer = ng.optimizers.NGOpt(instrumentation, budget=budget, num_workers=1)
        self._asked: ng.p.Parameter | None = None
        self._worst = -math.inf  # of the finite losses

    def ask(self) -> Config:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._asked = self.optimizer.ask()
        return self._plain(self._asked)

    def _plain(self, candidate: ng.p.Parameter) -> Config:
        values = {name: from_candidate(self.space.parameters[name], given) for name, given in candidate.value.items()}
        return peers.plain(self.space, values)

    def tell(self, config: Config, value: float) -> None:
        asked, self._asked = self._asked, None
        if asked is None:
            raise ValueError("Nevergrad is told only what it has asked")
        if math.isfinite(value):
            self._worst = max(self._worst, value)
        else:
            value = self._worst if math.isfinite(self._worst) else math.inf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of infinity
            self.optimizer.tell(asked, value)

    def best(self) -> Config:
        return self._plain(self.optimizer.provide_recommendation())

    @staticmethod
    def versions() -> dict[str, str]:
        return peers.package_versions("nevergrad", "cma")
