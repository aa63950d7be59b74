"""Population-based training (Jaderberg et al. 2017): truncation selection, perturb and resample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Scheduler
from hpo.parameters import Const, Float, Int
from hpo.rng import stream, training_seed
from hpo.space import Config

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
        slots = self._slots(history)
        for slot in range(self.population):
            if slot not in slots:
                job = self.sampler.fresh(history, self.budget(1), {"slot": slot, "generation": 1})
                if job is not None:
                    return job
                break  # the sampler has run dry, and the population is as large as it gets
        # serve the least advanced slot: one worker then walks generation by generation, as eight do
        for slot in sorted(slots, key=lambda s: (len(slots[s]), s)):
            lineage = slots[slot]
            if len(lineage) < self.generations and lineage[-1] in history.results:
                job = self._following(history, slots, slot)
                if job is not None:
                    return job
        return None

    def _slots(self, history: History) -> dict[int, list[Key]]:
        """The keys of every slot by generation: a lineage may run over several trials."""
        found: dict[int, dict[int, Key]] = {}
        for key, job in history.jobs.items():
            if "slot" in job.note and job.trial not in history.added:
                found.setdefault(job.note["slot"], {})[job.note["generation"]] = key
        return {slot: [keys[g] for g in sorted(keys)] for slot, keys in found.items()}

    def _following(self, history: History, slots: Mapping[int, list[Key]], slot: int) -> Job | None:
        """The slot's next generation, or None while too little of its population has finished this one."""
        generation = len(slots[slot])
        peers = [s[generation - 1] for s in slots.values() if len(s) >= generation]
        done = [key for key in peers if key in history.results]
        if len(done) < math.ceil(self.quorum * len(slots) - 1e-9):
            return None
        mine = slots[slot][-1]
        ranked = history.rank(done)
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
        slots = self._slots(history)
        if not slots:
            return ()
        slowest = min(len(lineage) for lineage in slots.values())
        keys = [key for lineage in slots.values() for key in lineage[slowest - 1 : self.generations - 1]]
        return sorted((k for k in keys if k in history.results and not history.failed(k)), key=lambda k: (-k[1], k[0]))


def _scaled(spec: Float | Int, value: float, factor: float) -> float | int:
    """A value times a factor, clipped to its range; a small integer moves by at least one step."""
    scaled = value * factor
    if isinstance(spec, Float):
        return float(min(max(scaled, spec.lo), spec.hi))
    index, old = round((scaled - spec.lo) / spec.step), (int(value) - spec.lo) // spec.step
    if index == old:
        index += 1 if factor > 1 else -1
    return spec.lo + min(max(index, 0), spec.count - 1) * spec.step
