"""Several jobs at once in threads of this process: for objectives that wait on something, coroutines among them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hpo.executors.base import Choose, Kept, Lost, Outcome
from hpo.executors.faults import failed_result
from hpo.executors.interim import read_interval
from hpo.executors.remote import open_checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job, Key, Result
from hpo.objective import Objective, hook, kind
from hpo.values import duration, whole

STOPPING = 2.0  # seconds for which `close` waits for what it has stopped; it ends all the same, later


class Threads:
    """`workers` threads. A job beyond `timeout` seconds is an error; its thread cannot be killed and is abandoned.

    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int = 2,
        timeout: float | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        workers, timeout = whole("workers", workers, 1), duration("timeout", timeout, zero=False)
        self.workers, self.timeout = workers, timeout
        self.kind = kind(objective)
        self._every = read_interval(checkpoint_every, self.kind)
        self._checkpoints = open_checkpoints(folder)
        self._objective, self._horizon = objective, horizon
        self._idle = [self._worker() for _ in range(workers)]
        self._running: dict[Key, tuple[Job, Worker, float]] = {}
        self._owed: dict[Worker, list[Key]] = {}  # dropped keys that a busy worker has not heard of yet
        self._outcomes: queue.SimpleQueue[tuple[Worker, Job, Result | Lost]] = queue.SimpleQueue()
        self._threads: dict[Worker, threading.Thread] = {}  # the last of each worker
        self._closed = False

    def _worker(self) -> Worker:
        return Worker(self._objective, self._horizon, self._checkpoints, self._every)

    @property
    def free(self) -> int:
        return len(self._idle)

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        holds = [worker for worker in self._idle if job.trial in worker.held]
        worker = holds[0] if holds else self._idle[0]
        self._idle.remove(worker)
        if not holds and self.kind == "report":  # what is parked has no checkpoint: elsewhere it would begin anew
            for _, other, _ in self._running.values():
                worker.take_over(other, job.trial)
        self._running[job.key] = job, worker, time.monotonic()
        self._threads[worker] = threading.Thread(target=self._execute, args=(worker, job, attempts or {}), daemon=True)
        self._threads[worker].start()

    def _execute(self, worker: Worker, job: Job, attempts: Mapping[Key, int]) -> None:
        try:
            result: Result | Lost = worker.execute(job, attempts)
        except BaseException as error:  # KeyboardInterrupt raised by the objective: `wait` must not wait for ever
            result = failed_result(error, {})
        self._outcomes.put((worker, job, result))
        if self._closed:
            worker.close()  # what it holds of other trials

    def wait(self, timeout: float | None = None) -> Outcome | None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._running:
            now = time.monotonic()
            late = self._late(now)
            if late is not None:
                return late
            limits = [] if end is None else [end]
            if self.timeout is not None:
                limits += [begun + self.timeout for _, _, begun in self._running.values()]
            try:
                worker, job, result = self._outcomes.get(timeout=max(0.0, min(limits) - now) if limits else None)
            except queue.Empty:
                if end is not None and time.monotonic() >= end:
                    return None
                continue
            if self._running.get(job.key, (None, None, 0.0))[1] is worker:  # else it came after its timeout
                del self._running[job.key]
                worker.drop(self._owed.pop(worker, ()))
                self._idle.append(worker)
                return job, result
        return None

    def _late(self, now: float) -> Outcome | None:
        for key, (job, worker, begun) in self._running.items():
            if self.timeout is not None and now - begun >= self.timeout:
                del self._running[key]
                self._owed.pop(worker, None)
                worker.close()  # what else it holds; the abandoned thread itself cannot be ended
                self._idle.append(self._worker())
                return job, Result(error=f"timeout: still running after {self.timeout:g} s", system={"seconds": now - begun})
        return None

    def _stop_all(self, stop: Callable[[], None]) -> None:
        """Again and again for a moment: a job that was just given out may not have begun what is to be stopped."""
        end = time.monotonic() + STOPPING
        while any(thread.is_alive() for thread in self._threads.values()) and time.monotonic() < end:
            stop()
            time.sleep(0.02)

    def drop(self, keys: Collection[Key]) -> None:
        dead = [key for key in keys if key not in self._running]
        self._forget(dead)
        self._checkpoints.drop(dead)

    def _forget(self, dead: Collection[Key]) -> None:
        """Drops held Runs."""
        for worker in self._idle:
            worker.drop(dead)
        for _, worker, _ in self._running.values():  # its thread is at work with what it holds
            self._owed.setdefault(worker, []).extend(dead)

    def drop_interim(self, key: Key, attempt: int) -> None:
        self._checkpoints.drop_interim(key, attempt)

    def refuse(self, key: Key, attempt: int) -> None:
        self._forget([key])
        self._checkpoints.refuse(key, attempt)

    def keep(self, read: Callable[[], Kept | None]) -> None:
        names, kept = self._checkpoints.list_names(), read()
        if kept is not None:
            kept = {**kept, **dict.fromkeys(self._running)}
            for worker in self._idle:  # a busy one holds one Run too many at most until it is told
                worker.keep(kept)
            self._checkpoints.keep(kept, names)

    def trim(self, choose: Choose) -> None:
        for key, attempt in choose(self._checkpoints.measure()):
            if key not in self._running:
                self._checkpoints.refuse(key, attempt)

    def close(self) -> None:
        """What runs is stopped where the objective knows how; else it goes on in its thread, and nobody hears of it."""
        self._closed = True
        if (stop := hook(self._objective, "stop")) is not None:
            self._stop_all(stop)
        for worker in self._idle:
            worker.close()
        self._running.clear()
        self._checkpoints.close()
