"""Executors with workers on other machines: Ray, batch systems, pools of calls. The driver asks for outcomes inside `wait`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.executors.base import Lost, Outcome
from hpo.executors.host import Description, WorkerError, pack_arguments
from hpo.executors.interim import read_interval
from hpo.executors.pool import P, Pool, UnguardedScript
from hpo.job import Job, Key, Result
from hpo.objective import Objective, kind
from hpo.values import whole

TICK = 1.0  # seconds between two looks at clocks
ARRIVAL = 60.0  # seconds in which a file of another machine is seen here: shared folders keep what they know for a while
STARTS = 3  # failed starts in a row after which one gives up, before any worker has begun


def import_optional(package: str, extra: str) -> ModuleType:
    """A package that only some executors need. ModuleNotFoundError in a sentence where it is absent."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"this executor needs {package} ({error}); pip install 'hpo-lm[{extra}]'") from None


class Distant(Pool[P]):
    """What these executors share: a queue of outcomes, what becomes of late jobs, failed starts and folders that are not shared.

    A subclass says how jobs are started (`_dispatch`) and what has become of them (`_poll`).
    """

    def __init__(
        self, objective: Objective, horizon: int, folder: str | Path | None, workers: int, timeout: float | None,
        checkpoint_every: float | None,
    ) -> None:
        every = read_interval(checkpoint_every, kind(objective))
        super().__init__(objective, folder, whole("workers", workers, 1), timeout)
        self._objective, self._horizon, self._every = objective, horizon, every
        self._done: deque[Outcome] = deque()
        self._broken: BaseException | None = None
        self._failed = 0  # starts that failed in a row
        self._worked = False  # whether any worker has begun
        self._seen: set[str] = set()  # machines whose checkpoints are seen here

    def _pack(self, dumps: Callable[[Any], bytes]) -> bytes:
        """What a worker opens. TypeError in a sentence for an objective that cannot be sent."""
        try:
            return pack_arguments(dumps, self._objective, self._horizon, self._checkpoints, self._every)
        except Exception as error:
            raise TypeError(f"the objective cannot be sent to another process ({error}); define it in a module") from None

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        self._take(job, attempts)
        if self._broken is None:
            self._dispatch()

    def _poll(self, seconds: float) -> None:
        """Waits for what happens, but not longer than these seconds, and tells it by `_tell`."""
        raise NotImplementedError

    def _tell(self, job: Job, outcome: Result | Lost, machine: str = "") -> None:
        """A job's outcome. Its checkpoint, if it has one, must be seen here."""
        if self.kind == "run" and isinstance(outcome, Result) and outcome.error is None and machine not in self._seen:
            self._check_arrival(job, machine)
        self._done.append((job, outcome))

    def _tell_late(self, job: Job, seconds: float) -> None:
        error = f"timeout: still running after {self.timeout or 0:g} s"
        self._done.append((job, Result(error=error, system={"seconds": seconds})))

    def _check_arrival(self, job: Job, machine: str) -> None:
        path = self._checkpoints.path(job.key, self._attempt(job))
        end = time.monotonic() + ARRIVAL
        while not self._checkpoints.has(path):
            if time.monotonic() >= end:
                raise RuntimeError(
                    f"trial {job.trial} was saved by a worker{f' on {machine}' if machine else ''}, but {path.name} is not seen "
                    f"in {getattr(self._checkpoints, 'url', path.parent)} here; give a folder, or a URL, that all machines share"
                )
            time.sleep(0.2)
        self._seen.add(machine)

    def _count_start(self) -> None:
        self._failed, self._worked = 0, True

    def _count_failure(self, failure: Description) -> None:
        """A worker could not begin. RuntimeError where that comes again and again, and none ever could."""
        self._failed += 1
        unguarded, said, text = failure
        if unguarded and not self._worked:
            self._broken = UnguardedScript()
            raise self._broken
        if not self._worked and self._failed >= STARTS:
            self._broken = RuntimeError(f"{self._failed} workers in a row could not start, the last because {said}")
            self._broken.__cause__ = WorkerError(f"in the worker:\n{text}") if text else None
            raise self._broken

    def wait(self, timeout: float | None = None) -> Outcome | None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._taken:
            if self._done:
                job, outcome = self._done.popleft()
                self._release(job)
                return job, outcome
            if self._broken is not None:
                raise self._broken
            self._dispatch()
            self._poll(TICK if end is None else min(TICK, max(0.0, end - time.monotonic())))
            if not self._done and end is not None and time.monotonic() >= end:
                return None
        return None
