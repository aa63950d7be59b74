"""ASHA: asynchronous successive halving (Li et al. 2020, Algorithm 2, the promotion variant)."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizers.resources import ResourceScheduler
from hpo.optimizers.rungs import asha_rungs, least_of


@dataclass(eq=False)
class ASHA(ResourceScheduler):
    """Promotes a trial whenever one is in the best 1/eta of a rung, and starts a fresh trial otherwise; no job waits.

    Rungs stand at min_resource * eta^(s + k), with max_resource as the last; s = min_early_stopping_rate.
    """

    min_resource: int = 1
    max_resource: int | None = None
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0

    @property
    def _least(self) -> int:
        return least_of(self.min_resource)

    def _arrange(self, top: int) -> None:
        self.rungs = asha_rungs(self.min_resource, top, self.reduction_factor, self.min_early_stopping_rate)

    def propose(self, history: History) -> Job | None:
        rungs = history.fold(self.owner, self._begin).rungs
        for k in range(len(self.rungs) - 2, -1, -1):  # from the top: what is nearest to the end goes first
            best = rungs[k].find_promotable(history, self.reduction_factor)
            if best is not None:
                return self.resume(history, best[0], self.rungs[k + 1])
        return self.sampler.fresh(history, self.rungs[0], {"rung": 0})

    def _begin(self) -> Ladder:
        return Ladder({until: k for k, until in enumerate(self.rungs)}, [Rung() for _ in self.rungs])

    def live(self, history: History) -> Sequence[Key]:
        """Every trial below the top that was not promoted, best first: it may still be, when its rung grows."""
        rungs = history.fold(self.owner, self._begin).rungs[:-1]
        return [key for rung in reversed(rungs) for key in history.rank(key for _, key in rung.open)]

    def may_name(self, history: History, key: Key) -> bool:
        if key[1] not in self.rungs[:-1] or key not in history.results or "rung" not in history.jobs[key].note.member:
            return False
        return not history.is_failure(key) and history.trials[key[0]][-1] == key

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return ()  # what is below the top stays live until it is promoted


Entry = tuple[tuple[float, ...], Key]  # losses and key: sorted, as `History.rank` has keys of one objective


@dataclass
class Rung:
    """Own trials that finished a rung, and those of them that neither failed nor were promoted; both sorted."""

    members: list[Entry] = field(default_factory=list)
    open: list[Entry] = field(default_factory=list)

    def find_promotable(self, history: History, eta: float) -> Key | None:
        """The best trial that was not promoted yet, if it is among the best 1/eta of the rung."""
        top = math.floor(len(self.members) / eta + 1e-9)
        if not self.open or not top:
            return None
        if len(history.header.objectives) == 1:
            return self.open[0][1] if bisect_left(self.members, self.open[0]) < top else None
        waiting = {key for _, key in self.open}
        return next((key for key in history.rank(key for _, key in self.members)[:top] if key in waiting), None)


@dataclass
class Ladder:
    """The fold of an ASHA: its rungs, by budget."""

    levels: dict[int, int]
    rungs: list[Rung]

    def copy(self) -> Ladder:
        return Ladder(self.levels, [Rung(rung.members.copy(), rung.open.copy()) for rung in self.rungs])

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            if key[1] in self.levels and "rung" in history.jobs[key].note.member:  # foreign trials have none
                rung, entry = self.rungs[self.levels[key[1]]], (history.losses(key), key)
                insort(rung.members, entry)
                if not history.is_failure(key):
                    insort(rung.open, entry)

    def enter(self, history: History, job: Job) -> None:
        if job.source is None or job.source[1] not in self.levels:  # finals take a trial on without a rung in their note
            return
        open_ = self.rungs[self.levels[job.source[1]]].open
        at = bisect_left(open_, (history.losses(job.source), job.source))
        if at < len(open_) and open_[at][1] == job.source:
            del open_[at]
