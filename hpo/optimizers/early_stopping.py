"""Early stopping at rungs: a trial that reaches a rung is judged there once, and goes on at once or never.

What MedianStopping, PercentileStopping, PatienceStopping and ASHAStopping share. They differ in where the rungs stand and in
one method, `is_promising`.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizers.resources import ResourceScheduler

Entry = tuple[tuple[float, ...], Key]  # losses and key: sorted, as `History.rank` has keys of one objective
Judge = Callable[[History, Key, Sequence[Entry]], bool]


class EarlyStopping(ResourceScheduler):
    """Trains fresh trials from rung to rung, and stops a trial at the first rung at which it is not promising.

    A rung is judged once: against what had finished there by the first start behind the trial's own finish. So a verdict
    never waits for other trials, and a stopped trial is not revived. A failed trial is stopped.
    """

    _judged: Sequence[int]  # the budgets at which trials are judged, rising, below the largest budget; `_arrange` sets it

    @abstractmethod
    def is_promising(self, history: History, key: Key, members: Sequence[Entry]) -> bool:
        """Whether a trial that has succeeded at a rung goes on.

        members: (losses, key) of all that has finished there, this key and failures included, sorted
        """

    def propose(self, history: History) -> Job | None:
        verdicts = history.fold(self.owner, self._begin)
        for until in reversed(self._judged):  # the most advanced first
            if verdicts.waiting[until]:
                return self.resume(history, verdicts.waiting[until][0][0], self._next_budget(until))
        return self.sampler.fresh(history, self._next_budget(0), {"rung": 0})

    def _next_budget(self, until: int) -> int:
        return next((rung for rung in self._judged if rung > until), self.horizon)

    def _begin(self) -> Verdicts:
        return Verdicts(self.is_promising, {until: [] for until in self._judged}, {until: [] for until in self._judged})

    def live(self, history: History) -> Sequence[Key]:
        """Trials that passed and wait for a worker, then trials not yet judged: another finish may still save them."""
        waiting = history.fold(self.owner, self._begin).waiting
        passed = [key for until in reversed(self._judged) for key in waiting[until]]
        open_ = [key for until in reversed(self._judged) for key in history.at(until) if self._is_undecided(history, key)]
        return list(dict.fromkeys([*passed, *open_]))

    def _is_undecided(self, history: History, key: Key) -> bool:
        own = "rung" in history.jobs[key].note.member and not history.is_failure(key)
        return own and history.epoch(key) == history.starts and history.trials[key[0]][-1] == key

    def may_name(self, history: History, key: Key) -> bool:
        if key[1] not in self._judged or key not in history.results:
            return False
        waiting = history.fold(self.owner, self._begin).waiting[key[1]]
        at = bisect_left(waiting, key)
        return waiting[at : at + 1] == [key] or self._is_undecided(history, key)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return history.fold_at_start(self.owner, self._begin).stopped


@dataclass
class Verdicts:
    """The fold of early stopping: which trials finished each rung, wait there to continue, or were stopped."""

    judge: Judge
    members: dict[int, list[Entry]]  # by budget, sorted by losses, then key
    waiting: dict[int, list[Key]]  # by budget, sorted
    stopped: list[Key] = field(default_factory=list)

    def copy(self) -> Verdicts:
        members = {until: entries.copy() for until, entries in self.members.items()}
        waiting = {until: keys.copy() for until, keys in self.waiting.items()}
        return Verdicts(self.judge, members, waiting, self.stopped.copy())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        """Trials that finished together are judged together, each against all the others."""
        mine = [key for key in keys if key[1] in self.members and key[0] not in history.added]
        for key in mine:
            insort(self.members[key[1]], (history.losses(key), key))
        for key in mine:
            if "rung" in history.jobs[key].note.member:
                if not history.is_failure(key) and self.judge(history, key, self.members[key[1]]):
                    insort(self.waiting[key[1]], key)
                else:
                    self.stopped.append(key)

    def enter(self, history: History, job: Job) -> None:
        if job.source is not None and job.source in self.waiting.get(job.source[1], ()):
            self.waiting[job.source[1]].remove(job.source)


def check_rungs(rungs: object, top: int) -> tuple[int, ...]:
    """Rungs that a person lists, as far as trials are judged there: those below the largest budget.

    TypeError or ValueError in one sentence if they do not rise from 1 to at most the largest budget.
    """
    if not isinstance(rungs, list | tuple):
        raise TypeError(f"rungs is {rungs!r}; allowed is a list of integers of at least 1 in rising order")
    if any(type(r) is not int or r < 1 for r in rungs) or list(rungs) != sorted(set(rungs)):
        raise ValueError(f"rungs is {list(rungs)}; allowed are integers of at least 1 in rising order")
    if type(top) is not int or top < 1:
        raise ValueError(f"max_resource is {top!r}; allowed is an integer of at least 1")
    if rungs and rungs[-1] > top:
        raise ValueError(f"the last rung {rungs[-1]} is above max_resource {top}")
    return tuple(rung for rung in rungs if rung < top)


def last_rung(rungs: object) -> int:
    """The highest of the rungs that a person lists; 1 where they are none, which `check_rungs` refuses."""
    return rungs[-1] if isinstance(rungs, list | tuple) and rungs and type(rungs[-1]) is int and rungs[-1] > 0 else 1


def place_of(history: History, key: Key, members: Sequence[Entry]) -> int:
    """How many members come before a key: those of a lower loss; of several objectives by the history's ranking."""
    if len(history.header.objectives) > 1:
        return history.rank(other for _, other in members).index(key)
    return bisect_left(members, (history.losses(key),))  # type: ignore[misc]
