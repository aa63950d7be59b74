"""Which process a driver is, as a text that another process can read, and whether that process is gone."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

GONE = ("Z", "X", "x")  # states of a process that has ended and whose parent has not asked how


def this_process() -> str:
    """The machine since its last start, with the processes that can be seen from here; the number of this process; when it
    began, since numbers come again."""
    return f"{_machine()}/{os.getpid()}/{_began(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether a process surely runs no more. False for one of another machine, and where it cannot be known."""
    parts = process.rsplit("/", 2)
    if len(parts) != 3 or parts[0] != _machine() or not parts[1].isdigit() or os.name != "posix":
        return False
    number = int(parts[1])
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        pass
    began = _began(number)
    return began is None or (began != "" and began != parts[2])


@cache
def _machine() -> str:
    """What distinguishes machines, their starts, and containers, in each of which processes have numbers of their own."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _began(number: int) -> str | None:
    """When a process began, in the system's ticks; empty where the system does not tell; None if it has ended."""
    if not Path("/proc/self/stat").exists():
        return ""
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return None if fields[0] in GONE else fields[19]


def describe_process(process: str) -> str:
    """A process as people know it: by its number here, elsewhere with a few letters that tell machines apart."""
    machine, _, rest = process.rpartition("/")[0].rpartition("/")
    if not machine:
        return process
    return f"process {rest}" if machine == _machine() else f"process {rest} on {machine.partition('-')[0]}"
