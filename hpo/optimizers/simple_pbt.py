"""PBT as tutorials have it, without weights: each generation trains fresh models, and half of them are mutated copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Draft
from hpo.optimizers.drafting import BudgetSampler
from hpo.optimizers.generations import RECORD, Generations
from hpo.parameters import Categorical, Const, Float, Int
from hpo.rng import stream
from hpo.space import Config

FACTORS = (0.8, 1.2)  # of a number on a logarithmic scale
SHARE = 0.25  # of the range, at most, by which any other number moves
TRIES = 100  # mutants that may break a constraint before the parent's own configuration is taken


@dataclass(eq=False)
class SimplePBT(BudgetSampler):
    """A generation of `population` trials, `generations` times: the better half again, and a mutated copy of each of them.

    A mutation changes one random parameter: a choice is drawn anew; a number on a logarithmic scale is multiplied by
    U(0.8, 1.2); any other is moved by U(-0.25, 0.25) of its range (weight decay in [0, 0.2] by U(-0.05, 0.05)) and clipped.
    Integers move by one at least. No weights are copied, so any f(config) will do; PBT copies them.
    """

    population: int = 4
    generations: int = 5
    is_endless = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("population", 2), ("generations", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; allowed is an integer of at least {least}")

    def survive(self, history: History, parents: Sequence[Key], members: Sequence[Key]) -> Sequence[Key]:
        """A generation, best first."""
        return history.rank(members)

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        state = history.fold(self.owner, partial(Generations, self.population, self.survive))
        if state.started >= self.population * self.generations:
            return None
        line, rng = state.line(until), stream(self.seed, trial, "simple pbt")
        if not line.closed:
            config = self.space.decode(self.space.domain.random(rng, 1)[0])
        else:
            upper = self.population - self.population // 2
            parent = dict(history.jobs[line.parents[line.place % upper]].config)
            config = parent if line.place < upper else self.mutate(parent, rng)
        return Draft(config, record={RECORD: {"number": line.number, "place": line.place}})

    def mutate(self, parent: Config, rng: np.random.Generator) -> Config:
        """A feasible copy in which one parameter was changed."""
        names = [name for name in parent if not isinstance(self.space.parameters[name], Const)]
        for _ in range(TRIES if names else 0):
            name = names[int(rng.integers(len(names)))]
            fresh = self.space.decode(self.space.domain.random(rng, 1)[0])
            values = {**fresh, **parent, name: change_value(self.space.parameters[name], parent[name], rng)}
            child = {name: values[name] for name in self.space.active(values) if name in values}
            whole = child != parent and len(child) == len(self.space.active(values))
            if whole and self.space.is_feasible(child):
                return child
        return parent


def change_value(spec: Any, value: Any, rng: np.random.Generator) -> Any:
    """Another value of a parameter, by the rules of SimplePBT."""
    if isinstance(spec, Categorical):
        others = [other for other in spec.values if other != value]
        return others[int(rng.integers(len(others)))] if others else value
    assert isinstance(spec, Float | Int)
    moved = value * rng.uniform(*FACTORS) if spec.log else value + rng.uniform(-SHARE, SHARE) * (spec.hi - spec.lo)
    moved = min(max(moved, spec.lo), spec.hi)
    if isinstance(spec, Int):
        whole = spec.nearest(moved)
        beside = spec.nearest(value + (spec.step if moved > value else -spec.step))
        return beside if whole == value else whole
    return spec.nearest(moved)
