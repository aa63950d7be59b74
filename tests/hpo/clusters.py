"""What the executors of clusters stand on in tests: a Ray of this machine, a queue of processes, a pool. What is absent skips."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hpo.executors import BatchSystem
from tests.hpo.queueing import install

PBS = BatchSystem(
    submit="qsub -N {name} -o {log} {options} {script}", cancel="qdel {jobs}", status="qstat",
    line=r"^(?P<job>\d+)\.\S+ .* (?P<state>[A-Z]) \S+$", header=["#PBS -j oe"],
)  # fmt: skip
FORGETFUL = ("slurm", "batch", "futures")  # a job begins at its checkpoint there: nothing is held in memory


def needs(name: str) -> dict[str, Any]:
    """The options without which an executor cannot be made here, once what it stands on is there."""
    if name == "ray":
        ray_cluster()
    if name in ("slurm", "batch"):
        queue(8)
    if name == "futures":
        return {"pool": pool()}
    options: dict[str, dict[str, Any]] = {"slurm": {"poll": 0.1}, "batch": {"system": PBS, "poll": 0.1}}
    return options.get(name, {})


@cache
def ray_cluster() -> Any:
    """One Ray with eight CPUs and a GPU that it only says it has for all tests of this process, to which tests may add nodes."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a socket's path is short
    os.environ |= {
        "RAY_TMPDIR": place,  # its file of addresses is looked for there, in a folder that Ray itself does not make
        "RAY_prestart_worker_first_driver": "0",  # eight processes for nobody: actors bring their environment
    }
    folder = Path(place, "ray")
    folder.mkdir()
    head = {"num_cpus": 8, "num_gpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False, "temp_dir": str(folder)}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.connect()

    def end() -> None:
        import ray

        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)

    atexit.register(end)
    return cluster


@cache
def queue(slots: int) -> Path:
    """A queue whose programs are on PATH, for all tests of this process."""
    place = Path(tempfile.mkdtemp(prefix="queue-"))
    os.environ["PATH"] = f"{install(place / 'queue', slots)}{os.pathsep}{os.environ['PATH']}"
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place / "queue"


@cache
def pool() -> ProcessPoolExecutor:
    found = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    atexit.register(found.shutdown, cancel_futures=True)
    return found
