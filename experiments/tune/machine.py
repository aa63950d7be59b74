"""This machine's free memory, device, compilers and versions. Imports no torch, unless the device is CUDA."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from experiments.tune.settings import Settings
from models.engines.cpu.compiler import compiler, is_enabled

PACKAGES = ("torch", "numpy", "scipy")
LIBRARY = 400 * 10**6  # bytes of a worker that models.predict.memory does not count, mostly torch itself
CGROUPS = Path("/sys/fs/cgroup")
GROUPS = (  # files with limit, use, and the cached bytes that are released first: of version 2, of version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def worker_memory(settings: Settings) -> int:
    """Bytes that each worker may take for its training, if all share what is free now; at least 1."""
    return max(1, free_memory(settings.device) // settings.workers - LIBRARY)


def most_workers(device: str, least: int) -> int:
    """How many workers could each take `least` bytes for a training, by what is free now."""
    return free_memory(device) // (least + LIBRARY)


def free_memory(device: str) -> int:
    """The free bytes of a device."""
    return _free() if device == "cpu" else _free_cuda(device)


def _free(cgroups: Path = CGROUPS) -> int:
    """The free bytes of this machine, in a container at most those below its limit; all bytes of the machine if nothing says
    how many are free."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if found := re.search(r"MemAvailable:\s*(\d+) kB", _read(Path("/proc/meminfo"))):
        limits.append(1024 * int(found[1]))
    for limit, used, stat, cached in GROUPS:
        allowed, taken = _read(cgroups / limit).strip(), _read(cgroups / used).strip()
        if allowed.isdecimal():  # without a limit version 2 says "max", version 1 a number beyond all machines
            kept = re.search(rf"^{cached} (\d+)$", _read(cgroups / stat), re.MULTILINE)  # in use, but released when needed
            limits.append(int(allowed) - int(taken or 0) + (int(kept[1]) if kept else 0))
    return max(0, min(limits))


def _read(path: Path) -> str:
    """The text of a system file; empty if it is missing or not readable for us."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _free_cuda(device: str) -> int:
    import torch  # imported already, to look for the device

    return int(torch.cuda.mem_get_info(device)[0])


def has_kernels() -> bool:
    """Whether this machine seems to have the kernels of models/engines/cpu: they are not switched off, and there is a C
    compiler. The kernels themselves cannot be loaded without torch. ValueError if HPO_KERNELS is neither on nor off."""
    if not is_enabled():
        return False
    try:
        return bool(compiler())
    except (FileNotFoundError, ValueError):
        return False


def check_device(settings: Settings) -> None:
    """ValueError in one sentence if this machine lacks the device, or if the device cannot do what the settings ask for. Imports
    torch only for CUDA."""
    if settings.device != "cpu":
        from models.train import open_device

        open_device(settings.device)
    elif settings.precision == "fp16":
        raise ValueError("precision is 'fp16', but must be float32 or bf16 on the cpu")
    elif settings.engine == "graph":
        raise ValueError("engine is 'graph', but must be eager or compile on the cpu: CUDA graphs need a CUDA device")
    elif settings.engine == "compile" and shutil.which(cpp_compiler()) is None:
        raise ValueError(f"engine is 'compile', but must be eager where there is no C++ compiler {cpp_compiler()!r}")


def cpp_compiler() -> str:
    """The C++ compiler that torch.compile calls for a CPU."""
    return os.environ.get("CXX") or ("clang++" if platform.system() == "Darwin" else "g++")


def versions() -> dict[str, str]:
    """The versions that a result depends on besides the settings."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
