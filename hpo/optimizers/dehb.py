"""DEHB: differential evolution under Hyperband's brackets (Awad, Mallik and Hutter 2021, Algorithm 1).

Notation     k         level: the budgets are those of Hyperband's brackets, level 0 the lowest
             slot      a place in the subpopulation of a level; its individual is the best that was tried in it
             (b, i)    bracket number b and its rung i, which stands at level k = (b mod levels) + i
             u (d,)    a configuration in [0, 1]: numbers on the space's scale, a choice at the middle of its share
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key, Note
from hpo.optimizers.hyperband import hyperband_ladders
from hpo.optimizers.operators import cross_binomially
from hpo.optimizers.resources import ResourceScheduler
from hpo.optimizers.rungs import Ladder, check_resources, least_of
from hpo.pareto import dominates
from hpo.rng import stream, training_seed
from hpo.space import Config
from hpo.values import is_finite

TRIES = 100  # children that may break a constraint before a fresh configuration is taken


@dataclass(eq=False)
class DEHB(ResourceScheduler):
    """Every budget has a subpopulation that evolves; the best of a lower one are the parents of the next.

    A bracket's rung of n jobs at level k goes over the slots of this level in turn. The slot's individual is the target: three
    parents a, b, c of the best n of the level below (of the bracket's first rung: of its own level) give the mutant
    a + `mutation` (b - c), a column beyond [0, 1] is drawn afresh, and the child has each column of the mutant with probability
    `crossover`, at least one (rand/1/bin). It is trained from nothing, and takes the slot if it is no worse. A slot without an
    individual is filled by the sampler. In the first round of brackets the rungs above a bracket's first promote instead: the
    best of the level below that are not in the subpopulation yet are trained on, as in successive halving. A rung waits for that
    below; meanwhile the next bracket opens.

    Faithful to the authors' code in its pools, promotions and pointers. Changed: brackets are those of Hyperband here; a promoted
    trial goes on from its checkpoint; a slot in flight is passed over, and if all are, the job has none; parents that are
    missing are random individuals of other levels, then fresh ones.

        space = {"lr": (1e-4, 1e-1, "log"), "width": (16, 256)}
        def objective(config, report):
            for epoch in range(1, 10):
                report(epoch, (config["lr"] - 0.01) ** 2 + 1 / (epoch * config["width"]))
            return (config["lr"] - 0.01) ** 2
        study = hpo.minimize(objective, space, hpo.DEHB(hpo.Random(space), max_resource=9), 40)
    """

    min_resource: int = 1
    max_resource: int | None = None
    reduction_factor: float = 3
    mutation: float = 0.5
    crossover: float = 0.5

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return True  # children need no sampler

    @property
    def _least(self) -> int:
        return least_of(self.min_resource)

    def _arrange(self, top: int) -> None:
        check_resources(self.min_resource, top, self.reduction_factor)
        for name, most in (("mutation", 2.0), ("crossover", 1.0)):
            if not is_finite(getattr(self, name)) or not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to {most:g}")
        self.ladders = hyperband_ladders(self.min_resource, top, self.reduction_factor)
        self.budgets = [until for _, until in self.ladders[0]]
        if len(set(self.budgets)) < len(self.budgets):
            said = f"reduction_factor {self.reduction_factor} makes the budgets {self.budgets}"
            raise ValueError(f"{said}; allowed is one by which all differ")
        self.sizes = [max(ladder[k - s][0] for s, ladder in enumerate(self.ladders) if s <= k) for k in range(len(self.budgets))]

    def _begin(self) -> Populations:
        return Populations(self.ladders, [Level([None] * size) for size in self.sizes])

    def propose(self, history: History) -> Job | None:
        state = history.fold(self.owner, self._begin)
        for number in [*sorted(state.open), state.following]:
            rung = state.next_rung(number, history.limited)
            if rung is not None:
                job = self._next_job(history, state, number, rung)
                if job is not None:
                    return job
        return None

    def _next_job(self, history: History, state: Populations, number: int, rung: int) -> Job | None:
        level = number % len(self.ladders) + rung
        count, until = state.ladder(number)[rung]
        slot = state.levels[level].free_slot()
        place = {"bracket": number, "rung": rung, "slot": slot}
        if rung and number < len(self.ladders):
            best = next(self._promotable(history, state, level), None)
            if best is not None:
                job = history.jobs[best]
                return Job(best[0], job.config, until, best, job.seed, Note(member=place))
        target = None if slot is None else state.levels[level].individuals[slot]
        job_ = self.sampler.fresh(history, until, place) if target is None or history.queue_head is not None else None
        if job_ is not None or history.limited:
            return job_
        trial = history.next_trial
        rng = stream(self.seed, trial, "dehb")
        pool = self.parents(history, state, level - (rung > 0), count)
        config = self.evolve(history, target, pool, state, rng)
        return Job(trial, config, until, seed=training_seed(self.seed, trial), note=Note(member=place))

    # -- promotion ---------------------------------------------------------------------------------------------------

    def _promotable(self, history: History, state: Populations, level: int) -> Iterator[Key]:
        """The individuals of the level below that may go on to this one, the best first."""
        present = [history.jobs[key].config for key in state.levels[level].individuals if key is not None]
        for key in history.rank(key for key in state.levels[level - 1].individuals if key is not None):
            waits = history.trials[key[0]][-1] == key and not history.is_failure(key)
            if waits and history.jobs[key].config not in present:
                yield key

    def live(self, history: History) -> Sequence[Key]:
        """Individuals below the top while brackets promote."""
        state = history.fold(self.owner, self._begin)
        promoting = [number % len(self.ladders) for number in state.open if number < len(self.ladders)]
        if state.following < len(self.ladders):
            promoting.append(state.following)
        if not promoting:
            return []
        keys = [key for level in state.levels[min(promoting) : -1] for key in level.individuals if key is not None]
        return [key for key in history.rank(keys) if history.trials[key[0]][-1] == key and not history.is_failure(key)]

    # -- evolution ---------------------------------------------------------------------------------------------------

    def parents(self, history: History, state: Populations, level: int, count: int) -> list[Key]:
        """The best individuals of a level, at most `count`; failures last."""
        return history.rank(key for key in state.levels[level].individuals if key is not None)[:count]

    def evolve(
        self, history: History, target: Key | None, pool: Sequence[Key], state: Populations, rng: np.random.Generator
    ) -> Config:
        """A feasible child of the target; where none is found, or there is no target, a random configuration."""
        domain = self.space.domain
        if target is None or not domain.d:
            return self.space.decode(domain.random(rng, 1)[0])
        others = [key for level in state.levels for key in level.individuals if key is not None and key not in pool]
        start = self.unit(history.jobs[target].config, rng)
        for _ in range(TRIES):
            a, b, c = (self.unit(config, rng) for config in self._three(history, pool, others, rng))
            child = cross_binomially(start, self.mutate(a, b, c, rng), self.crossover, rng)
            row = domain.snap(np.where(domain.categorical, np.floor(child * np.array(domain.sizes)), child))
            if bool(domain.is_feasible(row)[0]):
                return self.space.decode(row[0])
        return self.space.decode(domain.random(rng, 1)[0])

    def _three(
        self, history: History, pool: Sequence[Key], others: Sequence[Key], rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        """Three different parents of the pool, filled up by others, then by random configurations."""
        chosen = [pool[i] for i in rng.permutation(len(pool))[:3]]
        chosen += [others[i] for i in rng.permutation(len(others))[: 3 - len(chosen)]]
        configs: list[Mapping[str, Any]] = [history.jobs[key].config for key in chosen]
        fresh = self.space.domain.random(rng, 3 - len(configs)) if len(configs) < 3 else ()
        configs += [self.space.decode(row) for row in fresh]
        return [configs[i] for i in rng.permutation(3)]

    def mutate(self, a: np.ndarray, b: np.ndarray, c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(d,) rand/1: a + F (b - c), drawn afresh where it lies beyond [0, 1]."""
        mutant = a + self.mutation * (b - c)
        return np.where((mutant < 0) | (mutant > 1), rng.random(len(mutant)), mutant)

    def unit(self, config: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
        """(d,) u; a random number where a parameter is not active."""
        row, domain = self.space.encode(config), self.space.domain
        u = np.where(domain.categorical, (row + 0.5) / np.maximum(np.array(domain.sizes), 1), row)
        return np.where(np.isnan(u), rng.random(len(u)), u)


@dataclass
class Level:
    """The subpopulation of a budget: the key of every slot's individual, the slots in flight, and the next in turn."""

    individuals: list[Key | None]
    flying: dict[Key, int | None] = field(default_factory=dict)
    pointer: int = 0

    def copy(self) -> Level:
        return Level(self.individuals.copy(), self.flying.copy(), self.pointer)

    def free_slot(self) -> int | None:
        """The next slot in turn that is not in flight; None if all are."""
        busy, size = set(self.flying.values()), len(self.individuals)
        return next((s for i in range(size) if (s := (self.pointer + i) % size) not in busy), None)


@dataclass
class Populations:
    """The fold of a DEHB: its subpopulations, and of the brackets that are not over the jobs started and finished by rung."""

    ladders: Sequence[Ladder]
    levels: list[Level]
    open: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)
    following: int = 0  # the number of the first bracket without a job

    def copy(self) -> Populations:
        brackets = {number: (started.copy(), finished.copy()) for number, (started, finished) in self.open.items()}
        return Populations(self.ladders, [level.copy() for level in self.levels], brackets, self.following)

    def ladder(self, number: int) -> Ladder:
        return self.ladders[number % len(self.ladders)]

    def next_rung(self, number: int, limited: bool) -> int | None:
        """The rung of a bracket that takes a job now; None while it waits for the rung below. At a run's limit a first rung
        takes none, and those above go on with what there is."""
        counts = self.open.get(number)
        if counts is None:
            return None if limited else 0
        started, finished = counts
        for rung, (count, _) in enumerate(self.ladder(number)):
            if rung and finished[rung - 1] < (started[rung - 1] if limited else self.ladder(number)[rung - 1][0]):
                return None
            if started[rung] < count and not (limited and rung == 0):
                return rung
        return None

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            place = history.jobs[key].note.member
            if "bracket" not in place:
                continue
            number, rung = place["bracket"], place["rung"]
            level = self.levels[number % len(self.ladders) + rung]
            slot = level.flying.pop(key, None)
            if number in self.open:
                self.open[number][1][rung] += 1
                self._close(number)
            if slot is not None and self._is_no_worse(history, key, level.individuals[slot]):
                level.individuals[slot] = key

    @staticmethod
    def _is_no_worse(history: History, key: Key, old: Key | None) -> bool:
        if old is None:
            return True
        mine, theirs = history.losses(key), history.losses(old)
        return not dominates(theirs, mine)

    def enter(self, history: History, job: Job) -> None:
        place = job.note.member
        if "bracket" not in place:
            return
        number, rung, slot = place["bracket"], place["rung"], place["slot"]
        level = self.levels[number % len(self.ladders) + rung]
        if job.key in level.flying:  # it was lost and starts again
            return
        level.flying[job.key] = slot
        if slot is not None:
            level.pointer = (slot + 1) % len(level.individuals)
        if number >= self.following:
            zeros = [0] * len(self.ladder(number))
            self.open[number] = zeros, zeros.copy()
            self.following = number + 1
        if number in self.open:
            self.open[number][0][rung] += 1

    def _close(self, number: int) -> None:
        finished = self.open[number][1]
        if all(done >= count for done, (count, _) in zip(finished, self.ladder(number), strict=True)):
            del self.open[number]
