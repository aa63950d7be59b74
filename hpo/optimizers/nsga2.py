"""NSGA-II (Deb, Pratap, Agarwal and Meyarivan 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hpo.bounds import Bounds
from hpo.history import History
from hpo.job import Key
from hpo.optimizers.genetic import Evolution
from hpo.optimizers.operators import choose_by_tournament, complete, cross_numbers, mutate, mutate_polynomially
from hpo.values import is_finite


@dataclass(eq=False)
class NSGA2(Evolution):
    """Elitist evolution of a front: parents and children together, the best by non-dominated front, then by crowding (or by
    another order, if the study's header has one).

    A child has two parents, each the better of two. With probability `crossover` numbers are crossed by SBX (`crossover_eta`),
    each with probability 1/2, and choices come from either parent; else the child is a copy of the first. Then every column is
    mutated with probability 1 / d: numbers by polynomial mutation (`mutation_eta`) on the scale that is searched, choices to
    another one. Published settings. `constraints` are {metric: upper bound}: what breaks less is better, whatever its
    objectives are (constraint domination, section 6). With one objective it is a genetic algorithm with truncation selection.

    Changed: generations overlap when several workers ask (see generations.py); failures rank last; a child that was tried
    before is bred again.

        study = hpo.minimize(lambda config: {"f": config["x"] ** 2, "g": (config["x"] - 2) ** 2}, {"x": (-3.0, 3.0)}, "nsga2", 60,
                             objectives={"f": "min", "g": "min"}, quiet=True)
        print(len(study.pareto))
    """

    crossover: float = 0.9
    crossover_eta: float = 20.0
    mutation_eta: float = 20.0
    constraints: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._bounds = Bounds(self.constraints)
        if not is_finite(self.crossover) or not 0 <= self.crossover <= 1:
            raise ValueError(f"crossover is {self.crossover!r}; allowed is 0 to 1")
        for name in ("crossover_eta", "mutation_eta"):
            if not is_finite(getattr(self, name)) or getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is a finite number of at least 0")

    def survive(self, history: History, parents: Sequence[Key], members: Sequence[Key]) -> Sequence[Key]:
        return self.order(history, [*parents, *members])[: self.population]

    def order(self, history: History, keys: Sequence[Key]) -> list[Key]:
        """Finished keys, best first: those that keep every bound, by front and crowding among themselves; then the others, by how
        much they break; then failures."""
        if not self.constraints:
            return history.rank(keys)
        self._bounds.check(history)
        good, failed = [key for key in keys if not history.is_failure(key)], [key for key in keys if history.is_failure(key)]
        excess = dict(zip(good, self._bounds.excess(history, good).tolist(), strict=True))
        kept = history.rank(key for key in good if excess[key] == 0.0)  # what breaks a bound dominates none of them
        others = sorted(history.rank(key for key in good if excess[key] > 0.0), key=excess.__getitem__)
        return [*kept, *others, *history.rank(failed)]

    def breed(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        domain = self.space.domain
        a, b = (rows[choose_by_tournament(rng, len(rows), 2)] for _ in range(2))
        child = cross_numbers(domain, a, b, self.crossover_eta, rng) if rng.random() < self.crossover else np.array(a)
        where = rng.random(domain.d) < 1.0 / max(domain.d, 1)
        child = mutate(domain, child, where, lambda x, rng: mutate_polynomially(x, self.mutation_eta, rng), rng)
        return complete(domain, child, rng)
