"""What one worker does with a job: find or build the Run, train it, save it, and hold it for the next rung."""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from hpo.executors.checkpoints import Checkpoints, publish, remove
from hpo.job import Job, Key, Result
from hpo.objective import FunctionRun, Objective, ReportRun, build, kind

HELD = 4  # Runs in memory; a parked f(config, report) cannot be saved and is held in any number


class Worker:
    """Executes jobs one after the other. Dropping a held Run changes nothing but time.

    What it measures, in `Result.system`: `seconds` the job took here, of which `setup_seconds` went into building and loading the Run
    and `save_seconds` into its checkpoint; `idle_seconds` that the worker had waited for the job, `birth_seconds` that
    it had taken to be ready for its first (from `born`, a wall-clock time).
    """

    def __init__(self, objective: Objective, horizon: int, checkpoints: Checkpoints, born: float | None = None) -> None:
        self.objective, self.horizon, self.checkpoints = objective, horizon, checkpoints
        self.birth = time.time() - born if born is not None else 0.0
        self.rested = time.perf_counter()  # when its last job ended
        self.kind = kind(objective)
        self.held: OrderedDict[int, tuple[Key, Any]] = OrderedDict()

    def execute(self, job: Job) -> Result:
        """The job's result; whatever the objective raises is its error."""
        start = time.perf_counter()
        times = {"idle_seconds": start - self.rested, "birth_seconds": self.birth}
        self.birth = 0.0
        try:
            result = self._execute(job, start)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit and a cancelled coroutine are the objective's own fault too
            self._release(job.trial)
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            result = Result(error=said, system={"seconds": time.perf_counter() - start})
        self.rested = time.perf_counter()
        return replace(result, system={**times, **result.system})

    def _execute(self, job: Job, start: float) -> Result:
        run = self._run(job)
        ready = time.perf_counter()
        value, curve = run.advance(job.until)
        trained = time.perf_counter()
        if self.kind == "run":
            self._save(run, job.key)
        self._hold(job, run)
        end = time.perf_counter()
        times = {"seconds": end - start, "setup_seconds": ready - start, "save_seconds": end - trained}
        if isinstance(value, Result):
            return replace(value, curve=value.curve or curve, system=times)
        if isinstance(value, Mapping):
            return Result(value, curve, system=times)
        return Result({"": value}, curve, system=times)  # the executor's caller knows the objective's name

    def _run(self, job: Job) -> Any:
        """The Run at the job's source: held, loaded, or (for f(config, report)) run again from its beginning."""
        key, run = self.held.pop(job.trial, (None, None))
        if run is not None and key == job.source:
            return run
        if run is not None:
            _close(run)
        run = build(self.objective, job.config, job.seed, self.horizon)
        if job.source is None or isinstance(run, FunctionRun):
            return run
        if isinstance(run, ReportRun):
            if job.source[0] != job.trial:
                raise TypeError("f(config, report) cannot be cloned; give a Run factory(config, seed, horizon)")
            return run
        path = self.checkpoints.path(job.source)
        if not path.exists():
            raise FileNotFoundError(f"the checkpoint {path.name}, which the job starts from, is gone")
        run.load(str(path))
        return run

    def _save(self, run: Any, key: Key) -> None:
        path = self.checkpoints.path(key)
        half = path.with_name(f"{path.name}.{os.getpid()}.half")
        remove(half)
        run.save(str(half))
        publish(half, path)

    def _hold(self, job: Job, run: Any) -> None:
        if isinstance(run, FunctionRun) or job.until >= self.horizon:
            _close(run)
            return
        self.held[job.trial] = job.key, run
        movable = [trial for trial, (_, held) in self.held.items() if not isinstance(held, ReportRun)]
        for trial in movable[: max(0, len(movable) - HELD)]:
            self._release(trial)

    def _release(self, trial: int) -> None:
        _, run = self.held.pop(trial, (None, None))
        _close(run)

    def drop(self, keys: Iterable[Key]) -> None:
        """Drops held Runs at these keys, which no job will name again."""
        for key in keys:
            if self.held.get(key[0], (None,))[0] == key:
                self._release(key[0])

    def keep(self, keys: Collection[Key]) -> None:
        """Drops held Runs at keys that no job will name again: a parked trial that was not continued is closed."""
        for trial, (key, _) in list(self.held.items()):
            if key not in keys:
                self._release(trial)

    def close(self) -> None:
        """Ends every held Run."""
        for trial in list(self.held):
            self._release(trial)


def _close(run: Any) -> None:
    if hasattr(run, "close"):
        run.close()


def named(result: Result, objective: str) -> Result:
    """A result whose plain number carries the objective's name, and whose non-finite objective has an error."""
    metrics = {name or objective: value for name, value in result.metrics.items()}
    curve = [(step, v.get(objective, math.nan) if isinstance(v, Mapping) else v) for step, v in result.curve]
    error = result.error
    if error is None and objective in metrics and _diverged(metrics[objective]):
        error = f"diverged: {objective} is {metrics[objective]}"
    return replace(result, metrics=metrics, curve=curve, error=error)


def _diverged(value: Any) -> bool:
    try:
        return not math.isfinite(value)
    except (TypeError, ValueError, OverflowError):  # not a number: `Study.told` says so
        return False
