"""The slots of a population, folded from the history: which trial stands in which generation, and which generations are over."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.history import History
from hpo.job import Job, Key


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
    ranked: dict[int, list[Key]] = field(default_factory=dict)  # by generation, as far as it was asked for
    judged: dict[int, tuple[list[Key], set[Key]]] = field(default_factory=dict)  # likewise

    def copy(self) -> Slots:
        ready = {generation: slots.copy() for generation, slots in self.ready.items()}
        finished = defaultdict(list, {generation: keys.copy() for generation, keys in self.finished.items()})
        return Slots(
            self.population, self.generations, self.keys.copy(), self.length.copy(), self.at.copy(), ready, finished,
            self.slowest, self.vacant, self.released.copy(), self.ranked.copy(), self.judged.copy(),
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
            self.ranked.pop(generation, None)
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

    def order(self, history: History, generation: int) -> list[Key]:
        """What has finished a generation, the best first, failures last."""
        if generation not in self.ranked:
            self.ranked[generation] = history.rank(self.finished[generation])
        return self.ranked[generation]

    def judge(self, history: History, generation: int, truncation: float) -> tuple[list[Key], set[Key]]:
        """The best fraction of what has finished a generation, as far as it succeeded, and the worst."""
        if generation not in self.judged:
            ranked = self.order(history, generation)
            count = min(math.ceil(truncation * len(ranked) - 1e-9), len(ranked) // 2)
            best = [key for key in ranked[: max(count, 1)] if not history.is_failure(key)]
            self.judged[generation] = best, set(ranked[len(ranked) - count :])
        return self.judged[generation]
