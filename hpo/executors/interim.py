"""Saving inside a job: the death of a worker or of a driver costs the minutes since the last save, and not the training."""

from __future__ import annotations

import math
import os
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo.executors.checkpoints import Checkpoints, publish, remove
from hpo.executors.faults import StorageError, storage
from hpo.job import Key
from hpo.values import duration, format_value, plain

EVERY = 300.0  # seconds between two saves inside a job
KINDS = {"function": "config", "report": "config, report"}  # arguments of the objectives that cannot be saved


def read_interval(every: float | None, kind: str) -> float | None:
    """The option `checkpoint_every` of an executor in seconds; None as it is. ValueError for what is no time, and for an
    objective that has nothing to save."""
    if every is None:
        return None
    if kind != "run":
        raise ValueError(f"checkpoint_every is {format_value(every)}, but f({KINDS[kind]}) cannot be saved inside a job; "
                         "give a Run factory, whose `advance` takes a `checkpoint`")  # fmt: skip
    return math.inf if plain(every) == math.inf else duration("checkpoint_every", every)


class Interim:
    """The `checkpoint` that a Run calls between two steps: saves it when `every` seconds have passed, since the job began or
    since the last save was done.

    The file is the attempt's own, and only a later attempt at the same job loads it. What the system refuses to write costs
    nothing but this save: a full disk ends no training that needs no checkpoint yet.
    """

    def __init__(self, run: Any, checkpoints: Checkpoints, key: Key, attempt: int, every: float) -> None:
        self.run, self.checkpoints, self.key, self.attempt, self.every = run, checkpoints, key, attempt, every
        self.seconds = 0.0  # that saving took
        self._due = time.monotonic() + every
        self._refused = False  # whether the system has refused a save of this job

    def __call__(self) -> None:
        started = time.monotonic()
        if started < self._due:
            return
        try:
            save(self.run, self.checkpoints, self.checkpoints.interim_path(self.key, self.attempt), self.key, self.attempt)
        except StorageError as error:
            if not self._refused:
                warnings.warn(f"trial {self.key[0]} goes on without a checkpoint inside its job: {error}", stacklevel=2)
            self._refused = True
        ended = time.monotonic()
        self.seconds += ended - started
        self._due = ended + self.every


def save(run: Any, checkpoints: Checkpoints, path: Path, key: Key, attempt: int) -> None:
    """Saves a Run under a name in the folder, whole or not at all. StorageError where the system is the reason."""
    half = checkpoints.half(key, attempt, os.getpid())
    try:
        with storage(f"saving {path.name}"):
            remove(half)
            run.save(str(half))
            publish(half, path)
            checkpoints.store(path)
    except BaseException:
        with suppress(OSError):
            checkpoints.discard(key, attempt, os.getpid())  # gives its space back
        raise
