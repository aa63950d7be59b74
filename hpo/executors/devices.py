"""What each worker gets of a machine, devices and threads, by its environment, before anything is imported there.

Devices are named as CUDA_VISIBLE_DEVICES names them: numbers, or UUIDs of GPUs and of MIG instances. A worker sees its own alone,
so `cuda:0` is the right one in each. Nothing here imports torch, which would take a device's memory for the driver.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hpo.values import format_value, is_finite, plain, quantity, whole

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
SHARE = "HPO_WORKER_RESOURCES"  # what a worker got, as JSON, for `worker_resources`
# What the libraries that objectives use read when they are loaded; the same list as joblib's.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
                    "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")  # fmt: skip
DEVICE = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")
USUAL = 2  # workers where nobody says how many, and no devices do


@dataclass(frozen=True)
class WorkerResources:
    """What a worker has of its machine.

    cpu       CPU threads
    gpu       how much of its devices: how many, or the fraction of one that it shares with other workers
    devices   their names, in the order in which the worker sees them; None if nobody assigned or found any
    """

    cpu: int
    gpu: float
    devices: tuple[str, ...] | None

    def environment(self, is_declared: bool) -> dict[str, str]:
        """The variables that a worker is started with. Threads that nobody declared are left to those of this process."""
        found = {SHARE: json.dumps({"cpu": self.cpu, "gpu": self.gpu, "devices": self.devices})}
        threads = {name: str(self.cpu) for name in THREAD_VARIABLES}
        found |= threads if is_declared else {name: os.environ.get(name, value) for name, value in threads.items()}
        if self.devices is not None:
            found[VISIBLE] = ",".join(self.devices)
            if VISIBLE not in os.environ:  # nvidia-smi's numbers, and a user's, who reads them there
                found[ORDER] = os.environ.get(ORDER, "PCI_BUS_ID")
        return found


def worker_resources() -> WorkerResources:
    """What the worker in which this is called has: inside an objective, for its device and its threads.

    A fraction of a device is a promise that nobody enforces, so an objective may keep it with
    `torch.cuda.set_per_process_memory_fraction(hpo.worker_resources().gpu)`. Where no executor assigned anything (inline,
    threads) it is what this process may use.
    """
    said = os.environ.get(SHARE)
    if said is None:
        devices = list_devices()
        return WorkerResources(count_cores(), float(len(devices)), devices or None)
    found = json.loads(said)
    return WorkerResources(found["cpu"], found["gpu"], None if found["devices"] is None else tuple(found["devices"]))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def list_devices() -> tuple[str, ...]:
    """The names of the CUDA devices that this process may use: of CUDA_VISIBLE_DEVICES where it is set, up to the first that is
    none, as CUDA reads it; else of nvidia-smi, with MIG instances in the place of their GPU. Empty where there are none."""
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return _ask_driver()
    names = [name.strip() for name in visible.split(",")]
    bad = next((place for place, name in enumerate(names) if not DEVICE.fullmatch(name)), len(names))
    return tuple(dict.fromkeys(names[:bad]))


@cache
def _ask_driver() -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        said = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return read_listing(said.stdout) if said.returncode == 0 else ()


def read_listing(text: str) -> tuple[str, ...]:
    """The devices in what `nvidia-smi -L` prints: numbers of GPUs, and UUIDs of MIG instances of those that are divided."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            found[gpu[1]] = []
        elif found and (instance := re.search(r"\(UUID: (MIG-[\w/-]+)\)", line)):
            found[next(reversed(found))].append(instance[1])
    return tuple(name for gpu, instances in found.items() for name in instances or [gpu])


def read_devices(devices: Any) -> tuple[str, ...]:
    """The option `devices`: names of devices, each once. ValueError for anything else."""
    allowed = "allowed is a list of numbers or UUIDs, as CUDA_VISIBLE_DEVICES has them"
    if isinstance(devices, str | bytes) or not isinstance(devices, Sequence):
        raise ValueError(f"devices is {format_value(devices)}; {allowed}")
    names = tuple(str(plain(device)) for device in devices)
    for name, device in zip(names, devices, strict=True):
        if isinstance(device, bool) or not DEVICE.fullmatch(name):
            raise ValueError(f"devices holds {format_value(device)}; {allowed}")
    if len(set(names)) < len(names):
        share = 'resources={"gpu": 0.5}'
        raise ValueError(f"devices is {format_value(devices)}, which names one twice; workers share a device by {share}")
    return names


def read_resources(resources: Any, names: Sequence[str] = ("cpu", "gpu")) -> dict[str, float]:
    """The option `resources`, what one trial needs: {"cpu": 2, "gpu": 0.5}. ValueError for a name that is not allowed, and for
    what is no amount: numbers of at least 0, of GPUs fractions below 1 or whole ones. No `names`: every name is allowed."""
    if resources is None:
        return {}
    if not isinstance(resources, Mapping) or not all(isinstance(name, str) for name in resources):
        raise ValueError(f'resources is {format_value(resources)}; allowed is a mapping such as {{"cpu": 2, "gpu": 0.5}}')
    found = {name: plain(amount) for name, amount in resources.items()}
    for name, amount in found.items():
        if names and name not in names:
            raise ValueError(f"resources names {name!r}; allowed are {list(names)}")
        if not is_finite(amount) or amount < 0:
            raise ValueError(f"resources has {format_value(amount)} of {name!r}; allowed is a finite number of at least 0")
    if found.get("gpu", 0) > 1 and found["gpu"] != int(found["gpu"]):
        raise ValueError(f"resources has {found['gpu']} of 'gpu'; allowed are a fraction of one, and whole ones")
    return {name: float(amount) for name, amount in found.items()}


def plan_workers(workers: int | None, resources: Any, devices: Any) -> list[WorkerResources]:
    """What every worker of a pool on this machine gets. ValueError in a sentence where more is asked for than there is.

    workers     how many; None: as many as the resources allow, else one a device where there are several, else 2
    resources   what one trial needs, as `read_resources` has it. Where it says nothing of devices, they are divided evenly, or
                shared where there are more workers than devices
    devices     names; None: those that this process may use
    """
    needs = read_resources(resources)
    given = devices is not None
    names = read_devices(devices) if given else list_devices()
    limits = _limits(needs, names)
    count = whole("workers", workers, 1) if workers is not None else min(limits.values(), default=max(len(names), USUAL))
    for name, most in limits.items():
        _refuse_too_many(name, needs[name], count, most, len(names) if name == "gpu" else count_cores())
    threads = max(1, int(needs.get("cpu", 1)))
    return [WorkerResources(threads, *_devices_of(place, count, needs.get("gpu"), names, given)) for place in range(count)]


def _limits(needs: Mapping[str, float], names: Sequence[str]) -> dict[str, int]:
    """How many trials fit at once, by what they need."""
    found = {}
    if needs.get("cpu"):
        found["cpu"] = math.floor(count_cores() / needs["cpu"])
    if needs.get("gpu"):
        gpu = needs["gpu"]
        found["gpu"] = len(names) * math.floor(1 / gpu + 1e-9) if gpu < 1 else len(names) // int(gpu)
    return found


def _refuse_too_many(name: str, need: float, workers: int, most: int, there: int) -> None:
    if workers > most or most == 0:
        nouns = {"cpu": "CPU cores", "gpu": "GPUs"}[name]
        many = f"{workers} workers" if workers > 1 else "a trial"
        each = " each" if workers > 1 else ""
        raise ValueError(
            f"{many} with {need:g} {nouns}{each} came, but {quantity(there, nouns)} {'is' if there == 1 else 'are'} here, which "
            f"{'has' if there == 1 else 'have'} room for {quantity(most, 'trials')} at once"
        )


def _devices_of(
    place: int, workers: int, gpu: float | None, names: tuple[str, ...], given: bool
) -> tuple[float, tuple[str, ...] | None]:
    """How much of which devices the worker at a place gets."""
    if gpu == 0:
        return 0.0, ()
    if not names:
        return 0.0, () if given else None
    if gpu is None:
        gpu = float(len(names) // workers) if workers <= len(names) else 1 / math.ceil(workers / len(names))
    if gpu < 1:
        return gpu, (names[place % len(names)],)
    return gpu, names[place * int(gpu) : (place + 1) * int(gpu)]
