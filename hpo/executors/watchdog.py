"""A small process that kills what a dead driver leaves: every worker's process group, with all that the objective forked.

A worker cannot do it by itself: it may be importing, hold the interpreter's lock in foreign code, or have been killed
together with the driver, while what it forked lives on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
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
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


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
        kill_group(group)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
