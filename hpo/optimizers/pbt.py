"""Population-based training (Jaderberg et al. 2017): truncation selection, perturb and resample."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key, Note
from hpo.objective import hook
from hpo.optimizer import Draft, Scheduler
from hpo.parameters import Const, Float, Int
from hpo.rng import stream, training_seed
from hpo.space import Config
from hpo.values import is_finite

ZERO = 0.1  # share of its range by which a number at zero is explored, since no factor moves it
TRIES = 100  # explored configurations that may break a constraint before the donor's own is kept


@dataclass(eq=False)
class PBT(Scheduler):
    """A population of slots that trains in generations; between them the worst fraction copies the best.

    After every generation a slot in the worst `truncation` of its population becomes a new trial: it starts from the
    checkpoint of a random one of the best `truncation` with that donor's configuration, explored. Exploring draws a
    hyperparameter afresh with probability `resample`, and else multiplies it by one of `factors` (a choice is kept).
    `explore` names what may change during training. Where it is left open, `minimize` takes what the objective declares in
    an attribute `explore`, and without one everything may: then a space that also holds the model's shape makes clones that
    cannot load. A slot waits for `quorum` of its population; with 1.0 any number of workers gives the same
    trials. The last generation ends at `max_resource`.
    """

    population: int = 8
    generations: int = 10
    max_resource: int = 100
    truncation: float = 0.25
    resample: float = 0.25
    factors: Sequence[float] = (0.8, 1.25)
    explore: Sequence[str] | None = None
    quorum: float = 1.0
    clones = True
    is_endless = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("population", "generations", "max_resource"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed is an integer of at least 1")
        if self.generations > self.max_resource:
            raise ValueError(f"{self.generations} generations do not fit into max_resource {self.max_resource}")
        for name, top in (("truncation", 0.5), ("resample", 1.0), ("quorum", 1.0)):
            if not is_finite(getattr(self, name)) or not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to {top}")
        for name in ("factors", "explore"):
            if not isinstance(getattr(self, name), list | tuple | None):
                raise TypeError(f"{name} is {getattr(self, name)!r}; allowed is a list")
        if not self.factors or any(not is_finite(factor) or factor <= 0 for factor in self.factors):
            raise ValueError(f"factors is {self.factors!r}; allowed are finite numbers above 0")
        unknown = [name for name in self.explore or () if name not in self.space.parameters]
        if unknown:
            raise ValueError(f"explore names {unknown[0]!r}, which is not one of {list(self.space.parameters)}")

    @property
    def horizon(self) -> int:
        return self.max_resource

    def adapt(self, objective: Any) -> PBT:
        declared = hook(objective, "explore")
        if self.explore is not None or declared is None:
            return self
        return replace(self, explore=tuple(name for name in self.space.parameters if name in declared))

    def budget(self, generation: int) -> int:
        """Where generation 1, 2, ... ends."""
        return round(self.max_resource * generation / self.generations)

    def propose(self, history: History) -> Job | None:
        slots = history.fold(self.owner, self._begin)
        if len(slots.length) < self.population:
            place = {"slot": slots.vacant, "generation": 1}
            job = self.sampler.fresh(history, self.budget(1), place)
            if job is not None:
                return job  # else the sampler has run dry, and the population is as large as it gets
        # serve the least advanced slot: one worker then walks generation by generation, as eight do
        for generation in sorted(slots.ready):
            if len(slots.finished[generation]) >= math.ceil(self.quorum * len(slots.length) - 1e-9):
                for slot in slots.ready[generation]:
                    job = self._next_job(history, slots, generation, slot)
                    if job is not None:
                        return job
        return None

    def _begin(self) -> Slots:
        return Slots(self.population, self.generations)

    def _next_job(self, history: History, slots: Slots, generation: int, slot: int) -> Job | None:
        """The slot's next generation, once enough of its population has finished this one."""
        mine = slots.keys[slot, generation]
        best, worst = slots.judge(history, generation, self.truncation)
        place = {"slot": slot, "generation": generation + 1}
        until = self.budget(generation + 1)
        if history.is_failure(mine) and not best:  # a dead slot without a donor is sampled afresh
            return self.sampler.fresh(history, until, place)
        rng = stream(self.seed, history.next_trial, "exploit")
        donor = self.choose_donor(history, mine, best, worst, rng)
        if donor is not None:
            return self._clone(history, mine, donor, until, place, rng)
        last = history.jobs[mine]
        if history.trials[last.trial][-1] != mine:  # finals took the trial to the end; its slot goes on as a copy
            trial = history.next_trial
            return Job(trial, last.config, until, mine, training_seed(self.seed, trial), Note(member=place))
        return Job(last.trial, last.config, until, last.key, last.seed, Note(member=place))

    def choose_donor(
        self, history: History, mine: Key, best: Sequence[Key], worst: Collection[Key], rng: np.random.Generator
    ) -> Key | None:
        """The donor whose checkpoint the slot of `mine` continues from, as a clone that explores; None: it continues its own.

        best, worst: the two ends of its generation, without failures in `best`. What a subclass overrides that exploits in
        another way. Random numbers come from `rng` alone.
        """
        if best and (history.is_failure(mine) or mine in worst):
            return best[int(rng.integers(len(best)))]
        return None

    def _clone(
        self, history: History, mine: Key, donor: Key, until: int, place: Mapping[str, Any], rng: np.random.Generator
    ) -> Job:
        """A new trial from a donor's checkpoint, with the configuration that earned it, explored."""
        trial = history.next_trial
        child = self.perturb(history, mine, donor, rng)
        return Job(trial, child.config, until, donor, training_seed(self.seed, trial), Note(member=place, record=child.record))

    def perturb(self, history: History, mine: Key, donor: Key, rng: np.random.Generator) -> Draft:
        """The configuration of the clone of a donor that takes the place of `mine`, and what is to be recorded beside it: what
        a subclass overrides that explores in another way (by addition, by a model). Random numbers come from `rng` alone."""
        parent = history.jobs[donor].config
        for _ in range(TRIES):
            fresh = self.space.decode(self.space.domain.random(rng, 1)[0])
            values = {**{n: v for n, v in fresh.items() if n not in parent}, **self._change(parent, fresh, rng)}
            child = self._complete(values)
            if child is not None and self.space.is_feasible(child):
                return Draft(child)
        return Draft(dict(parent))

    def _complete(self, values: Mapping[str, Any]) -> Config | None:
        """The active part of the values; None if a newly active parameter has no value among them."""
        active = self.space.active(values)
        return {name: values[name] for name in active} if all(name in values for name in active) else None

    def _change(self, parent: Mapping[str, Any], fresh: Config, rng: np.random.Generator) -> Config:
        names = self.explore if self.explore is not None else tuple(self.space.parameters)
        child = dict(parent)
        for name in names:
            spec = self.space.parameters[name]
            if name not in parent or isinstance(spec, Const):
                continue
            if rng.random() < self.resample and name in fresh:
                child[name] = fresh[name]
            elif isinstance(spec, Float | Int):
                child[name] = _scale(spec, parent[name], self.factors[int(rng.integers(len(self.factors)))])
        return child

    def live(self, history: History) -> Sequence[Key]:
        """Every key of a generation in which some slot has not gone on; the most advanced first."""
        slots = history.fold(self.owner, self._begin)
        keys = [key for (_, generation), key in slots.keys.items() if slots.slowest <= generation < self.generations]
        return sorted((k for k in keys if k in history.results and not history.is_failure(k)), key=lambda k: (-k[1], k[0]))

    def may_name(self, history: History, key: Key) -> bool:
        slots = history.fold(self.owner, self._begin)
        place = history.jobs[key].note.member if key in history.results and not history.is_failure(key) else {}
        if "slot" not in place or slots.keys[place["slot"], place["generation"]] != key:
            return False
        return bool(slots.slowest <= place["generation"] < self.generations)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return history.fold_at_start(self.owner, self._begin).released


@dataclass
class Slots:
    """The fold of a population: the key of every slot and generation (a lineage may run over several trials).

    length     by slot, how many generations it has started
    at         by generation, how many slots stand in it
    ready      by generation, the slots that have finished it and not gone on, sorted
    finished   by generation, the finished keys of the population
    slowest    the generation in which some slot still is; what is older was given up
    """

    population: int
    generations: int
    keys: dict[tuple[int, int], Key] = field(default_factory=dict)
    length: dict[int, int] = field(default_factory=dict)
    at: Counter[int] = field(default_factory=Counter)
    ready: dict[int, list[int]] = field(default_factory=dict)
    finished: dict[int, list[Key]] = field(default_factory=lambda: defaultdict(list))
    slowest: int = 1
    vacant: int = 0  # the first slot without a trial
    released: list[Key] = field(default_factory=list)
    judged: dict[int, tuple[list[Key], set[Key]]] = field(default_factory=dict)  # as far as it was asked for

    def copy(self) -> Slots:
        ready = {generation: slots.copy() for generation, slots in self.ready.items()}
        finished = defaultdict(list, {generation: keys.copy() for generation, keys in self.finished.items()})
        return Slots(
            self.population, self.generations, self.keys.copy(), self.length.copy(), self.at.copy(), ready, finished,
            self.slowest, self.vacant, self.released.copy(), self.judged.copy(),
        )  # fmt: skip

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            place = history.jobs[key].note.member
            if "slot" not in place:
                continue
            slot, generation = place["slot"], place["generation"]
            if self.keys[slot, generation] != key:  # of two drivers' trials in one place the first to start is the slot's
                continue
            self.finished[generation].append(key)
            self.judged.pop(generation, None)
            if self.length[slot] == generation < self.generations:
                insort(self.ready.setdefault(generation, []), slot)

    def enter(self, history: History, job: Job) -> None:
        place = job.note.member
        if "slot" not in place or (place["slot"], place["generation"]) in self.keys:
            return  # a foreign trial, one that was lost and starts again, or what another driver proposed for the same place
        slot, generation = place["slot"], place["generation"]
        self.keys[slot, generation], self.length[slot] = job.key, generation
        self.at[generation] += 1
        while self.vacant in self.length:
            self.vacant += 1
        if generation > 1:
            self.at[generation - 1] -= 1
            self._leave(slot, generation - 1)
        if len(self.length) == self.population:  # else a slot that is filled later may still clone the first generation
            self._give_up()

    def _leave(self, slot: int, generation: int) -> None:
        waiting = self.ready.get(generation, [])
        if slot in waiting:
            waiting.remove(slot)
        if not waiting:
            self.ready.pop(generation, None)

    def _give_up(self) -> None:
        """Gives up the generations that every slot has left."""
        while not self.at[self.slowest] and self.slowest < self.generations:
            self.released += [self.keys[slot, self.slowest] for slot in sorted(self.length)]
            self.slowest += 1

    def judge(self, history: History, generation: int, truncation: float) -> tuple[list[Key], set[Key]]:
        """The best fraction of what has finished a generation, as far as it succeeded, and the worst."""
        if generation not in self.judged:
            ranked = history.rank(self.finished[generation])
            count = min(math.ceil(truncation * len(ranked) - 1e-9), len(ranked) // 2)
            best = [key for key in ranked[: max(count, 1)] if not history.is_failure(key)]
            self.judged[generation] = best, set(ranked[len(ranked) - count :])
        return self.judged[generation]


def _scale(spec: Float | Int, value: float, factor: float) -> float | int:
    """A value times a factor, clipped to its range. Where there are steps it moves by at least one, and a number at zero,
    which no factor moves, as if it were a tenth of its range away from it."""
    scaled = value * factor
    if isinstance(spec, Float) and value == 0.0:
        scaled = (factor - 1.0) * ZERO * (spec.hi - spec.lo)
    if spec.step is None:
        return spec.nearest(scaled)
    index, old = round((scaled - spec.lo) / spec.step), round((value - spec.lo) / spec.step)
    if index == old:
        index += 1 if factor > 1 else -1
    return spec.nearest(spec.lo + index * spec.step)
