"""One worker process from the driver's side: spawn it, send it jobs, kill it with everything that it forked."""

from __future__ import annotations

import multiprocessing
import os
import pickletools
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.spawn import get_executable, get_preparation_data
from pathlib import Path
from typing import Any

from hpo.executors.watchdog import Watchdog, kill_group
from hpo.job import Job, Key

MAIN = Path(__file__).with_name("spawned.py")
MAINS = {"init_main_from_name", "init_main_from_path"}  # how a worker finds the main module, if it can be found


class Slot:
    """A spawned process in a session of its own, and the job it has. `arguments` is what spawned.py unpickles; `environment` are
    variables that it has beside those of this process, `place` is
    the number of its share of the machine.

    A closed connection means that the process has died; nothing waits for a pipe that its children have inherited.
    """

    def __init__(self, arguments: bytes, watchdog: Watchdog, environment: Mapping[str, str], place: int) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = subprocess.Popen(
            [get_executable(), *subprocess._args_from_interpreter_flags(), str(MAIN), str(theirs.fileno()), str(os.getpid())],  # type: ignore[attr-defined]
            pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment},
        )  # fmt: skip
        self.watchdog, self.place = watchdog, place
        watchdog.watch(self.pid)
        theirs.close()
        self.ready = False  # whether it has imported everything and waits for jobs
        self.failure: tuple[bool, str, str] | None = None  # why it could not start: unguarded, sentence, traceback
        self.job: Job | None = None
        self.since = 0.0  # when it got its job
        self.late = False  # killed because its job took too long
        self.jobs = 0  # how many it has done
        self.holds: dict[int, Key] = {}  # keys of the Runs it holds, by trial
        self.dropped: list[Key] = []  # since its last job; it hears of them with its next one
        with suppress(OSError):  # dead already: that will be seen
            self.connection.send({**preparation(), "born": time.time()})
            self.connection.send_bytes(arguments)

    @property
    def pid(self) -> int:
        return self.process.pid

    def give(self, job: Job, attempts: Mapping[Key, int]) -> None:
        """Sends a job with its attempts and what was dropped since the last one. OSError if the process is dead."""
        self.connection.send((job, attempts, self.dropped))
        self.dropped = []
        self.job, self.since = job, time.monotonic()

    def elapsed_seconds(self) -> float:
        """Seconds its job has had."""
        return time.monotonic() - self.since

    def kill(self) -> None:
        """Ends the process at once, whatever it does, with its group: what the objective forked goes with it."""
        kill_group(self.pid)

    def close(self) -> str:
        """Kills it and waits for that; how it ended, in words."""
        self.kill()
        status = self.process.wait()
        self.watchdog.forget(self.pid)
        self.connection.close()
        if status >= 0:
            return f"ended with status {status}"
        names = {number.value: f" ({number.name})" for number in signal.Signals}
        return f"was killed by signal {-status}{names.get(-status, '')}"


def is_unreachable(pickled: bytes) -> bool:
    """Whether what was pickled is defined in a main module that no other process can import: there is no file of it, as in a
    shell, in a notebook, behind -c and on standard input."""
    if b"__main__" not in pickled or MAINS & preparation().keys():
        return False
    names = (argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str))
    return any(name == "__main__" or name.startswith("__main__ ") for name in names)


def preparation() -> dict[str, Any]:
    """What a spawned process does before it unpickles anything: paths, folder and main module of this one."""
    data = get_preparation_data("worker")
    data["authkey"] = bytes(data["authkey"])
    if not Path(data.get("init_main_from_path", __file__)).is_file():  # "<stdin>": what was not typed there can be had without
        del data["init_main_from_path"]
    return data
