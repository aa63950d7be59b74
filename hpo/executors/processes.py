"""A pool of spawned processes. Each worker keeps its Runs in memory between rungs; a dead one is replaced.

Every slot is the standard library's process pool with one process, so that a job can be sent to the worker that holds
its Run, and so that one dead worker takes nothing else with it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from pickle import PicklingError, dumps

from hpo.executors.base import Outcome
from hpo.executors.checkpoints import Checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job, Key, Result
from hpo.objective import Objective, kind

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_worker: Worker  # the one of this process; set by _begin in every spawned process


def _begin(objective: Objective, horizon: int, checkpoints: Checkpoints, born: float) -> None:
    """First thing in a worker: leave Ctrl-C to the driver, die with the driver, prepare."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if hasattr(objective, "warm"):
        objective.warm()  # imports and data that every job needs, while the driver makes up its mind
    _worker = Worker(objective, horizon, checkpoints, born)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _execute(job: Job, dropped: list[Key]) -> tuple[Result, dict[int, Key]]:
    """The result, and the keys of the Runs that the worker holds now, by trial."""
    _worker.drop(dropped)
    result = _worker.execute(job)
    return result, {trial: key for trial, (key, _) in _worker.held.items()}


class Slot:
    """One worker process and the job it has."""

    def __init__(self, objective: Objective, horizon: int, checkpoints: Checkpoints) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(
            1, context, initializer=_begin, initargs=(objective, horizon, checkpoints, time.time())
        )
        self.ready = math.inf  # when the process had started; a job's time runs from then at the earliest
        self.dropped: list[Key] = []  # since its last job; it hears of them with its next one
        self.pid: Future[int] = self.pool.submit(os.getpid)
        self.pid.add_done_callback(self._started)
        self.job: Job | None = None
        self.since = 0.0
        self.late = False
        self.holds: dict[int, Key] = {}  # keys of the Runs it holds, by trial

    def _started(self, pid: Future[int]) -> None:
        if not pid.cancelled() and pid.exception() is None:
            self.ready = time.monotonic()

    def elapsed(self) -> float:
        """Seconds its job has had, not counting the start of the process."""
        return max(0.0, time.monotonic() - max(self.since, self.ready))

    def hear(self) -> list[Key]:
        """What was dropped since its last job, for it to be sent."""
        dropped, self.dropped = self.dropped, []
        return dropped

    def kill(self) -> None:
        """Ends the process at once, whatever it does."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()

    def close(self) -> None:
        self.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)


class Processes:
    """`workers` spawned processes, each with one BLAS thread, and `lookahead` jobs waiting behind them.

    With a lookahead of 1 no worker waits for the driver to ask; the price is a proposal that knows one result less.
    A worker that dies loses its job (`wait` says None, and the job is given out again); a job beyond `timeout` seconds
    is an error, and its process is killed. The objective must be picklable: a function at the top of a module, or an
    instance of a class there. If it has a method `warm()`, every worker calls it first.
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int = 2,
        timeout: float | None = None,
        lookahead: int = 0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers!r}; allowed is an integer of at least 1")
        if lookahead < 0:
            raise ValueError(f"lookahead is {lookahead!r}; allowed is an integer of at least 0")
        try:
            dumps(objective)
        except (PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"the objective cannot be sent to another process ({error}); define it in a module"
            ) from None
        self.timeout, self.lookahead = timeout, lookahead
        self._checkpoints = Checkpoints(folder)
        self.kind = kind(objective)
        self._arguments = objective, horizon, self._checkpoints
        for name in THREAD_VARIABLES:
            os.environ.setdefault(name, "1")  # inherited by what is spawned; two workers must not fight for one core
        self._lock = threading.RLock()
        self._backlog: list[Job] = []
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._taken: dict[Key, Job] = {}  # submitted and not yet out of `wait`
        self._barren: BaseException | None = None  # why a worker could not even start
        self._closed = False
        self._slots = [Slot(*self._arguments) for _ in range(workers)]

    @property
    def free(self) -> int:
        return len(self._slots) + self.lookahead - len(self._taken)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, once they have started."""
        return [slot.pid.result() for slot in self._slots]

    def submit(self, job: Job) -> None:
        with self._lock:
            self._taken[job.key] = job
            self._backlog.append(job)
            self._dispatch()

    def _dispatch(self) -> None:
        """Gives waiting jobs to idle slots; a slot that holds a job's Run goes before the others."""
        for slot in self._slots:
            if slot.job is None and self._backlog and not self._closed:
                elsewhere = {t for other in self._slots if other is not slot and other.job is None for t in other.holds}
                mine = [job for job in self._backlog if job.trial in slot.holds]
                others = [job for job in self._backlog if job.trial not in elsewhere]
                job = (mine or others or self._backlog)[0]
                self._backlog.remove(job)
                self._give(slot, job)

    def _give(self, slot: Slot, job: Job) -> None:
        slot.job, slot.since = job, time.monotonic()
        try:
            future = slot.pool.submit(_execute, job, slot.hear())
        except BrokenProcessPool as error:  # it died idle, and no job with it
            self._barren = error if slot.ready == math.inf else None
            slot = self._replace(slot)
            slot.job, slot.since = job, time.monotonic()
            future = slot.pool.submit(_execute, job, slot.hear())
        future.add_done_callback(lambda done: self._done(slot, job, done))

    def _replace(self, slot: Slot) -> Slot:
        slot.close()
        fresh = Slot(*self._arguments)
        self._slots[self._slots.index(slot)] = fresh
        return fresh

    def _done(self, slot: Slot, job: Job, future: Future[tuple[Result, dict[int, Key]]]) -> None:
        """In the pool's own thread: the outcome goes to `wait`, and the slot goes on without waiting for the driver."""
        with self._lock:
            if self._closed:
                return
            slot.job = None
            if future.cancelled() or isinstance(future.exception(), BrokenProcessPool):
                self._barren = future.exception() if slot.ready == math.inf and not future.cancelled() else None
                seconds = time.monotonic() - slot.since
                late = Result(error=f"timeout: still running after {self.timeout or 0:g} s", system={"seconds": seconds})
                self._outcomes.put((job, late if slot.late else None))
                self._replace(slot)
            else:
                failure = future.exception()
                if failure is None:
                    result, slot.holds = future.result()
                else:  # what cannot be sent
                    result = Result(error=f"{type(failure).__name__}: {failure}")
                self._outcomes.put((job, result))
                if slot.late:  # it was killed in the moment in which its job came out; the next one is innocent
                    self._replace(slot)
            if self._barren is None:
                self._dispatch()

    def wait(self, timeout: float | None = None) -> Outcome | None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._taken:
            try:
                outcome = self._outcomes.get(timeout=self._patience(end))
            except queue.Empty:
                self._kill_late()
                if end is not None and time.monotonic() >= end:
                    return None
                continue
            del self._taken[outcome[0].key]
            if self._barren is not None:
                raise RuntimeError(
                    "a worker died before its first job: see its message above; a script that uses processes must guard "
                    'its main part with if __name__ == "__main__", and warm() must not raise'
                )
            return outcome
        return None

    def _patience(self, end: float | None) -> float:
        """Seconds to sleep before looking at clocks again; short enough for Ctrl-C to be noticed on every system."""
        limits = [1.0] + ([] if end is None else [end - time.monotonic()])
        if self.timeout is not None:
            limits += [self.timeout - slot.elapsed() for slot in self._slots if slot.job is not None and not slot.late]
        return max(0.0, min(limits))

    def _kill_late(self) -> None:
        with self._lock:
            for slot in self._slots:
                if self.timeout is not None and slot.job is not None and slot.elapsed() >= self.timeout:
                    slot.late = True
                    slot.kill()

    def drop(self, keys: Collection[Key]) -> None:
        with self._lock:
            dead = [key for key in keys if key not in self._taken]
            for slot in self._slots:
                slot.dropped += [key for key in dead if key[0] in slot.holds or slot.job is not None]
            self._checkpoints.drop(dead)

    def keep(self, keys: Iterable[Key]) -> None:
        with self._lock:
            kept = {*keys, *self._taken}
            for slot in self._slots:  # a busy one holds one Run too many at most until it is told
                slot.dropped += [key for key in slot.holds.values() if key not in kept and key not in slot.dropped]
            self._checkpoints.keep(kept)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for slot in self._slots:
                slot.close()
        self._checkpoints.close()
