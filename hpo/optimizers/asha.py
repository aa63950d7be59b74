"""ASHA: asynchronous successive halving (Li et al. 2020, Algorithm 2, the promotion variant)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Scheduler
from hpo.optimizers.halving import ascending, check_rate, check_resources, levels


@dataclass(eq=False)
class ASHA(Scheduler):
    """Promotes whenever somebody is in the best 1/eta of a rung, and starts a fresh trial otherwise; nobody waits.

    Rungs stand at min_resource * eta^(s + k), with max_resource as the last; s = min_early_stopping_rate.
    """

    min_resource: int = 1
    max_resource: int = 81
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resources(self.min_resource, self.max_resource, self.reduction_factor)
        resources = self.min_resource, self.max_resource, self.reduction_factor
        check_rate(self.min_early_stopping_rate, levels(*resources))
        self.rungs = ascending(*resources, self.min_early_stopping_rate)

    @property
    def horizon(self) -> int:
        return self.max_resource

    def propose(self, history: History) -> Job | None:
        for k in range(len(self.rungs) - 2, -1, -1):  # from the top: what is nearest to the end goes first
            candidates = self._promotable(history, k)
            if candidates:
                return self.resume(history, candidates[0][0], self.rungs[k + 1])
        return self.sampler.fresh(history, self.rungs[0], {"rung": 0})

    def _members(self, history: History, rung: int) -> list[Key]:
        """Own trials that finished a rung; foreign ones have no `rung` in their note."""
        return [key for key in history.at(self.rungs[rung]) if "rung" in history.jobs[key].note]

    def _promotable(self, history: History, rung: int) -> list[Key]:
        """Successes in the best 1/eta of a rung that are not above it yet, best first."""
        ranked = history.rank(self._members(history, rung))
        top = ranked[: math.floor(len(ranked) / self.reduction_factor + 1e-9)]
        following = self.rungs[rung + 1]
        return [key for key in top if (key[0], following) not in history.jobs and not history.failed(key)]

    def live(self, history: History) -> Sequence[Key]:
        """Everything below the top that has not gone on: a growing rung may still promote it. The best first."""
        found: list[Key] = []
        for rung in range(len(self.rungs) - 2, -1, -1):
            keys = [k for k in self._members(history, rung) if (k[0], self.rungs[rung + 1]) not in history.jobs]
            found += [key for key in history.rank(keys) if not history.failed(key)]
        return found
