"""Calls of a pool that gives futures: any `concurrent.futures.Executor` (loky's, mpi4py's, ...), and Dask: https://distributed.dask.org.

A call holds nothing when it is over: a job begins at its checkpoint, in a folder that all workers see.
"""

from __future__ import annotations

import pickle
import queue
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpo.executors.base import Lost
from hpo.executors.devices import read_resources
from hpo.executors.distant import Distant, import_optional
from hpo.executors.faults import describe
from hpo.executors.host import StartError, execute_job, load_arguments, open_worker, read_answer
from hpo.executors.worker import Worker
from hpo.job import Job, Key, Result
from hpo.objective import Objective
from hpo.values import format_value

# what a worker opens; a job and its attempts; when it was handed in; the seconds that it may run
Call = tuple[bytes, Job, Mapping[Key, int], float, float | None]


_load = lru_cache(maxsize=1)(load_arguments)  # a process calls an objective's `warm` once


def execute_call(call: Call) -> bytes:
    """Executes a job in a worker of its own, which is gone when this returns. A job that is late is left to its thread, which
    nobody can end; so this worker of the pool is free again."""
    arguments, job, attempts, born, timeout = call
    worker = open_worker(arguments, born, _load)
    if timeout is None:
        return _execute(worker, job, attempts)
    found: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=lambda: found.put(_execute(worker, job, attempts)), name="hpo-call", daemon=True).start()
    begun = time.monotonic()
    try:
        return found.get(timeout=timeout)
    except queue.Empty:
        late = Result(error=f"timeout: still running after {timeout:g} s", system={"seconds": time.monotonic() - begun})
        return pickle.dumps((late, {}))


def _execute(worker: Worker, job: Job, attempts: Mapping[Key, int]) -> bytes:
    try:
        return execute_job(worker, job, attempts)
    finally:
        worker.close()


def execute_once(call: Call, name: str) -> bytes:
    """The same inside Dask, which runs a call again if its worker has died: then the job is lost, and the driver is to know."""
    from distributed import Event, get_client

    begun = Event(name, client=get_client())
    if begun.is_set():
        return pickle.dumps((Lost("worker", "the worker died"), {}))
    begun.set()
    return execute_call(call)


class Futures(Distant[Any]):
    """At most `workers` calls at once in a pool (default: as many workers as it has).

    pool        a concurrent.futures.Executor, or a function that makes one, which is asked for another where a worker's death has
                broken it; or a distributed.Client of Dask, or the address of its scheduler, "tcp://10.0.0.1:8786". What was made
                here is closed with the executor, what was given is not
    resources   of Dask's workers, by the names that these were started with, of which one trial takes so much: {"GPU": 1}
    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never

    A call cannot be ended from outside: what runs when the executor is closed runs on to its end. A job beyond `timeout` seconds
    of running is an error, and goes on in a thread of its worker, as in Threads; waiting in the pool does not count.
    Where a worker of Dask dies, its job alone is lost; a broken concurrent.futures.Executor loses all that were in it.
    f(config, report) is called anew at every rung, from its beginning.
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int | None = None,
        timeout: float | None = None,
        *,
        pool: Executor | Callable[[], Executor] | str | Any = None,
        resources: Mapping[str, float] | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        self._is_dask = isinstance(pool, str) or type(pool).__module__.partition(".")[0] == "distributed"
        self._make = pool if callable(pool) and not self._is_dask and not hasattr(pool, "submit") else None
        self._ours = self._make is not None or isinstance(pool, str)
        self._resources = read_resources(resources, ())
        self._pool = self._open(pool)
        try:
            found = self._count_workers() if workers is None else workers
            super().__init__(objective, horizon, folder, found, timeout, checkpoint_every)
            try:
                cloud = import_optional("cloudpickle", "dask") if find_spec("cloudpickle") else pickle
                self._arguments = self._pack(cloud.dumps)
            except BaseException:
                self._checkpoints.close()
                raise
        except BaseException:
            self._close_pool()
            raise
        self._running: dict[Any, tuple[Job, str]] = {}  # by future; the second is the call's name in Dask
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()  # futures
        self._study = secrets.token_hex(4)
        self._count = 0

    def _open(self, pool: Any) -> Any:
        if self._is_dask:
            distributed = import_optional("distributed", "dask")
            return distributed.Client(pool) if isinstance(pool, str) else pool
        found = pool if self._make is None else self._make()
        if not hasattr(found, "submit") or isinstance(found, type):
            raise ValueError(f"pool is {format_value(pool)}; allowed are a concurrent.futures.Executor, a function that makes "
                             "one, a distributed.Client, and the address of a scheduler of Dask")  # fmt: skip
        if self._resources:
            raise ValueError(f"resources is {format_value(self._resources)}, but only workers of Dask have resources with names")
        return found

    def _count_workers(self) -> int:
        """How many trials have room now, and at least one. ValueError if no worker of Dask has what one needs."""
        if not self._is_dask:
            return int(getattr(self._pool, "_max_workers", None) or 1)
        threads = self._pool.nthreads()
        if not self._resources:
            return sum(threads.values()) or 1
        given = [worker["resources"] for worker in self._pool.scheduler_info(n_workers=-1)["workers"].values()]
        room = sum(min(int(one.get(name, 0.0) / need) for name, need in self._resources.items() if need) for one in given)
        if given and room == 0:
            raise ValueError(f"resources is {format_value(self._resources)}, but no worker of Dask was started with so much")
        return room or 1

    def _dispatch(self) -> None:
        while self._backlog and len(self._running) < self.workers:
            job, name = self._backlog[0], f"hpo-{self._study}-{self._count}"
            call = self._arguments, job, self._attempts[job.key], time.time(), self.timeout
            if self._is_dask:
                needs = self._resources or None
                future = self._pool.submit(execute_once, call, name, key=name, pure=False, retries=0, resources=needs)
            else:
                try:
                    future = self._pool.submit(execute_call, call)
                except BrokenExecutor as error:  # while it was idle
                    self._mend(error)
                    continue
            self._count += 1
            self._backlog.pop(0)
            self._running[future] = job, name
            future.add_done_callback(self._ended.put)

    def _poll(self, seconds: float) -> None:
        try:
            future = self._ended.get(timeout=seconds) if seconds > 0 else self._ended.get_nowait()
        except queue.Empty:
            return
        job, name = self._running.pop(future)
        try:
            outcome, _ = read_answer(future.result())
        except StartError as error:
            self._count_failure(error.args)  # type: ignore[arg-type]
            outcome = Lost("worker", error.args[1])
        except BrokenExecutor as error:
            self._mend(error)
            outcome = Lost("worker", f"the pool broke: {describe(error)}")
        except Exception as error:  # what the pool itself raises: a worker of Dask killed too often, a call that cannot be sent
            self._count_failure((False, f"the pool raised {describe(error)}", traceback.format_exc()))
            outcome = Lost("worker", describe(error))
        else:
            self._count_start()
        if self._is_dask:
            self._forget_call(name)
        self._tell(job, outcome)

    def _forget_call(self, name: str) -> None:
        """The scheduler's memory that a call has begun."""
        from distributed import Event

        with suppress(Exception):  # it is gone
            Event(name, client=self._pool).clear()

    def _mend(self, error: BrokenExecutor) -> None:
        """Another pool in the place of a broken one, once for all calls that were in it."""
        if self._make is None:
            self._broken = RuntimeError(f"the pool broke: {describe(error)}; a function that makes one would make another")
            return
        with suppress(BrokenExecutor):
            self._pool.submit(int)
            return
        self._pool.shutdown(wait=False)
        self._pool = self._make()

    def _close_pool(self) -> None:
        if self._ours and self._is_dask:
            self._pool.close()
        elif self._ours:
            self._pool.shutdown(wait=False)

    def close(self) -> None:
        for future, (_, name) in self._running.items():
            with suppress(Exception):
                future.cancel()
            if self._is_dask:
                self._forget_call(name)
        self._running.clear()
        self._close_pool()
        self._checkpoints.close()
