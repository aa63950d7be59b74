"""Regularized evolution: parents die of age (Real, Aggarwal, Huang and Le 2019, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Draft
from hpo.optimizers.drafting import BudgetSampler
from hpo.optimizers.operators import complete, mutate, mutate_normally
from hpo.optimizers.proposals import find_new
from hpo.rng import stream
from hpo.values import is_finite

RECORD = "aging"


@dataclass(eq=False)
class RegularizedEvolution(BudgetSampler):
    """The population is the `population` youngest results, good or bad; the best of `sample_size` of them has the next child.

    A child is a copy of its parent in which one active parameter has changed: a number by a normal step of `step` of its range,
    on the scale that is searched, a choice to another one. Until as many trials have started as the population has places, and
    while fewer than `sample_size` have finished, configurations are random.

    Faithful: aging, the best of a sample as the parent, one mutation a child. Changed: 20 and 5 for the paper's 100 and 25, which
    are made for 20,000 trainings; the results of a sample are different ones, where the paper draws with replacement (there four
    samples in ten, of 5 out of 20, hold one twice, so that selection is a little weaker); under a scheduler a trial is judged by
    its first finished key, beside those that were first trained as long; a child that was tried before is drawn again.

        study = hpo.minimize(lambda config: (config["x"] - 0.3) ** 2, {"x": (0.0, 1.0)}, "regularized", 100, quiet=True)
        print(study.best.config)
    """

    population: int = 20
    sample_size: int = 5
    step: float = 0.1

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("population", 10**9), ("sample_size", self.population)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is {value!r}; allowed is an integer from 1 to {most}")
        if not is_finite(self.step) or not 0 < self.step <= 1:
            raise ValueError(f"step is {self.step!r}; allowed are numbers above 0, up to 1")

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        state = history.fold(self.owner, partial(Aging, self.population))
        living, rng = state.living.get(until, ()), stream(self.seed, trial, "aging")
        if len(state.started.get(until, ())) < self.population or len(living) < self.sample_size:
            row = find_new(history, self.space, rng)
        else:
            chosen = rng.choice(len(living), self.sample_size, replace=False)
            parent = history.rank([living[i] for i in chosen])[0]
            row = find_new(history, self.space, rng, partial(self.mutate, self.space.encode(history.jobs[parent].config), rng))
        return Draft(self.space.decode(row), record={RECORD: until})

    def mutate(self, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(d,) the row with one active column changed, of those that have more than one value where there is one."""
        active = ~np.isnan(row)
        several = active & (np.array(self.space.domain.sizes) != 1)
        where = np.arange(len(row)) == rng.choice(np.flatnonzero(several if several.any() else active))
        changed = mutate(self.space.domain, row, where, lambda x, rng: mutate_normally(x, self.step, rng), rng)
        return complete(self.space.domain, changed, rng)


@dataclass
class Aging:
    """A fold: the youngest results, and the first trials that started, by the budget that trials are first trained to."""

    population: int
    living: dict[int, tuple[Key, ...]] = field(default_factory=dict)
    started: dict[int, frozenset[int]] = field(default_factory=dict)

    def copy(self) -> Aging:
        return Aging(self.population, self.living.copy(), self.started.copy())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            if history.jobs[key].source is None:  # the first result of a trial, also of one that nobody asked for
                self.living[key[1]] = (*self.living.get(key[1], ()), key)[-self.population :]

    def enter(self, history: History, job: Job) -> None:
        started = self.started.get(job.until, frozenset())
        if RECORD in job.note.record and len(started) < self.population:
            self.started[job.until] = started | {job.trial}
