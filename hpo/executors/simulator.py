"""A simulated clock: any optimizer through thousands of asynchronous jobs in seconds, over functions and tables."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from hpo.executors.base import Kept, Lost, Outcome
from hpo.executors.faults import failed_result
from hpo.forks import one_process
from hpo.job import Job, Key, Result
from hpo.rng import stream


class Simulator:
    """Runs `value(config, until, seed)` at once and hands it out when its simulated duration is over.

    duration      seconds a job takes, from the job and the budget it starts from (default: the budget it trains)
    straggle      sd of z in the factor 1 + |z| on every duration (Li et al. 2020, appendix A.1)
    drop          probability a simulated second that a running job is lost
    An exception of `value` is the job's error. `seconds` in `Result.system` are simulated ones, unless `value` says others.
    Noise comes from (seed, trial, attempt), so a simulation replays.
    """

    kind = "run"

    def __init__(
        self,
        value: Callable[[dict[str, Any], int, int], Any],
        workers: int = 1,
        duration: Callable[[Job, int], float] | None = None,
        straggle: float = 0.0,
        drop: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.value, self.workers, self.straggle, self.seed = value, workers, straggle, seed
        self.rate = drop
        self.duration = duration if duration is not None else lambda job, begin: float(job.until - begin)
        self.now = 0.0  # the simulated clock
        self.kept: set[Key] = set()  # checkpoints that stand; what is not here cannot be a source
        self._running: list[tuple[float, int, Job, Result | Lost]] = []
        self._count = 0
        self._attempts: Counter[Key] = Counter()

    @property
    def free(self) -> int:
        return self.workers - len(self._running)

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        if job.source is not None and job.source not in self.kept:
            raise AssertionError(f"job {job.key} starts from {job.source}, a checkpoint that is not there")
        rng = stream(self.seed, job.trial, f"simulator {job.until} {self._attempts[job.key]}")
        self._attempts[job.key] += 1
        seconds = self.duration(job, job.source[1] if job.source is not None else 0)
        seconds *= 1.0 + abs(rng.normal(0.0, self.straggle)) if self.straggle else 1.0
        result: Result | Lost = self._result(job)
        if self.rate:
            lost_at = rng.exponential(1.0 / self.rate)
            if lost_at < seconds:
                seconds, result = lost_at, Lost("worker", "")  # as it was meant to be: nothing to say
        if not isinstance(result, Lost):
            result = replace(result, system={"seconds": seconds, **result.system})
        self._count += 1
        heapq.heappush(self._running, (self.now + seconds, self._count, job, result))

    def _result(self, job: Job) -> Result:
        try:
            with one_process():
                value = self.value(dict(job.config), job.until, job.seed)
        except Exception as error:
            return failed_result(error, {})
        return value if isinstance(value, Result) else Result(value if isinstance(value, dict) else {"": value})

    def wait(self, timeout: float | None = None) -> Outcome | None:
        if not self._running:
            return None
        if timeout is not None and self._running[0][0] > self.now + timeout:
            self.now += timeout
            return None
        self.now, _, job, result = heapq.heappop(self._running)
        if not isinstance(result, Lost):
            self.kept.add(job.key)
        return job, result

    def drop(self, keys: Collection[Key]) -> None:
        self.kept.difference_update(keys)

    def drop_interim(self, key: Key, attempt: int) -> None:
        pass  # nothing is saved inside its jobs

    def refuse(self, key: Key, attempt: int) -> None:
        pass  # it tells no attempts apart

    def keep(self, read: Callable[[], Kept | None]) -> None:
        kept = read()
        if kept is not None:
            self.kept &= {*kept, *(job.key for _, _, job, _ in self._running)}

    def close(self) -> None:
        self._running.clear()
