"""The main file of a worker process. It is run by its path, so that nothing is imported before it is told what to do."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, where `base` or `worker` would be found under wrong names

import multiprocessing
import resource
from multiprocessing.connection import Connection
from multiprocessing.spawn import prepare
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from hpo.executors.worker import Worker


def main(descriptor: int, driver: int) -> None:
    """Prepares as the driver says, then executes its jobs until the driver is gone."""
    if os.getppid() != driver:
        os._exit(1)
    connection = Connection(descriptor)
    os.register_at_fork(after_in_child=connection.close)  # else the driver would not see that this process has died
    try:
        preparation, arguments = connection.recv(), connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
    worker = _begin(connection, preparation, arguments)
    from hpo.executors.host import execute_job

    try:
        connection.send(("ready", memory()))
        while True:
            job, attempts, dropped = connection.recv()
            connection.send(("done", execute_job(worker, job, attempts, dropped), memory()))
    except (EOFError, OSError):  # the driver is gone, or this is a fork that an objective has let return
        os._exit(1)


def _begin(connection: Connection, preparation: dict[str, Any], arguments: bytes) -> Worker:
    """Imports the main module and the objective, and prepares it; errors are sent to the driver, not printed."""
    process: Any = multiprocessing.current_process()
    process._inheriting = True  # a pool that the main module opens now is one of a script without a guard
    try:
        prepare(preparation)
    except BaseException as error:
        from hpo.executors.host import describe_failure

        _give_up(connection, describe_failure("importing the main module", error))
    process._inheriting = False
    from hpo.executors.host import StartError, open_worker

    try:
        return open_worker(arguments, preparation["born"])
    except StartError as error:
        _give_up(connection, error.args)


def _give_up(connection: Connection, failure: tuple[Any, ...]) -> NoReturn:
    connection.send(("failed", *failure))
    os._exit(1)


def memory() -> int:
    """Bytes of memory that this process occupies now; on systems that do not tell, its highest so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
