"""The main file of a worker process. It is run by its path, so that nothing is imported before it is told what to do."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, where `base` or `worker` would be found under wrong names

import multiprocessing
import pickle
import resource
import traceback
from multiprocessing.connection import Connection
from multiprocessing.spawn import prepare
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    try:
        connection.send(("ready", memory()))
        while True:
            job, attempts, dropped = connection.recv()
            worker.drop(dropped)
            _send(connection, _execute(worker, job, attempts), worker)
    except (EOFError, OSError):  # the driver is gone, or this is a fork that an objective has let return
        os._exit(1)


def _begin(connection: Connection, preparation: dict[str, Any], arguments: bytes) -> Worker:
    """Imports the main module and the objective, and prepares it; errors are sent to the driver, not printed."""
    act = "importing the main module"
    try:
        process: Any = multiprocessing.current_process()
        process._inheriting = True  # a pool that the main module opens now is one of a script without a guard
        prepare(preparation)
        process._inheriting = False
        act = "loading the objective"
        from hpo.objective import hook

        objective, horizon, checkpoints, every, born = pickle.loads(arguments)
        act = "warm()"
        if (warm := hook(objective, "warm")) is not None:
            warm()  # imports and data that every job needs, while the driver makes up its mind
        act = "building the worker"
        from hpo.executors.worker import Worker

        return Worker(objective, horizon, checkpoints, every, born)
    except BaseException as error:
        unguarded = bool(getattr(error, "unguarded", False)) or "bootstrapping phase" in str(error)
        said = "".join(traceback.format_exception_only(error)).strip()
        connection.send(("failed", unguarded, f"{act} raised {said}", traceback.format_exc()))
        os._exit(1)


def _execute(worker: Worker, job: Any, attempts: Any) -> Any:
    from hpo.executors.faults import failed_result

    try:
        return worker.execute(job, attempts)
    except BaseException as error:  # KeyboardInterrupt raised by the objective
        return failed_result(error, {})


def _send(connection: Connection, outcome: Any, worker: Worker) -> None:
    from hpo.executors.faults import failed_result

    held = {trial: key for trial, (key, _) in worker.held.items()}
    try:
        message = pickle.dumps(("done", outcome, held, memory()))
    except Exception as error:  # metrics that cannot be sent
        message = pickle.dumps(("done", failed_result(error, {}), held, memory()))
    connection.send_bytes(message)


def memory() -> int:
    """Bytes of memory that this process occupies now; on systems that do not tell, its highest so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
