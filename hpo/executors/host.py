"""The worker's side of every executor with workers elsewhere: what brings an objective to life there, and what becomes of a job.

It is one piece for processes, actors of Ray, jobs of a cluster and calls of a pool: each of them only carries bytes.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo.executors.base import Lost
    from hpo.executors.worker import Worker
    from hpo.job import Job, Key, Result

Description = tuple[bool, str, str]  # whether the script lacks its guard; why nothing started, as a clause; the traceback


class WorkerError(Exception):
    """What a worker raised while it started; its text is the traceback there."""


class StartError(Exception):
    """A worker could not begin. Its arguments are a Description, so it can be sent."""


def describe_failure(act: str, error: BaseException) -> Description:
    """What the driver is told of a worker that could not begin."""
    unguarded = bool(getattr(error, "unguarded", False)) or "bootstrapping phase" in str(error)
    said = "".join(traceback.format_exception_only(error)).strip()
    return unguarded, f"{act} raised {said}", traceback.format_exc()


def pack_arguments(dumps: Callable[[Any], bytes], *arguments: Any) -> bytes:
    """Arguments for `load_arguments`, with the folders from which this process imports."""
    return pickle.dumps(([os.path.abspath(folder) for folder in sys.path], dumps(arguments)))


def load_arguments(packed: bytes) -> tuple[Any, ...]:
    """(objective, horizon, checkpoints, checkpoint_every) for a worker; the objective is warm then. What the sender can import
    can be imported here, as far as its folders are seen. StartError if what is the user's raises."""
    act = "loading the objective"
    try:
        from hpo.objective import hook

        folders, arguments = pickle.loads(packed)
        sys.path += [folder for folder in folders if folder not in sys.path and os.path.exists(folder)]
        loaded: tuple[Any, ...] = pickle.loads(arguments)
        act = "warm()"
        if (warm := hook(loaded[0], "warm")) is not None:
            warm()  # imports and data that every job needs, while the driver makes up its mind
    except BaseException as error:
        raise StartError(*describe_failure(act, error)) from None
    return loaded


def open_worker(
    arguments: bytes, born: float | None = None, load: Callable[[bytes], tuple[Any, ...]] = load_arguments
) -> Worker:
    """A worker for these arguments. StartError as above.

    born: when it was asked for, by the wall clock
    """
    loaded = load(arguments)
    try:
        from hpo.executors.worker import Worker

        objective, horizon, checkpoints, every = loaded
        return Worker(objective, horizon, checkpoints, every, born)
    except BaseException as error:
        raise StartError(*describe_failure("building the worker", error)) from None


def execute_job(worker: Worker, job: Job, attempts: Mapping[Key, int], dropped: Iterable[Key] = ()) -> bytes:
    """The outcome of a job and the keys of the Runs that the worker holds then, pickled, for `read_answer`."""
    from hpo.executors.faults import failed_result

    worker.drop(dropped)
    outcome: Any
    try:
        outcome = _cut_curve(worker.execute(job, attempts), job) if worker.kind == "report" else worker.execute(job, attempts)
    except BaseException as error:  # KeyboardInterrupt raised by the objective
        outcome = failed_result(error, {})
    held = {trial: key for trial, (key, _) in worker.held.items()}
    try:
        return pickle.dumps((outcome, held))
    except Exception as error:  # metrics that cannot be sent
        return pickle.dumps((failed_result(error, {}), held))


def _cut_curve(outcome: Result | Lost, job: Job) -> Result | Lost:
    """Without what earlier jobs of the trial have told: f(config, report) that is called anew reports it again."""
    from hpo.executors.base import Lost

    if isinstance(outcome, Lost) or job.source is None:
        return outcome
    return replace(outcome, curve=tuple(point for point in outcome.curve if point[0] > job.source[1]))


def read_answer(text: bytes) -> tuple[Result | Lost, dict[int, Key]]:
    """What `execute_job` made; an error for what only the worker can read."""
    from hpo.job import Result

    try:
        outcome, held = pickle.loads(text)
    except Exception as error:
        return Result(error=f"the result cannot be read by the driver: {error}"), {}
    return outcome, held
