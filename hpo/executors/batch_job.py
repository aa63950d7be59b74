"""The main file of a job of a batch system: `python batch_job.py FOLDER NAME`. It is run by its path, as spawned.py is.

It reads FOLDER/worker (what to import, the objective) and NAME.job, writes NAME.begun when it begins and NAME.done, whole or not
at all, when it has its outcome.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, where `base` or `worker` would be found under wrong names

import multiprocessing
import pickle
import threading
from multiprocessing.spawn import prepare
from pathlib import Path
from typing import Any

GRACE = 10.0  # seconds that a parked objective has for its `finally` once its outcome is known


def main(folder: Path, name: str) -> None:
    """Executes one job, unless the scheduler has started it before, or the driver has gone and taken the folder with it."""
    try:
        with (folder / f"{name}.begun").open("x", encoding="utf-8") as file:
            file.write(f"{os.uname().nodename} {os.getpid()}")
        preparation, arguments, share = pickle.loads((folder / "worker").read_bytes())
        job, attempts, born = pickle.loads((folder / f"{name}.job").read_bytes())
    except FileNotFoundError:
        sys.exit("the driver of this job is gone")
    except FileExistsError:
        write(folder / f"{name}.done", pickle.dumps(("again", b"")))
        return
    from_main = _prepare(preparation)
    if from_main is not None:
        write(folder / f"{name}.done", pickle.dumps(("failed", from_main)))
        return
    from hpo.executors.devices import WorkerResources, list_devices
    from hpo.executors.host import StartError, execute_job, open_worker

    cpu, gpu = share
    os.environ |= WorkerResources(cpu, gpu, list_devices() or None).environment(False)
    try:
        worker = open_worker(arguments, born)
    except StartError as error:
        write(folder / f"{name}.done", pickle.dumps(("failed", error.args)))
        return
    write(folder / f"{name}.done", pickle.dumps(("done", execute_job(worker, job, attempts))))
    worker.close()
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(GRACE)


def _prepare(preparation: dict[str, Any]) -> tuple[Any, ...] | None:
    """Imports the main module as the driver has it; what the driver is told if that fails."""
    process: Any = multiprocessing.current_process()
    process._inheriting = True  # a script without a guard would submit jobs of its own
    try:
        prepare(preparation)
    except BaseException as error:
        from hpo.executors.host import describe_failure

        return describe_failure("importing the main module", error)
    finally:
        process._inheriting = False
    return None


def write(path: Path, text: bytes) -> None:
    """A file that is there whole or not at all, on whatever machine it is read."""
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    try:
        with half.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except FileNotFoundError:
        sys.exit("the driver of this job is gone")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
