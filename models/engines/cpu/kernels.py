"""Compiles kernels.c once for this processor and keeps it: the computations of a GPT between its matrix products on a CPU.

The first use needs a C compiler (GCC or clang: $CC, else cc) for about a second. Without one, `library` returns None and
training goes through autograd: slower, and the same up to rounding. HPO_KERNELS=off switches the kernels off.

A loaded library runs with the rights of this user. So the file is in a folder of the cache that only this user may write
(0700), and it is loaded only if nobody else could have written or replaced it. Otherwise it is compiled for one process, in
another folder.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from models.data.cache import cache_folder
from models.engines.cpu.compiler import compiler, is_enabled
from models.ownership import flaw, flaw_of_file, make_folder, revoke_write

SOURCE = Path(__file__).parent / "kernels.c"
# Not -ffast-math: a diverging run must produce NaNs. If a compiler refuses NATIVE, it is called without it.
NATIVE = ["-march=native", "-mprefer-vector-width=512"]
FLAGS = ["-O3", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd", "-shared", "-fPIC"]
LIMIT = 120.0  # seconds
# Bytes. After an array of this size is freed, glibc keeps the memory of smaller arrays; a larger one has no such effect.
KEPT = (32 << 20) - (1 << 16)
_log = logging.getLogger(__name__)

P, L, F, I = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_int
SIGNATURES: dict[str, tuple[list[type], type | None]] = {
    "attention": ([P] * 3 + [L] * 5 + [F], I),
    "attention_backward": ([P] * 5 + [L] * 5 + [F], I),
    "rotate": ([P] * 3 + [F] + [L] * 5, None),
    "norm": ([P] * 7 + [L] * 2 + [F, I], None),
    "norm_backward": ([P] * 7 + [L] * 2 + [I], None),
    "activate": ([P] * 2 + [L] * 2 + [I], None),
    "stranger": ([P] + [L] * 2, L),
    "embed": ([P] * 4 + [L] * 3, None),
    "embed_backward": ([P] * 4 + [L] * 3, None),
    "token_loss": ([P] * 2 + [L] * 2 + [F] * 3, F),
}


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled kernels. None if they are switched off, or if they cannot be compiled, which is logged.

    ValueError if HPO_KERNELS is neither on nor off.
    """
    if not is_enabled():
        return None
    try:
        return _load(_library_file())
    except (OSError, RuntimeError, ValueError, AttributeError, subprocess.SubprocessError) as error:
        _log.warning("training goes on without the kernels for CPUs, slower: %s", _words(error))
        return None


@lru_cache(maxsize=1)
def keep_memory() -> None:
    """Makes this process keep the memory of freed arrays from now on.

    By default glibc gives the memory of large arrays back to the system, which clears it and returns it page by page at every
    step.
    """
    torch.empty(KEPT, dtype=torch.uint8)


def pointer(tensor: Tensor | None) -> int | None:
    """The address of a tensor's first element, for C. The tensor must be contiguous, and stay alive during the call."""
    return None if tensor is None else tensor.data_ptr()


def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, result
    return loaded


def _library_file() -> Path:
    """The file of the library, compiled if it is missing or not complete. Raises one of the errors that `library` logs."""
    command = compiler()
    folder, name = _folder(), f"kernels-{_key(command)}"
    for path in folder.glob(f"{name}-*.so"):
        wrong = flaw_of_file(path)
        if wrong is None and path.stem.endswith(_digest(path)):
            return path
        if wrong is not None:
            _log.warning("the kernels for CPUs are compiled again: %s", wrong)
        path.unlink(missing_ok=True)
    return _compile(command, folder, name)


def _folder() -> Path:
    """This user's folder in the cache; a folder for this process alone if that is not writable, or is writable for others."""
    try:
        return _cache_folder()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        _log.info("the kernels for CPUs are compiled for this process alone: %s", error)
    except Untrusted as error:
        _log.warning("the kernels for CPUs are compiled for this process alone: %s", error)
    folder = Path(tempfile.mkdtemp(prefix="hpo-kernels-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _check(folder)
    return folder


def _cache_folder() -> Path:
    cache = cache_folder(None).resolve()
    make_folder(cache)
    if not os.environ.get("HPO_CACHE"):
        revoke_write(cache)
    folder = cache / (f"kernels-of-{os.getuid()}" if hasattr(os, "getuid") else "kernels")
    make_folder(folder, 0o700)
    _check(folder)
    with tempfile.TemporaryFile(dir=folder):
        return folder


class Untrusted(ValueError):
    """Raised for a folder to which others may write."""


def _check(folder: Path) -> None:
    wrong = flaw(folder)
    if wrong is not None:
        raise Untrusted(f"{wrong}, and could exchange what is loaded from {folder}")


def _compile(command: list[str], folder: Path, name: str) -> Path:
    """Compile. The file's name ends with the digest of its bytes, so that a file that was cut short is never loaded: it could
    kill the process."""
    with tempfile.TemporaryDirectory(dir=folder) as place:  # others may compile at the same time
        made = Path(place) / "kernels.so"
        try:
            _run([*command, *FLAGS, *NATIVE, str(SOURCE), "-o", str(made), "-lm"])
        except subprocess.CalledProcessError:
            _run([*command, *FLAGS, str(SOURCE), "-o", str(made), "-lm"])
        made.chmod(0o700)
        path = folder / f"{name}-{_digest(made)}.so"
        os.replace(made, path)
    return path


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _run(arguments: list[str]) -> None:
    subprocess.run(arguments, check=True, capture_output=True, timeout=LIMIT, text=True)


def _words(error: Exception) -> str:
    """An error in words; of a compiler its first message."""
    said = (getattr(error, "stderr", None) or "").splitlines()
    return next((line for line in said if "error" in line), str(error))


def _key(command: list[str]) -> str:
    """A digest of everything that the machine code depends on: source, compiler, processor."""
    version = subprocess.run([*command, "--version"], capture_output=True, timeout=LIMIT).stdout
    parts = [SOURCE.read_bytes(), version, " ".join([*command, *FLAGS, *NATIVE]).encode(), _processor().encode()]
    return hashlib.blake2b(b"\0".join(parts), digest_size=12).hexdigest()


def _processor() -> str:
    """The processor's instruction sets, which say more than its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
