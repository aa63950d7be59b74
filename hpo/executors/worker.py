"""What one worker does with a job: find or build the Run, train it, save it, and hold it for the next rung."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.executors.base import Lost
from hpo.executors.checkpoints import Checkpoints
from hpo.executors.faults import MissingSource, StorageError, describe, failed_result, storage
from hpo.executors.interim import EVERY, Interim, save
from hpo.forks import one_process
from hpo.job import Job, Key, Result
from hpo.objective import FunctionRun, Objective, ReportRun, build, hook, is_saved_inside, kind
from hpo.signals import Terminated
from hpo.values import is_several, number

HELD = 4  # Runs in memory
PARKED = 16  # parked f(config, report); they cannot be saved, so one that is closed runs again from its beginning


class Worker:
    """Executes jobs one after the other. Dropping a held Run changes nothing but time.

    What it measures, in `Result.system`: `seconds` the job took here, of which `setup_seconds` went into building and
    loading the Run and `save_seconds` into its checkpoints; `idle_seconds` that the worker had waited for the job,
    `birth_seconds` that it had taken to be ready for its first (from `born`, a wall-clock time).
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int,
        checkpoints: Checkpoints,
        every: float | None = None,
        born: float | None = None,
    ) -> None:
        self.objective, self.horizon, self.checkpoints, self.every = objective, horizon, checkpoints, every
        self.birth = time.time() - born if born is not None else 0.0
        self.rested = time.perf_counter()  # when its last job ended
        self.kind = kind(objective)
        self.held: OrderedDict[int, tuple[Key, Any]] = OrderedDict()  # by trial, the least recently trained first
        self._lock = threading.RLock()  # of `held`: another thread may take one over

    def execute(self, job: Job, attempts: Mapping[Key, int] | None = None) -> Result | Lost:
        """The job's result; whatever the objective raises is its error. Lost if its checkpoint cannot be written or read.

        attempts: as `Executor.submit` has them
        """
        start = time.perf_counter()
        times = {"idle_seconds": start - self.rested, "birth_seconds": self.birth}
        self.birth = 0.0
        try:
            result: Result | Lost = self._execute(job, attempts or {}, start)
        except (KeyboardInterrupt, Terminated):
            raise
        except MissingSource as error:
            result = Lost("source", str(error))
        except StorageError as error:
            result = Lost("disk", str(error))
        except BaseException as error:  # sys.exit and a cancelled coroutine are the objective's own fault too
            result = failed_result(error, {"seconds": time.perf_counter() - start})
        self.rested = time.perf_counter()
        return result if isinstance(result, Lost) else replace(result, system={**times, **result.system})

    def _execute(self, job: Job, attempts: Mapping[Key, int], start: float) -> Result:
        with one_process():
            run = self._run(job, attempts)
        try:
            ready = time.perf_counter()
            attempt = attempts.get(job.key, 0)
            interim = self._interim(run, job.key, attempt)
            with one_process():
                value, curve = run.advance(job.until) if interim is None else run.advance(job.until, checkpoint=interim)
            trained = time.perf_counter()
            if self.kind == "run":
                save(run, self.checkpoints, self.checkpoints.path(job.key, attempt), job.key, attempt)
        except BaseException:
            with suppress(Exception):  # what it raised first is what is told
                _close(run)
            raise
        self._hold(job, run)
        end = time.perf_counter()
        saving = end - trained + (0.0 if interim is None else interim.seconds)
        times = {"seconds": end - start, "setup_seconds": ready - start, "save_seconds": saving}
        if isinstance(value, Result):
            return replace(value, curve=value.curve or curve, system=times)
        if isinstance(value, Mapping):
            return Result(value, curve, system=times)
        return Result({"": value}, curve, system=times)  # the executor's caller knows the objective's name

    def _run(self, job: Job, attempts: Mapping[Key, int]) -> Any:
        """The Run at the job's source: held, loaded, or (for f(config, report)) run again from its beginning. A Run that an
        earlier attempt saved inside the job goes on from there."""
        found = self.checkpoints.find_interim(job.key, attempts.get(job.key, 0)) if self.kind == "run" else None
        if found is not None and (resumed := self._resume(job, found)) is not None:
            self._release(job.trial)
            return resumed
        with self._lock:
            key, run = self.held.pop(job.trial, (None, None))
        if run is not None and key == job.source:
            return run
        if run is not None:
            _close(run)
        if job.source is not None and self.kind == "report" and job.source[0] != job.trial:
            raise TypeError("f(config, report) cannot be cloned; give a Run factory(config, seed, horizon)")
        if job.source is None or self.kind != "run":
            return self._build(job)
        with self.checkpoints.fetch(self.checkpoints.path(job.source, attempts.get(job.source, 0))) as path:
            _refuse_missing(path)
            run = self._build(job)
            self._load(run, job, path)
        return run

    def _interim(self, run: Any, key: Key, attempt: int) -> Interim | None:
        if is_saved_inside(run):
            return Interim(run, self.checkpoints, key, attempt, EVERY if self.every is None else self.every)
        if self.every is not None:
            warnings.warn(f"checkpoint_every is {self.every:g}, but `advance` of {type(run).__name__} takes no `checkpoint`, so "
                          "nothing is saved inside a job", stacklevel=2)  # fmt: skip
        return None

    def _build(self, job: Job) -> Any:
        bind = hook(self.objective, "bind_trial")
        return build(bind(job.trial, job.seed) if bind else self.objective, job.config, job.seed, self.horizon)

    def _resume(self, job: Job, path: Path) -> Any | None:
        """A Run that goes on from inside its job; None if the file does not load, so that the job begins at its source."""
        run = self._build(job)
        try:
            with storage(f"loading {path.name}"), self.checkpoints.fetch(path) as there:
                run.load(str(there))
        except (StorageError, KeyboardInterrupt, Terminated):
            _close(run)
            raise
        except Exception as error:
            _close(run)
            warnings.warn(f"trial {job.trial} is trained from its source: {path.name} does not load ({describe(error)})",
                          stacklevel=2)  # fmt: skip
            return None
        return run

    def _load(self, run: Any, job: Job, path: Path) -> None:
        """Loads the job's own trial, or adopts another trial's weights, without what judges hyperparameters (see Run.adopt)."""
        assert job.source is not None
        own = job.source[0] == job.trial
        try:
            with storage(f"loading {path.name}"):
                adopt = None if own else hook(run, "adopt")
                (adopt or run.load)(str(path))
        except StorageError:
            _refuse_missing(path)  # another driver has deleted it meanwhile
            raise

    def _hold(self, job: Job, run: Any) -> None:
        """Keeps the Run for the trial's next job, as far as there is room.

        If there are too many Runs, the least recently trained is dropped. Of parked f(config, report) it is the one at the
        lowest budget, which is the cheapest to run again; of several, the least recently trained.
        """
        if isinstance(run, FunctionRun) or job.until >= self.horizon:
            _close(run)
            return
        with self._lock:
            self.held[job.trial] = job.key, run
            while len(self.held) > (PARKED if isinstance(run, ReportRun) else HELD):
                oldest = next(iter(self.held))
                lowest = min(self.held, key=lambda trial: self.held[trial][0][1])  # the first of equals
                self._release(lowest if isinstance(run, ReportRun) else oldest)

    def _release(self, trial: int) -> None:
        with self._lock:
            _, run = self.held.pop(trial, (None, None))
        _close(run)

    def take_over(self, other: Worker, trial: int) -> None:
        """Holds what another worker of this process holds of a trial, if it still does; that one may be at work with another."""
        with other._lock:
            found = other.held.pop(trial, None)
        if found is not None:
            with self._lock:
                self.held[trial] = found

    def drop(self, keys: Iterable[Key]) -> None:
        """Drops held Runs at these keys, which no job will name again: a parked trial that is not continued is closed."""
        for key in keys:
            if self.held.get(key[0], (None,))[0] == key:
                self._release(key[0])

    def keep(self, keys: Collection[Key]) -> None:
        """Drops held Runs at all other keys."""
        self.drop([key for key, _ in self.held.values() if key not in keys])

    def close(self) -> None:
        """Ends every held Run."""
        for trial in list(self.held):
            self._release(trial)


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise MissingSource(f"the checkpoint {path.name}, which the job starts from, is gone")


def _close(run: Any) -> None:
    if (close := hook(run, "close")) is not None:
        close()


def name_objective(result: Result, objective: str) -> Result:
    """A result whose plain number carries the objective's name, and whose non-finite objective has an error."""
    # a value that is several objectives' at once keeps its empty name: `Result.of` knows which they are
    metrics = {name or ("" if is_several(value) else objective): value for name, value in result.metrics.items()}
    curve = [(step, _first(value, objective)) for step, value in result.curve]
    error, loss = result.error, _first(metrics.get("", metrics), objective, 0.0)
    if error is None and _is_divergence(loss):
        error = f"diverged: {objective} is {loss}"
    return replace(result, metrics=metrics, curve=curve, error=error)


def _first(value: Any, objective: str, absent: float = math.nan) -> Any:
    """What a reported value says of the first objective."""
    if isinstance(value, Mapping):
        return value.get(objective, absent)
    return value[0] if is_several(value) and len(value) else value


def _is_divergence(value: Any) -> bool:
    try:
        return not math.isfinite(number("", value))
    except TypeError:  # not a number: `Study.check_result` says so
        return False
