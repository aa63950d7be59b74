"""One job at a time, in this process: the simplest executor, and the one to debug with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hpo.executors.base import Choose, Kept, Outcome
from hpo.executors.interim import read_interval
from hpo.executors.remote import open_checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job, Key
from hpo.objective import Objective, hook, kind


class Inline:
    """Runs a job inside `wait`. Ctrl-C inside the objective leaves the job pending.

    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        self.kind = kind(objective)
        self._checkpoints = open_checkpoints(folder)
        self._worker = Worker(objective, horizon, self._checkpoints, read_interval(checkpoint_every, self.kind))
        self._jobs: list[tuple[Job, Mapping[Key, int]]] = []

    @property
    def free(self) -> int:
        return 1 - len(self._jobs)

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        self._jobs.append((job, attempts or {}))

    def wait(self, timeout: float | None = None) -> Outcome | None:
        if not self._jobs:
            return None
        job, attempts = self._jobs[0]
        result = self._worker.execute(job, attempts)
        self._jobs.pop(0)
        return job, result

    def drop(self, keys: Collection[Key]) -> None:
        flying = {job.key for job, _ in self._jobs}
        self._worker.drop(keys)
        self._checkpoints.drop(key for key in keys if key not in flying)

    def drop_interim(self, key: Key, attempt: int) -> None:
        self._checkpoints.drop_interim(key, attempt)

    def refuse(self, key: Key, attempt: int) -> None:
        self._worker.drop([key])
        self._checkpoints.refuse(key, attempt)

    def keep(self, read: Callable[[], Kept | None]) -> None:
        names, kept = self._checkpoints.list_names(), read()
        if kept is not None:
            kept = {**kept, **{job.key: None for job, _ in self._jobs}}
            self._worker.keep(kept)
            self._checkpoints.keep(kept, names)

    def trim(self, choose: Choose) -> None:
        flying = {job.key for job, _ in self._jobs}
        for key, attempt in choose(self._checkpoints.measure()):
            if key not in flying:
                self._checkpoints.refuse(key, attempt)

    def close(self) -> None:
        if (stop := hook(self._worker.objective, "stop")) is not None:
            stop()
        self._worker.close()
        self._jobs.clear()
        self._checkpoints.close()
