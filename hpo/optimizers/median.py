"""A median stopping rule at given rungs.

A simplification of Golovin et al. 2017 (Vizier, section 3.2.2), who compare a trial's best so far with the median of the
others' running averages: here both are the losses at the rung, so that only their order matters.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Scheduler


@dataclass(eq=False)
class MedianStopping(Scheduler):
    """A trial goes on from a rung unless it is worse than the median of the trials that were there before.

    A rung is judged once: against what had finished there by the first start behind the trial's own finish. The first
    `grace_trials` at a rung go on unjudged. With several objectives "worse" is a worse place in the history's ranking.
    """

    rungs: Sequence[int] = (1, 3, 9, 27)
    max_resource: int = 81
    grace_trials: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rungs, list | tuple):
            raise TypeError(f"rungs is {self.rungs!r}; allowed is a list of integers of at least 1 in rising order")
        self.rungs = tuple(self.rungs)
        if any(type(r) is not int or r < 1 for r in self.rungs) or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs is {list(self.rungs)}; allowed are integers of at least 1 in rising order")
        if self.rungs and self.rungs[-1] >= self.max_resource:
            raise ValueError(f"the last rung {self.rungs[-1]} must be below max_resource {self.max_resource}")
        if type(self.grace_trials) is not int or self.grace_trials < 1:
            raise ValueError(f"grace_trials is {self.grace_trials!r}; allowed is an integer of at least 1")

    @property
    def horizon(self) -> int:
        return self.max_resource

    def propose(self, history: History) -> Job | None:
        verdicts = history.fold(self.owner, self._begin)
        for until in reversed(self.rungs):  # the most advanced first
            if verdicts.waiting[until]:
                return self.resume(history, verdicts.waiting[until][0][0], self._next_budget(until))
        return self.sampler.fresh(history, self._next_budget(0), {"rung": 0})

    def _next_budget(self, until: int) -> int:
        return next((rung for rung in self.rungs if rung > until), self.max_resource)

    def _begin(self) -> Verdicts:
        return Verdicts(self.grace_trials, {until: [] for until in self.rungs}, {until: [] for until in self.rungs})

    def live(self, history: History) -> Sequence[Key]:
        """Trials that passed and wait for a worker, then trials not yet judged: another finish may still save them."""
        waiting = history.fold(self.owner, self._begin).waiting
        passed = [key for until in reversed(self.rungs) for key in waiting[until]]
        open_ = [key for until in reversed(self.rungs) for key in history.at(until) if self._is_undecided(history, key)]
        return list(dict.fromkeys([*passed, *open_]))

    def _is_undecided(self, history: History, key: Key) -> bool:
        own = "rung" in history.jobs[key].note.member and not history.is_failure(key)
        return own and history.epoch(key) == history.starts and history.trials[key[0]][-1] == key

    def may_name(self, history: History, key: Key) -> bool:
        if key[1] not in self.rungs or key not in history.results:
            return False
        waiting = history.fold(self.owner, self._begin).waiting[key[1]]
        at = bisect_left(waiting, key)
        return waiting[at : at + 1] == [key] or self._is_undecided(history, key)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return history.fold_at_start(self.owner, self._begin).stopped


@dataclass
class Verdicts:
    """The fold of a median rule: which trials finished each rung, wait there to continue, or were stopped."""

    grace_trials: int
    members: dict[int, list[tuple[tuple[float, ...], Key]]]  # by budget, sorted by losses, then key
    waiting: dict[int, list[Key]]  # by budget, sorted
    stopped: list[Key] = field(default_factory=list)

    def copy(self) -> Verdicts:
        members = {until: entries.copy() for until, entries in self.members.items()}
        waiting = {until: keys.copy() for until, keys in self.waiting.items()}
        return Verdicts(self.grace_trials, members, waiting, self.stopped.copy())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        """Trials that finished together are judged together, each against all the others."""
        mine = [key for key in keys if key[1] in self.members and key[0] not in history.added]
        for key in mine:
            insort(self.members[key[1]], (history.losses(key), key))
        for key in mine:
            if "rung" in history.jobs[key].note.member:
                if self._passes(history, key):
                    insort(self.waiting[key[1]], key)
                else:
                    self.stopped.append(key)

    def enter(self, history: History, job: Job) -> None:
        if job.source is not None and job.source in self.waiting.get(job.source[1], ()):
            self.waiting[job.source[1]].remove(job.source)

    def _passes(self, history: History, key: Key) -> bool:
        members = self.members[key[1]]
        others = len(members) - 1
        if history.is_failure(key):
            return False
        if others < self.grace_trials:
            return True
        if len(history.header.objectives) > 1:
            return history.rank(key for _, key in members).index(key) <= others / 2
        mine = (history.losses(key), key)
        at = bisect_left(members, mine)
        middle = [members[i if i < at else i + 1][0][0] for i in ((others - 1) // 2, others // 2)]
        return mine[0][0] <= statistics.median(middle)
