"""Deleting checkpoints: when they are of no use any more, and when every driver that lives has read that they are not; and where
they take more of the disk than they may (disk.py)."""

from __future__ import annotations

from hpo.disk import DiskBudget
from hpo.executors import Executor
from hpo.executors.base import Kept, Measuring
from hpo.job import Key
from hpo.leases import Leases
from hpo.study import Study


class Files:
    """What one driver deletes.

    A proposal that another driver is computing may still name a checkpoint that died by an event which this proposal has not
    read. So while others live, dead checkpoints wait until all have read on.
    """

    def __init__(self, study: Study, executor: Executor, leases: Leases, budget: DiskBudget | None = None) -> None:
        self.study, self.executor, self.leases, self.budget = study, executor, leases, budget
        self._postponed: dict[Key, int] = {}  # dead checkpoints, by how many events stood when they were found dead

    def release(self) -> None:
        """After a finish: deletes what has become useless, now or once the others have read it, and what there is no room for."""
        dead = self.study.release()
        if self.leases.list_living():
            self._postponed.update(dict.fromkeys(dead, len(self.study.history)))
            self.clear_postponed()
        else:
            self._drop([*dead, *self._postponed])
            self._postponed.clear()
        self._trim()

    def clear_postponed(self) -> None:
        """Deletes what every driver knows to be dead, unless a job has come to start from it meanwhile."""
        read = self.leases.read_by_all() if self._postponed else 0
        found = [key for key, count in self._postponed.items() if count <= read]
        self._drop([key for key in found if self.study.is_dead(key)])
        for key in found:
            del self._postponed[key]

    def _drop(self, keys: list[Key]) -> None:
        self.executor.drop(keys)
        for key in keys:
            for attempt in range(1, self.study.history.attempt(key) + 1):
                self.executor.refuse(key, attempt)

    def _trim(self) -> None:
        if self.budget is not None and isinstance(self.executor, Measuring):
            if not self.leases.list_living():
                self.budget.claim()
            self.executor.trim(self.budget.choose)

    def clear(self) -> None:
        """Looks through the whole folder, and deletes all that is of no use. Nothing happens while other drivers live: each
        deletes what it finds dead, and the last one looks through the folder."""
        self.executor.keep(self._list_kept)
        self._trim()

    def _list_kept(self) -> Kept | None:
        """What stays, by all that is told by now: a checkpoint that stands already is one of a job whose start can be read."""
        history = self.study.history
        history.refresh()
        if self.leases.list_living(anew=True):
            return None
        attempts, results = history.attempts, history.results
        return {key: attempts.accepted_attempt(key) if key in results else None for key in self.study.keep()}

    def refuse(self, key: Key, attempt: int) -> None:
        """Deletes what an attempt left whose result came too late, unless its file is the one that stands."""
        history = self.study.history
        if key in history.results and history.attempts.accepted_attempt(key) != attempt:
            self.executor.refuse(key, attempt)
