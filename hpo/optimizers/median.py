"""A median stopping rule at given rungs.

A simplification of Golovin et al. 2017 (Vizier, section 3.2.2), who compare a trial's best so far with the median of the
others' running averages: here both are the losses at the rung, so that only their order matters.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

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
        self.rungs = tuple(self.rungs)
        if any(not isinstance(r, int) or r < 1 for r in self.rungs) or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs is {list(self.rungs)}; allowed are integers of at least 1 in rising order")
        if self.rungs and self.rungs[-1] >= self.max_resource:
            raise ValueError(f"the last rung {self.rungs[-1]} must be below max_resource {self.max_resource}")
        if self.grace_trials < 1:
            raise ValueError(f"grace_trials is {self.grace_trials!r}; allowed is an integer of at least 1")

    @property
    def horizon(self) -> int:
        return self.max_resource

    def propose(self, history: History) -> Job | None:
        waiting = self._waiting(history)
        if waiting:
            trial, until = waiting[0]
            return self.resume(history, trial, self._following(until))
        return self.sampler.fresh(history, self._following(0), {"rung": 0})

    def _following(self, until: int) -> int:
        return next((rung for rung in self.rungs if rung > until), self.max_resource)

    def _waiting(self, history: History) -> list[Key]:
        """Last keys of trials that passed their rung and have not gone on, the most advanced first."""
        found: list[Key] = []
        for until in reversed(self.rungs):
            for key in history.at(until):
                if (
                    "rung" in history.jobs[key].note
                    and history.trials[key[0]][-1] == key
                    and self._passes(history, key)
                ):
                    found.append(key)
        return found

    def _passes(self, history: History, key: Key) -> bool:
        if history.failed(key):
            return False
        epoch = history.epoch(key)
        others = [k for k in history.at(key[1]) if k != key and history.epoch(k) <= epoch and k[0] not in history.added]
        if len(others) < self.grace_trials:
            return True
        if len(history.header.objectives) == 1:
            return history.losses(key)[0] <= statistics.median(history.losses(k)[0] for k in others)
        ranked = history.rank([*others, key])
        return ranked.index(key) <= len(others) / 2

    def live(self, history: History) -> Sequence[Key]:
        """What passed and waits for a worker; then what no start has judged for good, for a finish may still save it."""
        open_ = [
            key
            for until in reversed(self.rungs)
            for key in history.at(until)
            if "rung" in history.jobs[key].note
            and history.trials[key[0]][-1] == key
            and history.epoch(key) == history.starts
            and not history.failed(key)
        ]
        return list(dict.fromkeys([*self._waiting(history), *open_]))
