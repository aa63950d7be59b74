"""Workers that are actors of Ray, on one machine or on many: https://docs.ray.io.

An actor is a process that Ray places where there is room. It keeps its Runs in memory between rungs; if it dies, or its node,
only its job is lost, and another actor is asked for. What it was training goes on from the checkpoints in the folder, which all
nodes must see.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo.executors.base import Lost
from hpo.executors.devices import SHARE, THREAD_VARIABLES, WorkerResources, list_devices, read_resources
from hpo.executors.distant import TICK, Distant, import_optional
from hpo.executors.host import StartError, execute_job, open_worker, read_answer
from hpo.executors.watchdog import Watchdog
from hpo.frames import stack_level
from hpo.job import Job, Key
from hpo.objective import Objective
from hpo.values import format_value, quantity

REST = 2.0  # seconds before a failed start is tried again


class WorkerActor:
    """A worker inside Ray. Whatever its objective forks is killed with it."""

    def begin(self, arguments: bytes, cpu: int, gpu: float, born: float) -> str:
        """Loads the objective; the node's address and the number of the process."""
        import ray

        with suppress(OSError):  # it leads its group already
            os.setpgid(0, 0)
        if os.getpgrp() == os.getpid():
            self.watchdog = Watchdog()
            self.watchdog.watch(os.getpid())
        os.environ[SHARE] = WorkerResources(cpu, gpu, list_devices() if gpu else ()).environment(True)[SHARE]
        self.worker = open_worker(arguments, born)
        return f"{ray.util.get_node_ip_address()} {os.getpid()}"

    def answer(self, job: Job, attempts: Mapping[Key, int], dropped: list[Key]) -> bytes:
        return execute_job(self.worker, job, attempts, dropped)


class ActorSlot:
    """One actor from the driver's side, and the job it has."""

    def __init__(self, actor: Any, arguments: bytes, cpu: int, gpu: float) -> None:
        self.actor = actor
        self.call = actor.begin.remote(arguments, cpu, gpu, time.time())  # what it is asked for now
        self.where = ""  # its node, and its process there
        self.ready = False
        self.job: Job | None = None
        self.since = 0.0
        self.holds: dict[int, Key] = {}
        self.dropped: list[Key] = []

    def give(self, job: Job, attempts: Mapping[Key, int]) -> None:
        self.call = self.actor.answer.remote(job, attempts, self.dropped)
        self.dropped, self.job, self.since = [], job, time.monotonic()


class Ray(Distant[ActorSlot]):
    """`workers` actors (default: as many as the cluster has room for now), each of which keeps its Runs in memory.

    A job beyond `timeout` seconds is an error, and its actor is killed. An actor that finds no room yet waits for it, while the
    others work.

    resources     what one trial needs: {"cpu": 2, "gpu": 0.5}, and Ray's further resources by their names, "memory" (bytes) among
                  them. Default: one CPU and, as everywhere in Ray, no GPU
    address       of the cluster: "auto", "10.0.0.1:6379", "ray://...", or "local" for one of this machine that is started now
                  and ends with the executor. None is the Ray that this process has joined, else the cluster that RAY_ADDRESS
                  names or that runs on this machine, else "local"
    runtime_env   what Ray prepares for the actors: {"working_dir": ".", "pip": [...], "env_vars": {...}}
    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int | None = None,
        timeout: float | None = None,
        *,
        resources: Mapping[str, float] | None = None,
        address: str | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        ray = import_optional("ray", "ray")
        needs = {"cpu": 1.0, **read_resources(resources, ())}
        super().__init__(objective, horizon, folder, 1 if workers is None else workers, timeout, checkpoint_every)
        try:
            self._arguments = self._pack(ray.cloudpickle.dumps)
            self._ours = not ray.is_initialized()
            if address is not None and not self._ours:
                raise ValueError(f"address is {format_value(address)}, but this process has joined a Ray already; leave it out")
            if self._ours:
                _join(ray, address)
        except BaseException:
            self._checkpoints.close()
            raise
        try:
            self._count_room(needs, workers)
            if self.kind == "run" and folder is None and len(_nodes()) > 1:
                raise ValueError("folder is None, but checkpoints of several nodes need one; give a path or a URL that all see")
            others = {name: amount for name, amount in needs.items() if name not in ("cpu", "gpu", "memory")}
            self._share = max(1, int(needs["cpu"])), needs.get("gpu", 0.0)
            threads = dict.fromkeys(THREAD_VARIABLES, str(self._share[0]))  # of the process, before it imports anything
            variables = {**threads, **(runtime_env or {}).get("env_vars", {})}
            self._actor = ray.remote(WorkerActor).options(
                num_cpus=needs["cpu"], num_gpus=needs.get("gpu", 0.0), memory=needs.get("memory"), resources=others or None,
                max_restarts=0, max_task_retries=0, runtime_env={**(runtime_env or {}), "env_vars": variables},
            )  # fmt: skip
            self._due: list[float] = []  # when failed starts are tried again
            for _ in range(self.workers):
                self._begin()
        except BaseException:
            self.close()
            raise

    def _count_room(self, needs: Mapping[str, float], workers: int | None) -> None:
        """Sets the number of workers where none was given. ValueError for a trial that no node could hold; a warning where not
        all workers have room."""
        nodes = _nodes()
        most = sum(min((int(node.get(_ray_name(name), 0.0) / need) for name, need in needs.items() if need), default=1)
                   for node in nodes)  # fmt: skip
        if most == 0:
            asked = " and ".join(f"{need:g} of {name!r}" for name, need in needs.items() if need)
            raise ValueError(f"a trial that needs {asked} came, but none of {quantity(len(nodes), 'nodes')} of Ray has so much")
        if workers is None:
            self.workers = most
        elif workers > most:
            warnings.warn(f"{workers} workers came, but Ray has room for {most} now; the others wait", stacklevel=stack_level())

    def _begin(self) -> None:
        self._slots.append(ActorSlot(self._actor.remote(), self._arguments, *self._share))

    @property
    def pids(self) -> list[tuple[str, int]]:
        """(node, process id) of the actors, once all are ready."""
        while self._due or not all(slot.ready for slot in self._slots):
            self._poll(TICK)
        found = (slot.where.split() for slot in self._slots)
        return [(node, int(pid)) for node, pid in found]

    def _poll(self, seconds: float) -> None:
        import ray

        while self._due and self._due[0] <= time.monotonic():
            self._due.pop(0)
            self._begin()
        calls = {slot.call: slot for slot in self._slots if not slot.ready or slot.job is not None}
        if not calls:
            time.sleep(min(seconds, 0.1))
            return
        done, _ = ray.wait(list(calls), timeout=min(seconds, self._patience()))
        for call in done:
            self._receive(calls[call])
        for slot in [slot for slot in self._slots if slot.job is not None and self._is_late(slot)]:
            job, slot.job = slot.job, None
            assert job is not None
            self._replace(slot)
            self._discard(job, slot)
            self._tell_late(job, time.monotonic() - slot.since)

    def _is_late(self, slot: ActorSlot) -> bool:
        return self.timeout is not None and time.monotonic() - slot.since >= self.timeout

    def _patience(self) -> float:
        if self.timeout is None:
            return float("inf")
        return max(0.0, min((self.timeout - (time.monotonic() - slot.since) for slot in self._slots if slot.job is not None),
                            default=float("inf")))  # fmt: skip

    def _receive(self, slot: ActorSlot) -> None:
        """An actor is ready, could not start, has done its job, or has died."""
        import ray

        try:
            said = ray.get(slot.call)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, StartError):
                raise
            self._fail(slot, error.cause.args)
        except ray.exceptions.RayError as error:
            self._bury(slot, _describe_death(error))
        else:
            if not slot.ready:
                slot.where, slot.ready = said, True
                self._count_start()
            else:
                job, slot.job = slot.job, None
                assert job is not None
                outcome, slot.holds = read_answer(said)
                self._tell(job, outcome, slot.where.split()[0])
        self._dispatch()

    def _bury(self, slot: ActorSlot, how: str) -> None:
        """An actor is dead: reports its job, and asks for another actor."""
        job, slot.job = slot.job, None
        if job is not None:
            self._discard(job, slot)
            self._done.append((job, Lost("worker", f"the actor died: {how}")))
        if slot.ready:
            self._replace(slot)
        else:
            self._fail(slot, (False, f"it died: {how}", ""))

    def _discard(self, job: Job, slot: ActorSlot) -> None:
        """Deletes what a dead actor has left half-written."""
        self._checkpoints.discard(job.key, self._attempt(job), int(slot.where.split()[1]))

    def _fail(self, slot: ActorSlot, failure: Any) -> None:
        self._end(slot)
        self._due.append(time.monotonic() + (REST if self._failed else 0.0))
        self._count_failure(failure)

    def _replace(self, slot: ActorSlot) -> None:
        self._end(slot)
        self._begin()

    def _end(self, slot: ActorSlot) -> None:
        import ray

        self._slots.remove(slot)
        with suppress(Exception):  # it is dead, or its cluster is gone
            ray.kill(slot.actor, no_restart=True)

    def close(self) -> None:
        import ray

        for slot in list(self._slots):
            self._end(slot)
        if self._ours:
            ray.shutdown()
            self._ours = False
        self._checkpoints.close()


def _join(ray: Any, address: str | None) -> None:
    """Joins a Ray, or starts one. ValueError where nobody answers."""
    try:
        ray.init(address=address, logging_level="error", include_dashboard=False if address == "local" else None)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"address is {format_value(address)}, where no Ray can be joined: {said}") from error


def _ray_name(name: str) -> str:
    return {"cpu": "CPU", "gpu": "GPU"}.get(name, name)


def _nodes() -> list[Mapping[str, float]]:
    """The resources of every node that lives."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _describe_death(error: BaseException) -> str:
    """What Ray says of a death, without its lists of numbers, and without its guesses, which are the same every time."""
    lines = [line.strip() for line in str(error).partition("Some common causes")[0].splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("class_name", "actor_id", "pid", "namespace", "ip"))]
    return " ".join(told)[:300] or type(error).__name__
