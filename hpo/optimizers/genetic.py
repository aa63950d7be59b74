"""Genetic search: tournaments, uniform crossover, mutation, elitism, generation by generation (Holland 1975; Goldberg 1989)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Draft
from hpo.optimizers.drafting import BudgetSampler
from hpo.optimizers.generations import RECORD, Generations
from hpo.optimizers.operators import (
    choose_by_tournament,
    complete,
    cross_uniformly,
    mutate,
    mutate_normally,
)
from hpo.optimizers.proposals import find_new
from hpo.rng import stream
from hpo.values import is_finite


@dataclass(eq=False)
class Evolution(BudgetSampler):
    """What genetic search and NSGA-II share: generations of `population` trials, `generations` of them (None: until stopped).

    The first generation is random. A child of a later one comes from `breed`, over the parents, best first; what may be a
    parent says `survive`.
    """

    population: int = 20
    generations: int | None = None

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("population", "generations"):
            value = getattr(self, name)
            if not (value is None and name == "generations") and (type(value) is not int or value < 1):
                raise ValueError(f"{name} is {value!r}; allowed is an integer of at least 1")
        if self.population < 2:
            raise ValueError(f"population is {self.population}; allowed are integers of at least 2")

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return self.generations is None

    def survive(self, history: History, parents: Sequence[Key], members: Sequence[Key]) -> Sequence[Key]:
        """The next parents, best first."""
        raise NotImplementedError

    def breed(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(d,) a child of the parents' rows (n, d), best first; it need not be feasible."""
        raise NotImplementedError

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        state = history.fold(self.owner, partial(Generations, self.population, self.survive))
        if self.generations is not None and state.started >= self.population * self.generations:
            return None
        line, rng = state.line(until), stream(self.seed, trial, "evolution")
        if line.closed:
            rows = np.array([self.space.encode(history.jobs[key].config) for key in line.parents])
            row = find_new(history, self.space, rng, lambda: self.breed(rows, rng))
        else:
            row = find_new(history, self.space, rng)
        return Draft(self.space.decode(row), record={RECORD: {"number": line.number, "place": line.place}})


@dataclass(eq=False)
class Genetic(Evolution):
    """A population of 20 for 10 generations, by the operators that tutorials name.

    A child has two parents, each the best of a tournament of `tournament` of the last generation. Each column comes from
    either (uniform crossover), and is mutated with probability `mutation`: a number by a normal step of `step` of its range, on
    the scale that is searched, a choice to another one. The best `elite` parents stay parents beside the new generation
    without being trained again; with that the last generation's best is never lost. With several objectives the best are
    those of history.rank. A child whose configuration was tried before is bred again: with few columns many are not mutated
    (0.9^5 = 59 % of them in five).

        study = hpo.minimize(lambda config: (config["x"] - 0.3) ** 2, {"x": (0.0, 1.0)}, "genetic", quiet=True)
        print(len(study.history.trials))                     # 200: twenty trials in each of ten generations
    """

    generations: int | None = 10
    tournament: int = 3
    mutation: float = 0.1
    step: float = 0.1
    elite: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.tournament) is not int or self.tournament < 1:
            raise ValueError(f"tournament is {self.tournament!r}; allowed is an integer of at least 1")
        if type(self.elite) is not int or not 0 <= self.elite < self.population:
            raise ValueError(f"elite is {self.elite!r}; allowed is an integer from 0 to below the population {self.population}")
        for name in ("mutation", "step"):
            if not is_finite(getattr(self, name)) or not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to 1")

    def survive(self, history: History, parents: Sequence[Key], members: Sequence[Key]) -> Sequence[Key]:
        return history.rank([*parents[: self.elite], *members])[: self.population]

    def breed(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        domain = self.space.domain
        a, b = (rows[choose_by_tournament(rng, len(rows), self.tournament)] for _ in range(2))
        where = rng.random(domain.d) < self.mutation
        child = mutate(domain, cross_uniformly(a, b, rng), where, lambda x, rng: mutate_normally(x, self.step, rng), rng)
        return complete(domain, child, rng)
