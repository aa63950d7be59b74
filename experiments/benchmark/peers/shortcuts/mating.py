"""HEBO's mating without what it throws away: pymoo's operators and random numbers, in their order, on lighter individuals.

pymoo's mating of mixed variables makes every child three times, as an individual with some twenty attributes, and asks
which of them are new only then; in a small space, where nearly none is, it does so a hundred times a generation. Here the
operators work on individuals that are nothing but values, which of them are new is asked of a set, and whole ones are made
of those that stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any
from unittest import mock

import numpy as np
from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import NoRepair
from pymoo.core.variable import Choice, Integer, Real

PAIR = 2  # parents of a mating, and children

original = MixedVariableMating.do


class Light:
    """An individual as operators see it."""

    __slots__ = ("X",)

    def __init__(self, X: np.ndarray) -> None:
        self.X = X

    def get(self, name: str) -> np.ndarray:
        return self.X

    def set(self, name: str, value: np.ndarray) -> None:
        self.X = value


class Lights:
    """Stands for Population where a crossover returns its children."""

    @staticmethod
    def new(name: str, X: np.ndarray) -> Population:
        return Population([Light(row) for row in X])


class Group:
    """Variables that are mated together: those of one type, a choice by itself."""

    def __init__(self, mating: Any, variables: dict[str, Any], pop: Population) -> None:
        self.names = list(variables)
        kind = type(next(iter(variables.values())))
        ends = np.array([v.bounds for v in variables.values()]).T if kind in (Real, Integer) else (None, None)
        self.problem = Problem(vars=list(variables.values()), xl=ends[0], xu=ends[1])
        self.crossover, self.mutation = mating.crossover[kind], mating.mutation[kind]
        self.parents = {id(one): Light(np.array([one.X[name] for name in self.names])) for one in pop}

    def offspring(self, pairs: Any, **context: Any) -> list[np.ndarray]:
        """The values of PAIR children a pair."""
        parents = [[self.parents[id(one)] for one in pair] for pair in pairs]
        found = self.crossover(self.problem, parents, **context)
        return [child.X for child in self.mutation(self.problem, found, **context)]


def groups(mating: Any, variables: dict[str, Any], pop: Population) -> list[Group]:
    """In the order of their first variables."""
    kinds: dict[type, dict[str, Any]] = {}
    for name, variable in variables.items():
        kinds.setdefault(type(variable), {})[name] = variable
    found = []
    for kind, members in kinds.items():
        parts = [{name: variable} for name, variable in members.items()] if kind is Choice else [members]
        found += [Group(mating, part, pop) for part in parts]
    return found


def mate_mixed(self: Any, problem: Any, pop: Population, n_offsprings: int, **context: Any) -> Population:
    """Takes the place of MixedVariableMating.do."""
    if type(self.repair) is not NoRepair or type(self.eliminate_duplicates) is not MixedVariableDuplicateElimination:
        return original(self, problem, pop, n_offsprings, **context)
    parts = groups(self, problem.vars, pop)
    names = [name for part in parts for name in part.names]
    seen = {tuple(one.X[name] for name in names) for one in pop}
    children: list[tuple[Any, ...]] = []
    with mock.patch("pymoo.core.crossover.Population", Lights):
        for _ in range(self.n_max_iterations):
            missing = n_offsprings - len(children)
            if not missing:
                break
            pairs = self.selection(problem, pop, -(-missing // PAIR), PAIR, **context)
            families = [part.offspring(pairs, **context) for part in parts]
            children += new([tuple(chain.from_iterable(child)) for child in islice(zip(*families, strict=True), missing)], seen)
    return Population.new(X=[dict(zip(names, child, strict=True)) for child in children]) if children else Population.create()


def new(made: list[tuple[Any, ...]], seen: set[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Those not seen before; of equal ones the last. They are seen afterwards."""
    last = {child: k for k, child in enumerate(made)}
    for k, child in enumerate(made):
        if last[child] == k and child not in seen:
            seen.add(child)
            yield child
