"""A pool of spawned processes. Each worker keeps its Runs in memory between rungs; a dead one is replaced.

A worker is one process with one connection. A thread of the driver listens to all of them, so that a worker gets its
next job without waiting for the driver to ask. If a worker dies, only its job is lost.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from pickle import PicklingError, dumps

from hpo.executors.base import Choose, Kept, Lost, Outcome
from hpo.executors.interim import read_interval
from hpo.executors.remote import open_checkpoints
from hpo.executors.slot import Slot, is_unreachable
from hpo.executors.watchdog import Watchdog
from hpo.job import Job, Key, Result
from hpo.objective import Objective, kind
from hpo.values import duration, whole

TICK = 1.0  # seconds between two looks at clocks and processes when nothing is heard
STARTS = 10  # failed starts in a row before a pool that has worked, and in which no worker is ready now, gives up
REST = 60.0  # longest seconds before a failed start is tried again


class UnguardedScript(RuntimeError, SystemExit):
    """A script that opens a pool when it is only imported. Where nobody catches it, its sentence is all that is printed."""

    unguarded = True

    def __init__(self) -> None:
        super().__init__(
            "a worker imports the script it is started from, so a script that uses processes must guard its main part with "
            'if __name__ == "__main__"'
        )
        self.code = str(self)


class WorkerError(Exception):
    """What a worker raised while it started; its text is the traceback there."""


class Processes:
    """`workers` spawned processes, each with one BLAS thread, and `lookahead` jobs waiting behind them.

    With a lookahead of 1 no worker waits for the driver to ask; in exchange proposals know one result less.
    A worker that dies loses its job (Lost comes out of `wait`, and the job is given out again); a job beyond `timeout`
    seconds is an error, and its process is killed with all that it forked. A worker is replaced by a fresh one after
    `renew_after_jobs` jobs, or when it holds more than `renew_after_bytes` bytes of memory at the end of one, for
    objectives that leak. The objective must be picklable: a function at the top of a module, or an instance of a class
    there. If it has a method `warm()`, every worker calls it first.

    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int = 2,
        timeout: float | None = None,
        lookahead: int = 0,
        *,
        renew_after_jobs: int | None = None,
        renew_after_bytes: int | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        workers, timeout = whole("workers", workers, 1), duration("timeout", timeout, zero=False)
        lookahead = whole("lookahead", lookahead, 0)
        renew_after_jobs = None if renew_after_jobs is None else whole("renew_after_jobs", renew_after_jobs, 1)
        renew_after_bytes = None if renew_after_bytes is None else whole("renew_after_bytes", renew_after_bytes, 1)
        every = read_interval(checkpoint_every, kind(objective))
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise UnguardedScript
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
        self.kind = kind(objective)
        self.timeout, self.workers, self.lookahead = timeout, workers, lookahead
        self.renew_after_jobs, self.renew_after_bytes = renew_after_jobs, renew_after_bytes
        self._checkpoints = open_checkpoints(folder, shared=True)
        self._objective = objective, horizon, self._checkpoints, every
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # a worker is ready, or the pool is broken
        self._backlog: list[Job] = []
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()  # None: see _broken
        self._taken: dict[Key, Job] = {}  # submitted and not yet out of `wait`
        self._attempts: dict[Key, Mapping[Key, int]] = {}  # theirs, and those that made the checkpoints they start from
        self._broken: BaseException | None = None  # why the pool cannot go on
        self._worked = False  # whether any worker was ever ready
        self._failed = 0  # starts that failed in a row
        self._due: list[float] = []  # when failed starts are tried again
        self._closed = False
        self._bell, self._ring = multiprocessing.Pipe(duplex=False)  # wakes the listening thread
        self._watchdog = Watchdog()
        self._slots = [self._spawn() for _ in range(workers)]
        self._listener = threading.Thread(target=self._listen, name="hpo-processes", daemon=True)
        self._listener.start()

    def _spawn(self) -> Slot:
        return Slot(dumps((*self._objective, time.time())), self._watchdog)

    @property
    def free(self) -> int:
        return self.workers + self.lookahead - len(self._taken)

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
            self._taken[job.key], self._attempts[job.key] = job, attempts or {}
            self._backlog.append(job)
            self._dispatch()
        self._ring.send_bytes(b"job")  # a timeout may begin

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
            except OSError:  # dead while it was idle; no job was lost with it, and the listener will see it
                continue
            self._backlog.remove(job)

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
        except Exception as error:  # an answer that only the worker can read
            what, said = "done", [Result(error=f"the result cannot be read by the driver: {error}"), {}, 0]
        if what == "ready":
            self._greet(slot, *said)
        elif what == "failed":
            slot.failure = (said[0], said[1], said[2])
        else:
            self._finish(slot, *said)

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
            self._checkpoints.discard(job.key, self._attempts[job.key].get(job.key, 0), slot.pid)
            error = f"timeout: still running after {self.timeout or 0:g} s"
            late = Result(error=error, system={"seconds": slot.elapsed_seconds()})
            self._outcomes.put((job, late if slot.late else Lost("worker", f"the worker {how}")))
        self._slots.remove(slot)
        if slot.ready:
            self._start()
        else:
            self._explain_death(*(slot.failure or (False, f"it {how}", "")))

    def _replace(self, slot: Slot) -> None:
        slot.close()
        self._slots.remove(slot)
        self._start()

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
            del self._taken[outcome[0].key], self._attempts[outcome[0].key]
            return outcome
        return None

    def drop(self, keys: Collection[Key]) -> None:
        with self._lock:
            dead = [key for key in keys if key not in self._taken]
            self._forget(dead)
            self._checkpoints.drop(dead)

    def _forget(self, dead: Collection[Key]) -> None:
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
