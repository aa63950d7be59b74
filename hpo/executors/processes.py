"""A pool of spawned processes. Each worker keeps its Runs in memory between rungs; a dead one is replaced.

A worker is one process with one connection. A thread of the driver listens to all of them, so that a worker gets its
next job without waiting for the driver to ask. If a worker dies, only its job is lost.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from pickle import PicklingError, dumps

from hpo.executors.base import Lost, Outcome
from hpo.executors.devices import plan_workers
from hpo.executors.host import WorkerError, pack_arguments, read_answer
from hpo.executors.interim import read_interval
from hpo.executors.pool import Pool, UnguardedScript, refuse_unguarded
from hpo.executors.slot import Slot, is_unreachable
from hpo.executors.watchdog import Watchdog
from hpo.job import Job, Key, Result
from hpo.objective import Objective, kind
from hpo.values import whole

TICK = 1.0  # seconds between two looks at clocks and processes when nothing is heard
STARTS = 10  # failed starts in a row before a pool that has worked, and in which no worker is ready now, gives up
REST = 60.0  # longest seconds before a failed start is tried again


class Processes(Pool[Slot]):
    """`workers` spawned processes (default: one a CUDA device where there are several, else two), and `lookahead` jobs waiting
    behind them.

    With a lookahead of 1 no worker waits for the driver to ask; in exchange proposals know one result less.
    A worker that dies loses its job (Lost comes out of `wait`, and the job is given out again); a job beyond `timeout`
    seconds is an error, and its process is killed with all that it forked. A worker is replaced by a fresh one after
    `renew_after_jobs` jobs, or when it holds more than `renew_after_bytes` bytes of memory at the end of one, for
    objectives that leak. The objective must be picklable: a function at the top of a module, or an instance of a class
    there. If it has a method `warm()`, every worker calls it first.

    resources          what one trial needs: {"cpu": 2} threads (default: one), {"gpu": 0.5} of a device, {"gpu": 2} whole ones.
                       A worker has these in its environment (CUDA_VISIBLE_DEVICES, OMP_NUM_THREADS, ...) before it imports
                       anything, and a worker that replaces a dead one has the same. By default devices are divided evenly;
                       `worker_resources` tells an objective what its worker has
    devices            names of those that may be used, as CUDA_VISIBLE_DEVICES has them (default: those of this process)
    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int | None = None,
        timeout: float | None = None,
        lookahead: int = 0,
        *,
        resources: Mapping[str, float] | None = None,
        devices: Sequence[int | str] | None = None,
        renew_after_jobs: int | None = None,
        renew_after_bytes: int | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        shares = plan_workers(workers, resources, devices)
        lookahead = whole("lookahead", lookahead, 0)
        renew_after_jobs = None if renew_after_jobs is None else whole("renew_after_jobs", renew_after_jobs, 1)
        renew_after_bytes = None if renew_after_bytes is None else whole("renew_after_bytes", renew_after_bytes, 1)
        every = read_interval(checkpoint_every, kind(objective))
        refuse_unguarded()
        try:
            unreachable = is_unreachable(dumps(objective))
        except (PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"the objective cannot be sent to another process ({error}); define it in a module"
            ) from None
        if unreachable:
            raise TypeError(
                "the objective cannot be sent to another process: it was typed in a shell or a notebook, or came by -c or "
                "standard input, where a worker cannot import it; define it in a module"
            )
        super().__init__(objective, folder, len(shares), timeout, lookahead)
        self.renew_after_jobs, self.renew_after_bytes = renew_after_jobs, renew_after_bytes
        threads = "cpu" in (resources or {})
        self._environments = [share.environment(threads) for share in shares]  # of the workers, by their places
        self._places = list(range(len(shares)))  # those that no worker has
        self._arguments = pack_arguments(dumps, objective, horizon, self._checkpoints, every)
        self._changed = threading.Condition(self._lock)  # a worker is ready, or the pool is broken
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()  # None: see _broken
        self._broken: BaseException | None = None  # why the pool cannot go on
        self._worked = False  # whether any worker was ever ready
        self._failed = 0  # starts that failed in a row
        self._due: list[float] = []  # when failed starts are tried again
        self._closed = False
        self._bell, self._ring = multiprocessing.Pipe(duplex=False)  # wakes the listening thread
        self._watchdog = Watchdog()
        self._slots = [self._spawn() for _ in shares]
        self._listener = threading.Thread(target=self._listen, name="hpo-processes", daemon=True)
        self._listener.start()

    def _spawn(self) -> Slot:
        place = min(self._places)
        slot = Slot(self._arguments, self._watchdog, self._environments[place], place)
        self._places.remove(place)
        return slot

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, once all are ready."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._broken is not None or (not self._due and all(slot.ready for slot in self._slots))
            )
            self._refuse_broken()
            return [slot.pid for slot in self._slots]

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        with self._lock:
            self._take(job, attempts)
            self._dispatch()
        self._ring.send_bytes(b"job")  # a timeout may begin

    # -- the listening thread ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            while not self._closed:
                self._turn()
        except BaseException as error:  # a fault of this file: `wait` must not wait for ever
            self._break(error)

    def _turn(self) -> None:
        """Waits for an event of a worker, and handles it."""
        heard = wait([self._bell, *(slot.connection for slot in self._slots)], self._patience())
        with self._lock:
            if self._closed:
                return
            if self._bell in heard:
                self._bell.recv_bytes()
            for slot in list(self._slots):
                if slot.connection in heard:
                    self._receive(slot)
                elif slot.process.poll() is not None and not slot.connection.poll():
                    self._remove_slot(slot)  # its connection lives on in something that it forked
                elif self.timeout is not None and slot.job is not None and slot.elapsed_seconds() >= self.timeout:
                    slot.late = True
                    slot.kill()
            while self._due and self._due[0] <= time.monotonic():
                self._due.pop(0)
                self._start()
            self._dispatch()

    def _patience(self) -> float:
        with self._lock:
            now = time.monotonic()
            limits = [TICK, *(due - now for due in self._due)]
            if self.timeout is not None:
                limits += [self.timeout - slot.elapsed_seconds() for slot in self._slots if slot.job and not slot.late]
            return max(0.0, min(limits))

    def _receive(self, slot: Slot) -> None:
        """Handles one message of a worker: it is ready, it could not start, it has done its job, or (end of file) it has died."""
        try:
            what, *said = slot.connection.recv()
        except (EOFError, OSError):
            return self._remove_slot(slot)
        if what == "ready":
            self._greet(slot, *said)
        elif what == "failed":
            slot.failure = (said[0], said[1], said[2])
        else:
            self._finish(slot, *read_answer(said[0]), said[1])

    def _greet(self, slot: Slot, memory: int) -> None:
        if self.renew_after_bytes is not None and memory > self.renew_after_bytes:
            self._break(
                ValueError(
                    f"renew_after_bytes is {self.renew_after_bytes}, but a worker holds {memory} bytes before its first job"
                )
            )
        slot.ready = self._worked = True
        self._failed = 0
        self._changed.notify_all()

    def _finish(self, slot: Slot, outcome: Result | Lost, holds: dict[int, Key], memory: int) -> None:
        job, slot.job, slot.holds = slot.job, None, holds
        assert job is not None
        self._outcomes.put((job, outcome))
        slot.jobs += 1
        worn = self.renew_after_jobs is not None and slot.jobs >= self.renew_after_jobs
        full = self.renew_after_bytes is not None and memory > self.renew_after_bytes
        if slot.late or worn or full:  # late: killed in the moment in which its job came out; the next one is innocent
            self._replace(slot)

    def _remove_slot(self, slot: Slot) -> None:
        """A worker is dead: deletes its half-written checkpoint, reports its job, and starts another worker."""
        how = slot.close()
        job, slot.job = slot.job, None
        if job is not None:
            self._checkpoints.discard(job.key, self._attempt(job), slot.pid)
            error = f"timeout: still running after {self.timeout or 0:g} s"
            late = Result(error=error, system={"seconds": slot.elapsed_seconds()})
            self._outcomes.put((job, late if slot.late else Lost("worker", f"the worker {how}")))
        self._vacate(slot)
        if slot.ready:
            self._start()
        else:
            self._explain_death(*(slot.failure or (False, f"it {how}", "")))

    def _replace(self, slot: Slot) -> None:
        slot.close()
        self._vacate(slot)
        self._start()

    def _vacate(self, slot: Slot) -> None:
        """Its share of the machine is the next worker's."""
        self._slots.remove(slot)
        self._places.append(slot.place)

    def _start(self) -> None:
        """A fresh worker; a system that has no room for one now is asked again later."""
        try:
            self._slots.append(self._spawn())
        except OSError as error:
            self._explain_death(False, f"the system refused it: {error}", "")

    def _explain_death(self, unguarded: bool, said: str, text: str) -> None:
        """A worker failed to start: start another one, or give up after too many failures.

        An exception while starting will come again, unless another worker has started; a process that was killed may
        have been killed by accident. A pool with a ready worker never gives up.
        """
        self._failed += 1
        if unguarded and not self._worked:
            return self._break(UnguardedScript())
        limit = STARTS if self._worked else self.workers if text else max(3, self.workers)
        if self._failed >= limit and not any(slot.ready for slot in self._slots):
            reason = RuntimeError(f"{self._failed} workers in a row could not start, the last because {said}")
            reason.__cause__ = WorkerError(f"in the worker:\n{text}") if text else None
            return self._break(reason)
        self._due.append(time.monotonic() + (0.0 if self._failed == 1 else min(REST, 2.0 ** (self._failed - 3))))
        self._due.sort()

    def _break(self, reason: BaseException) -> None:
        with self._lock:
            self._broken = reason
            self._outcomes.put(None)
            self._changed.notify_all()

    def _refuse_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    # -- the driver --------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Outcome | None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._taken:
            left = TICK if end is None else min(TICK, max(0.0, end - time.monotonic()))
            try:
                outcome = self._outcomes.get(timeout=left)  # a short time, for Ctrl-C to be noticed on every system
            except queue.Empty:
                if end is not None and time.monotonic() >= end:
                    return None
                continue
            if outcome is None:
                self._refuse_broken()
                continue
            self._release(outcome[0])
            return outcome
        return None

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for slot in self._slots:
                slot.kill()
        self._ring.send_bytes(b"end")
        self._listener.join()
        for slot in self._slots:
            slot.close()
        self._watchdog.close()
        self._bell.close()
        self._ring.close()
        self._checkpoints.close()
