"""Grid, random, Bayesian and genetic search as small classes with run(objective), as tutorials write them. They maximise.

    best_params, best_score = BayesianSearch({"lr": (1e-6, 1e-3, "log"), "batch": [8, 16, 32]}, n_initial=10).run(score)

Each is `maximize` with one of the optimizers; what a search has done stands in its `study`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.optimizer import Optimizer
from hpo.optimizers import make
from hpo.run import maximize
from hpo.space import Config, Space
from hpo.study import Study

Score = Callable[[dict[str, Any]], float]


@dataclass
class Search:
    """What the four share. A subclass says how its optimizer is made, and how many configurations it tries."""

    seed: int = field(default=0, kw_only=True)
    study: Study | None = field(default=None, init=False, repr=False)

    def make_optimizer(self) -> tuple[Optimizer, int | None]:
        """The optimizer, new, and the number of trials; None where it ends by itself."""
        raise NotImplementedError

    def run(self, objective: Score, **options: Any) -> tuple[Config, float]:
        """The best configuration and its score.

        options    of `maximize`: executor="processes", workers=4, log="study.db", quiet=True
        Raises ValueError if no configuration could be scored.
        """
        optimizer, trials = self.make_optimizer()
        self.study = maximize(objective, optimizer.space, optimizer, trials, **options)
        best = self.study.recommend()
        return dict(best.config), float(best.value)


@dataclass
class GridSearch(Search):
    """Every combination of listed values: {"lr": [1e-5, 1e-4], "batch": [8, 16]}."""

    param_grid: Mapping[str, Any]

    def make_optimizer(self) -> tuple[Optimizer, int | None]:
        return make("grid", Space.of(self.param_grid), self.seed), None


@dataclass
class RandomSearch(Search):
    """Draws from ranges, lists and SciPy's distributions: {"lr": loguniform(1e-6, 1e-3), "batch": [8, 16]}."""

    param_distributions: Mapping[str, Any]
    n_iterations: int = 50

    def make_optimizer(self) -> tuple[Optimizer, int | None]:
        return make("random", Space.of(self.param_distributions), self.seed), self.n_iterations


@dataclass
class BayesianSearch(Search):
    """A Gaussian process with log EI, after `n_initial` points spread over the space; `n_iterations` in all, those included."""

    param_bounds: Mapping[str, Any]
    n_initial: int = 10
    n_iterations: int = 50

    def make_optimizer(self) -> tuple[Optimizer, int | None]:
        return make("gp", Space.of(self.param_bounds), self.seed, initial=self.n_initial), self.n_iterations


@dataclass
class GeneticSearch(Search):
    """Generations of a population: tournaments of three, uniform crossover, mutation; see hpo/optimizers/genetic.py."""

    param_space: Mapping[str, Any]
    population_size: int = 20
    n_generations: int = 10
    mutation_rate: float = 0.1

    def make_optimizer(self) -> tuple[Optimizer, int | None]:
        options = {"population": self.population_size, "generations": self.n_generations, "mutation": self.mutation_rate}
        return make("genetic", Space.of(self.param_space), self.seed, **options), None
