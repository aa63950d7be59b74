"""Population-based training (Jaderberg et al. 2017): truncation selection, perturb and resample."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Scheduler
from hpo.parameters import Const, Float, Int
from hpo.rng import stream, training_seed
from hpo.space import Config

ZERO = 0.1  # share of its range by which a number at zero is explored, since no factor moves it
TRIES = 100  # explored configurations that may break a constraint before the donor's own is kept


@dataclass(eq=False)
class PBT(Scheduler):
    """A population of slots that trains in generations; between them the worst fraction copies the best.

    After every generation a slot in the worst `truncation` of its population becomes a new trial: it starts from the
    checkpoint of a random one of the best `truncation` with that donor's configuration, explored. Exploring draws a
    hyperparameter afresh with probability `resample`, and else multiplies it by one of `factors` (a choice is kept).
    `explore` names what may change during training; by default everything may, so name it when the space also holds
    the model's shape. A slot waits for `quorum` of its population; with 1.0 any number of workers gives the same
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
    endless = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("population", "generations", "max_resource"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed is an integer of at least 1")
        if self.generations > self.max_resource:
            raise ValueError(f"{self.generations} generations do not fit into max_resource {self.max_resource}")
        for name, top in (("truncation", 0.5), ("resample", 1.0), ("quorum", 1.0)):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to {top}")
        if not self.factors or any(not factor > 0 for factor in self.factors):
            raise ValueError(f"factors is {list(self.factors)}; allowed are numbers above 0")
        unknown = [name for name in self.explore or () if name not in self.space.parameters]
        if unknown:
            raise ValueError(f"explore names {unknown[0]!r}, which is not one of {list(self.space.parameters)}")

    @property
    def horizon(self) -> int:
        return self.max_resource

    def budget(self, generation: int) -> int:
        """Where generation 1, 2, ... ends."""
        return round(self.max_resource * generation / self.generations)

    def propose(self, history: History) -> Job | None:
        slots = history.fold(self.owner, self._begin)
        if len(slots.lineages) < self.population:
            slot = next(slot for slot in range(self.population) if slot not in slots.lineages)
            job = self.sampler.fresh(history, self.budget(1), {"slot": slot, "generation": 1})
            if job is not None:
                return job  # else the sampler has run dry, and the population is as large as it gets
        # serve the least advanced slot: one worker then walks generation by generation, as eight do
        for slot in sorted(slots.ready, key=lambda s: (len(slots.lineages[s]), s)):
            job = self._following(history, slots, slot)
            if job is not None:
                return job
        return None

    def _begin(self) -> Slots:
        return Slots(self.population, self.generations)

    def _following(self, history: History, slots: Slots, slot: int) -> Job | None:
        """The slot's next generation, or None while too little of its population has finished this one."""
        generation = len(slots.lineages[slot])
        if len(slots.finished[generation]) < math.ceil(self.quorum * len(slots.lineages) - 1e-9):
            return None
        mine, ranked = slots.lineages[slot][-1], slots.ranking(history, generation)
        count = min(math.ceil(self.truncation * len(ranked) - 1e-9), len(ranked) // 2)
        best = [key for key in ranked[: max(count, 1)] if not history.failed(key)]
        worst = ranked[len(ranked) - count :] if count else []
        note = {"slot": slot, "generation": generation + 1}
        until = self.budget(generation + 1)
        if history.failed(mine) and not best:  # a dead slot without a donor is sampled afresh
            return self.sampler.fresh(history, until, note)
        if best and (history.failed(mine) or mine in worst):
            return self._clone(history, best, until, note)
        last = history.jobs[mine]
        if history.trials[last.trial][-1] != mine:  # finals took the trial to the end; its slot goes on as a copy
            trial = history.next_trial
            return Job(trial, last.config, until, mine, training_seed(self.seed, trial), note)
        return Job(last.trial, last.config, until, last.key, last.seed, note)

    def _clone(self, history: History, best: Sequence[Key], until: int, note: Mapping[str, Any]) -> Job:
        """A new trial from a random donor's checkpoint, with the configuration that earned it, explored."""
        trial = history.next_trial
        rng = stream(self.seed, trial, "exploit")
        donor = best[int(rng.integers(len(best)))]
        config = self._explored(history.jobs[donor].config, rng)
        return Job(trial, config, until, donor, training_seed(self.seed, trial), note)

    def _explored(self, parent: Mapping[str, Any], rng: np.random.Generator) -> Config:
        for _ in range(TRIES):
            fresh = self.space.decode(self.space.domain.random(rng, 1)[0])
            values = {**{n: v for n, v in fresh.items() if n not in parent}, **self._perturbed(parent, fresh, rng)}
            child = self._completed(values)
            if child is not None and self.space.feasible(child):
                return child
        return dict(parent)

    def _completed(self, values: Mapping[str, Any]) -> Config | None:
        """The active part of the values; None if a newly active parameter has no value among them."""
        active = self.space.active(values)
        return {name: values[name] for name in active} if all(name in values for name in active) else None

    def _perturbed(self, parent: Mapping[str, Any], fresh: Config, rng: np.random.Generator) -> Config:
        names = self.explore if self.explore is not None else tuple(self.space.parameters)
        child = dict(parent)
        for name in names:
            spec = self.space.parameters[name]
            if name not in parent or isinstance(spec, Const):
                continue
            if rng.random() < self.resample and name in fresh:
                child[name] = fresh[name]
            elif isinstance(spec, Float | Int):
                child[name] = _scaled(spec, parent[name], self.factors[int(rng.integers(len(self.factors)))])
        return child

    def live(self, history: History) -> Sequence[Key]:
        """Every key of a generation in which some slot has not gone on; the most advanced first."""
        slots = history.fold(self.owner, self._begin)
        keys = [key for lineage in slots.lineages.values() for key in lineage[slots.slowest - 1 : self.generations - 1]]
        return sorted((k for k in keys if k in history.results and not history.failed(k)), key=lambda k: (-k[1], k[0]))

    def may_name(self, history: History, key: Key) -> bool:
        slots = history.fold(self.owner, self._begin)
        note = history.jobs[key].note if key in history.results and not history.failed(key) else {}
        return "slot" in note and slots.slowest <= note["generation"] < self.generations

    def released(self, history: History) -> Sequence[Key] | None:
        return history.settled(self.owner, self._begin).released


@dataclass
class Slots:
    """The fold of a population: every slot's keys by generation (a lineage may run over several trials), and what finished.

    ready      slots whose last key has finished and which have not gone on
    finished   by generation, the finished keys of the population
    slowest    the generation in which some slot still is; what is older was given up
    """

    population: int
    generations: int
    lineages: dict[int, list[Key]] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    finished: dict[int, list[Key]] = field(default_factory=lambda: defaultdict(list))
    slowest: int = 1
    released: list[Key] = field(default_factory=list)
    ranked: dict[int, list[Key]] = field(default_factory=dict)  # of `finished`, as far as it was asked for

    def copy(self) -> Slots:
        lineages = {slot: keys.copy() for slot, keys in self.lineages.items()}
        finished = defaultdict(list, {generation: keys.copy() for generation, keys in self.finished.items()})
        return Slots(
            self.population, self.generations, lineages, self.ready.copy(), finished, self.slowest, self.released.copy(),
            self.ranked.copy(),
        )  # fmt: skip

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            note = history.jobs[key].note
            if "slot" in note:
                self.finished[note["generation"]].append(key)
                self.ranked.pop(note["generation"], None)
                if self.lineages[note["slot"]][-1] == key and note["generation"] < self.generations:
                    self.ready.add(note["slot"])

    def enter(self, history: History, job: Job) -> None:
        if "slot" not in job.note or job.key in self.lineages.get(job.note["slot"], ())[-1:]:  # foreign, or again
            return
        self.lineages.setdefault(job.note["slot"], []).append(job.key)
        self.ready.discard(job.note["slot"])
        if len(self.lineages) < self.population:  # a slot that is filled later may still clone the first generation
            return
        slowest = min(map(len, self.lineages.values()))
        if slowest > self.slowest:
            self.released += [keys[self.slowest - 1] for keys in self.lineages.values()]
            self.slowest = slowest

    def ranking(self, history: History, generation: int) -> list[Key]:
        """The finished keys of a generation, best first."""
        if generation not in self.ranked:
            self.ranked[generation] = history.rank(self.finished[generation])
        return self.ranked[generation]


def _scaled(spec: Float | Int, value: float, factor: float) -> float | int:
    """A value times a factor, clipped to its range. A small integer moves by at least one step, and a number at zero, which
    no factor moves, as if it were a tenth of its range away from it."""
    scaled = value * factor
    if isinstance(spec, Float):
        if value == 0.0:
            scaled = (factor - 1.0) * ZERO * (spec.hi - spec.lo)
        return float(min(max(scaled, spec.lo), spec.hi))
    index, old = round((scaled - spec.lo) / spec.step), (int(value) - spec.lo) // spec.step
    if index == old:
        index += 1 if factor > 1 else -1
    return spec.lo + min(max(index, 0), spec.count - 1) * spec.step
