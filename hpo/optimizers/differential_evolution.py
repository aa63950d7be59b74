"""Differential evolution (Storn and Price 1997), slot by slot, over any space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Draft
from hpo.optimizers.drafting import BudgetSampler
from hpo.optimizers.operators import cross_binomially, reflect, to_unit
from hpo.optimizers.proposals import find_new
from hpo.rng import stream
from hpo.values import is_finite

RECORD = "slot"
STRATEGIES = ("rand/1/bin", "current-to-best/1/bin")
BELOW_ONE = np.nextafter(1.0, 0.0)  # positions that `Domain.from_unit` reads are below 1, as uniforms are


@dataclass(eq=False)
class DifferentialEvolution(BudgetSampler):
    """Every slot holds one configuration, and keeps the better of it and its trial.

    With x the slot's, a, b, c those of three others, and the best of all, a trial is, in the unit cube (numbers on the scale
    that is searched, choices and integers by shares of [0, 1], as in DEHB):

        rand/1/bin               v = a + mutation (b - c)
        current-to-best/1/bin    v = x + mutation (best - x) + mutation (a - b)

    A column beyond the cube is reflected at its wall. Each column comes from v with probability `crossover`, one at least, else
    from x. What was tried before is drawn again. A slot whose trial is in flight is passed over, and the least advanced is
    served first; when all are in flight, or fewer than three others hold anything, configurations are random. Selection happens
    slot by slot, so no slot waits for another: with one worker this is the asynchronous form that SciPy calls "immediate".

        study = hpo.minimize(lambda config: (config["x"] - 0.3) ** 2, {"x": (0.0, 1.0)}, "de", 100, quiet=True)
        print(study.best.config)
    """

    population: int = 20
    mutation: float = 0.5
    crossover: float = 0.9
    strategy: str = "rand/1/bin"

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.population) is not int or self.population < 4:
            raise ValueError(f"population is {self.population!r}; allowed is an integer of at least 4")
        for name, most in (("mutation", 2.0), ("crossover", 1.0)):
            if not is_finite(getattr(self, name)) or not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to {most:g}")
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is {self.strategy!r}; allowed are {', '.join(STRATEGIES)}")

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        slots = history.fold(self.owner, partial(SlotPopulations, self.population)).of(until)
        rng, slot = stream(self.seed, trial, "differential evolution"), slots.free_slot()
        target = None if slot is None else slots.individuals[slot]
        others = [key for place, key in enumerate(slots.individuals) if key is not None and place != slot]
        if target is None or len(others) < 3:
            row = find_new(history, self.space, rng)
        else:
            best = history.rank([target, *others])[0]
            row = find_new(history, self.space, rng, lambda: self.child(history, target, others, best, rng))
        return Draft(self.space.decode(row), record={} if slot is None else {RECORD: {"budget": until, "place": slot}})

    def child(self, history: History, target: Key, others: Sequence[Key], best: Key, rng: np.random.Generator) -> np.ndarray:
        """(d,) a trial row for the slot of `target`; it need not be feasible."""
        chosen = [others[i] for i in rng.choice(len(others), 3, replace=False)]
        x, top, a, b, c = (self._unit(history, key, rng) for key in (target, best, *chosen))
        mutant = a + self.mutation * (b - c) if self.strategy == "rand/1/bin" else x + self.mutation * (top - x + a - b)
        inside = np.minimum(reflect(mutant), BELOW_ONE)
        return np.asarray(self.space.domain.from_unit(cross_binomially(x, inside, self.crossover, rng)[None])[0])

    def _unit(self, history: History, key: Key, rng: np.random.Generator) -> np.ndarray:
        return to_unit(self.space.domain, self.space.encode(history.jobs[key].config), rng)


@dataclass(frozen=True)
class Population:
    """The slots of one first budget: what each holds, what is in flight for it, and how many trials it has had."""

    individuals: tuple[Key | None, ...]
    flying: tuple[Key | None, ...]
    trials: tuple[int, ...]

    def free_slot(self) -> int | None:
        """The least advanced slot without a trial in flight, the first of equals."""
        free = [place for place, key in enumerate(self.flying) if key is None]
        return min(free, key=lambda place: (self.trials[place], place), default=None)


@dataclass
class SlotPopulations:
    """The fold: a population a first budget."""

    size: int
    populations: dict[int, Population] = field(default_factory=dict)

    def copy(self) -> SlotPopulations:
        return SlotPopulations(self.size, self.populations.copy())

    def of(self, until: int) -> Population:
        empty = Population((None,) * self.size, (None,) * self.size, (0,) * self.size)
        return self.populations.get(until, empty)

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            record = history.jobs[key].note.record.get(RECORD)
            if record is None or record["budget"] != key[1]:
                continue
            slots, place = self.of(key[1]), record["place"]
            if slots.flying[place] != key:
                continue
            held = slots.individuals[place]
            if not history.is_failure(key) and (held is None or is_no_worse(history, key, held)):
                slots = replace(slots, individuals=_put(slots.individuals, place, key))
            self.populations[key[1]] = replace(slots, flying=_put(slots.flying, place, None))

    def enter(self, history: History, job: Job) -> None:
        record = job.note.record.get(RECORD)
        if record is None or record["budget"] != job.until:
            return
        slots, place = self.of(job.until), record["place"]
        if slots.flying[place] is None:  # else it was lost and starts again, or of two drivers' trials it is the second
            trials = (*slots.trials[:place], slots.trials[place] + 1, *slots.trials[place + 1 :])
            self.populations[job.until] = replace(slots, flying=_put(slots.flying, place, job.key), trials=trials)


def is_no_worse(history: History, key: Key, other: Key) -> bool:
    """Whether a result is as good as another one; of several objectives, whether the other does not dominate it, and
    history.rank does not prefer it."""
    mine, its = history.losses(key), history.losses(other)
    return mine <= its if len(mine) == 1 else history.rank([key, other])[0] == key


def _put(values: tuple[Key | None, ...], place: int, value: Key | None) -> tuple[Key | None, ...]:
    return (*values[:place], value, *values[place + 1 :])
