"""A small process that kills what a dead driver leaves: every worker's process group, with all that the objective forked, also
where that has begun groups or sessions of its own, as torchrun does for its workers.

A worker cannot do it by itself: it may be importing, hold the interpreter's lock in foreign code, or have been killed
together with the driver, while what it forked lives on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress

LOOK = 0.5  # seconds between two looks at the driver, should something that it forked keep the pipe open


class Watchdog:
    """The driver's side: the process groups to kill when this process ends."""

    def __init__(self) -> None:
        reader, self._pipe = os.pipe()
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(reader), str(os.getpid())]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=[reader], start_new_session=True, stdin=null, stdout=null, stderr=null
        )
        os.close(reader)

    def watch(self, group: int) -> None:
        """From now on this process group is killed when the driver ends."""
        self._say(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group is gone."""
        self._say(f"-{group}\n")

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody has killed it: workers still end when they find their driver gone
            os.write(self._pipe, line.encode())

    def close(self) -> None:
        os.close(self._pipe)
        self._process.wait()


def kill_group(group: int) -> None:
    """Kills every process of a group, if there are any left."""
    signal_groups([group], signal.SIGKILL)


def signal_groups(groups: Iterable[int], number: int) -> None:
    """Sends a signal to every process of some groups; those that are gone are passed over."""
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def list_groups(leader: int) -> list[int]:
    """The process group of its leader, and those of all that descends from the leader: they may have begun their own. Only the
    first where the system does not tell (/proc), or where the leader is gone. Not those of watchdogs, which end by themselves
    once they have done their work."""
    groups, left = {leader}, [leader]
    while left:
        for child in _list_children(left.pop()):
            with suppress(OSError):  # it has just ended
                group = os.getpgid(child)
                if group in groups or not _is_watchdog(child):
                    groups.add(group)
                    left.append(child)
    return [group for group in groups if group != os.getpgrp()]  # whoever is forked here is in this one for a moment


def _is_watchdog(process: int) -> bool:
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return os.fsencode(os.path.abspath(__file__)) in file.read().split(b"\0")


def _list_children(process: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):
            with suppress(OSError), open(f"/proc/{process}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def main(pipe: int, driver: int) -> None:
    """Reads groups until the driver is gone, and kills those that it has not taken back."""
    groups: set[int] = set()
    text = b""
    while True:
        if select.select([pipe], [], [], LOOK)[0]:
            read = os.read(pipe, 4096)
            if not read:
                break
            *lines, text = (text + read).split(b"\n")
            for line in lines:
                (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
        elif os.getppid() != driver:
            break
    for group in groups:
        signal_groups(list_groups(group), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
