"""Which hyperparameters may change during training: a few clones are tried out before a study's header is written.

A Run factory need not say which hyperparameters are its model's shape. So its runs are asked, by the executor that will train
them: a random configuration is trained for one unit of the budget; then for each hyperparameter clones of it are made in which
this one alone is different: a number at either end of its range, a choice as each of the others. A clone loads (or adopts) the
checkpoint, trains one unit more and saves, as every clone of the study will. Where one raises, its configuration is trained
from nothing: if that succeeds, the hyperparameter is the shape's and may not change; if that fails too, the configuration is to
blame, and another pair is tried, in which a number is nearer. Metrics are not looked at: a clone that loads and learns nothing
counts as one that works. What no pair could show may not change either.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.executors import Executor, Lost
from hpo.frames import stack_level
from hpo.job import Job, Key
from hpo.parameters import Categorical, Parameter
from hpo.rng import stream, training_seed
from hpo.space import Config, Space

ROUNDS = 3  # donors that a hyperparameter may have before it counts as one that must not change
TRIES = 100  # random configurations among which a donor, or the rest of a changed configuration, is looked for
POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a number's range


def list_changeable(
    space: Space, executor: Executor, names: Sequence[str], ends: Sequence[tuple[int, int]], seed: int
) -> list[str] | None:
    """Those of the hyperparameters whose clones load and train; None if no configuration could be trained at all.

    ends: (until, next until) of donors and of their clones, tried in this order if a donor fails; the last as often as needed
    """
    rehearsal, found = Rehearsal(executor, seed), dict[str, bool]()
    for number in range(ROUNDS):
        left = [name for name in names if name not in found]
        pairs = list(draw_pairs(space, left, stream(seed, number, "shape"), number / (ROUNDS - 1)))
        found |= rehearsal.judge(pairs, *ends[min(number, len(ends) - 1)])
    return [name for name in names if found.get(name)] if rehearsal.succeeded or not rehearsal.count else None


def warn_of_silence(optimizer: str) -> None:
    """Warns that a run could not be asked."""
    warnings.warn(f"{optimizer} could not find out what may change during training, since no configuration could be trained; it "
                  f"explores everything; the objective's attribute `explore` would say it", stacklevel=stack_level())  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A configuration, and another one that differs in the hyperparameter `name` and what depends on it."""

    name: str
    donor: Config
    clone: Config


def draw_pairs(space: Space, names: Iterable[str], rng: np.random.Generator, near: float = 0.0) -> Iterator[Pair]:
    """All changes of each hyperparameter, from as few donors as have them active. near: as in `list_others`."""
    donors: list[Config] = []
    for name in names:
        fresh = (space.decode(space.domain.random(rng, 1)[0]) for _ in range(TRIES))
        for place, donor in enumerate([*donors, *fresh]):
            clones = list(list_clones(space, donor, name, rng, near)) if name in donor else []
            if clones:
                if place >= len(donors):
                    donors.append(donor)
                yield from (Pair(name, donor, clone) for clone in clones)
                break


def list_clones(
    space: Space, donor: Mapping[str, Any], name: str, rng: np.random.Generator, near: float = 0.0
) -> Iterator[Config]:
    """Feasible configurations that differ from the donor in one hyperparameter: for a number a lower and a higher one, for a
    choice each other."""
    for values in list_others(space.parameters[name], donor[name], near):
        found = (fill_feasibly(space, {**donor, name: value}, rng) for value in values)
        clone = next((config for config in found if config is not None), None)
        if clone is not None:
            yield clone


def fill_feasibly(space: Space, values: Mapping[str, Any], rng: np.random.Generator) -> Config | None:
    """The active ones of these values, with random ones where a change has made others active; None if none is feasible."""
    for _ in range(TRIES):
        whole = {**space.decode(space.domain.random(rng, 1)[0]), **values}
        active = space.active(whole)
        config = {name: whole[name] for name in active if name in whole}
        if len(config) == len(active) and space.is_feasible(config):
            return config
        if all(name in values for name in active):
            return None  # nothing in it is random
    return None


def list_others(spec: Parameter, value: Any, near: float = 0.0) -> list[list[Any]]:
    """Other values of a hyperparameter, of each list the first that will do: of a choice each other one; of a number those below
    and those above, first the farthest at near = 0 and the nearest at near = 1."""
    if isinstance(spec, Categorical):
        return [[spec.decode(float(place))] for place in range(spec.size) if place != round(spec.encode(value))]
    others = list(dict.fromkeys(spec.decode(u) for u in POSITIONS))  # in rising order
    sides = [[other for other in others if other < value], [other for other in reversed(others) if other > value]]
    firsts = [round(near * (len(side) - 1)) for side in sides]
    return [side[first:] + side[:first] for side, first in zip(sides, firsts, strict=True) if side]


class Rehearsal:
    """Trains configurations and clones of them on an executor, and keeps which have succeeded."""

    def __init__(self, executor: Executor, seed: int) -> None:
        self.executor, self.seed = executor, seed
        self.count = 0  # of trainings
        self.succeeded: set[Key] = set()

    def judge(self, pairs: Sequence[Pair], until: int, later: int) -> dict[str, bool]:
        """By name, whether all clones of a hyperparameter work; nothing of one about which nothing was learned."""
        donors = list({id(pair.donor): pair.donor for pair in pairs}.values())
        sources = dict(zip(map(id, donors), self.train(donors, until), strict=True))
        asked = [pair for pair in pairs if sources[id(pair.donor)] in self.succeeded]
        keys = self.train([pair.clone for pair in asked], later, [sources[id(pair.donor)] for pair in asked])
        failed = [pair for pair, key in zip(asked, keys, strict=True) if key not in self.succeeded]
        alone = self.train([pair.clone for pair in failed], later)
        found = {pair.name: True for pair, key in zip(asked, keys, strict=True) if key in self.succeeded}
        return found | {pair.name: False for pair, key in zip(failed, alone, strict=True) if key in self.succeeded}

    def train(self, configs: Sequence[Config], until: int, sources: Sequence[Key] | None = None) -> list[Key]:
        """Trains all of them, each as a trial of its own; their keys."""
        jobs = []
        for place, config in enumerate(configs):
            source = None if sources is None else sources[place]
            jobs.append(Job(self.count, config, until, source, training_seed(self.seed, self.count)))
            self.count += 1
        waiting, running = list(jobs), 0
        while waiting or running:
            while waiting and self.executor.free > 0:
                self.executor.submit(waiting.pop(0))
                running += 1
            outcome = self.executor.wait()
            assert outcome is not None  # without a timeout there is one
            running -= 1
            if not isinstance(outcome[1], Lost) and outcome[1].error is None:
                self.succeeded.add(outcome[0].key)
        return [job.key for job in jobs]
