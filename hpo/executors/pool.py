"""The driver's side of every executor with workers elsewhere: which jobs are out, and which checkpoints and Runs are kept."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from hpo.executors.base import Choose, Kept
from hpo.executors.remote import open_checkpoints
from hpo.job import Job, Key
from hpo.objective import Objective, kind
from hpo.values import duration


class UnguardedScript(RuntimeError, SystemExit):
    """A script that opens a pool when it is only imported. Where nobody catches it, its sentence is all that is printed."""

    unguarded = True

    def __init__(self) -> None:
        super().__init__(
            "a worker imports the script it is started from, so a script that uses processes must guard its main part with "
            'if __name__ == "__main__"'
        )
        self.code = str(self)


def refuse_unguarded() -> None:
    """Raises UnguardedScript where this process is a worker that imports its main module."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UnguardedScript


class Member(Protocol):
    """A worker from the driver's side."""

    ready: bool  # whether it can be given a job
    job: Job | None  # the one that it has
    holds: dict[int, Key]  # keys of the Runs it holds, by trial
    dropped: list[Key]  # since its last job; it hears of them with its next one

    def give(self, job: Job, attempts: Mapping[Key, int]) -> None:
        """Sends it a job, and what was dropped. OSError if the worker is dead."""
        ...


P = TypeVar("P", bound=Member)


class Pool(Generic[P]):
    """Jobs by key from `submit` to `wait`, and what an executor does with checkpoints. A subclass starts jobs and hears of them.

    `_slots` are its workers, if it has any that live longer than a job. Where a thread listens to them it holds `_lock`.
    """

    def __init__(
        self, objective: Objective, folder: str | Path | None, workers: int, timeout: float | None = None, lookahead: int = 0
    ) -> None:
        refuse_unguarded()
        self.kind = kind(objective)
        self.workers, self.timeout, self.lookahead = workers, duration("timeout", timeout, zero=False), lookahead
        self._checkpoints = open_checkpoints(folder, shared=True)
        self._lock = threading.RLock()
        self._slots: list[P] = []
        self._backlog: list[Job] = []
        self._taken: dict[Key, Job] = {}  # submitted and not yet out of `wait`
        self._attempts: dict[Key, Mapping[Key, int]] = {}  # theirs, and those that made the checkpoints they start from

    @property
    def free(self) -> int:
        return self.workers + self.lookahead - len(self._taken)

    def _take(self, job: Job, attempts: Mapping[Key, int] | None) -> None:
        self._taken[job.key], self._attempts[job.key] = job, attempts or {}
        self._backlog.append(job)

    def _release(self, job: Job) -> None:
        """The job comes out of `wait`."""
        del self._taken[job.key], self._attempts[job.key]

    def _attempt(self, job: Job) -> int:
        return self._attempts[job.key].get(job.key, 0)

    def _dispatch(self) -> None:
        """Gives waiting jobs to ready slots; a slot that holds a job's Run goes before the others."""
        idle = [slot for slot in self._slots if slot.ready and slot.job is None]
        for slot in idle:
            if not self._backlog:
                return
            elsewhere = {trial for other in idle if other is not slot and other.job is None for trial in other.holds}
            mine = [job for job in self._backlog if job.trial in slot.holds]
            others = [job for job in self._backlog if job.trial not in elsewhere]
            job = (mine or others or self._backlog)[0]
            try:
                slot.give(job, self._attempts[job.key])
            except OSError:  # dead while it was idle; no job was lost with it, and it will be seen
                continue
            self._backlog.remove(job)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def drop(self, keys: Collection[Key]) -> None:
        with self._lock:
            dead = [key for key in keys if key not in self._taken]
            self._forget(dead)
            self._checkpoints.drop(dead)

    def _forget(self, dead: Iterable[Key]) -> None:
        """Lets the workers drop held Runs, with their next job."""
        for slot in self._slots:
            slot.dropped += [key for key in dead if key[0] in slot.holds or slot.job is not None]

    def drop_interim(self, key: Key, attempt: int) -> None:
        self._checkpoints.drop_interim(key, attempt)

    def refuse(self, key: Key, attempt: int) -> None:
        with self._lock:
            self._forget([key])
            self._checkpoints.refuse(key, attempt)

    def keep(self, read: Callable[[], Kept | None]) -> None:
        names, kept = self._checkpoints.list_names(), read()
        if kept is None:
            return
        with self._lock:
            kept = {**kept, **dict.fromkeys(self._taken)}
            for slot in self._slots:  # a busy one holds one Run too many at most until it is told
                slot.dropped += [key for key in slot.holds.values() if key not in kept and key not in slot.dropped]
            self._checkpoints.keep(kept, names)

    def trim(self, choose: Choose) -> None:
        chosen = choose(self._checkpoints.measure())
        with self._lock:
            for key, attempt in chosen:
                if key not in self._taken:
                    self._checkpoints.refuse(key, attempt)
