"""run: the one loop that every study goes through, on any executor; minimize and maximize around it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hpo import arguments
from hpo.display import Lines
from hpo.executors import Executor, Lost, executor_options, make_executor
from hpo.executors.worker import name_objective
from hpo.failures import Caught, Failures, explain_interrupts
from hpo.frames import stack_level
from hpo.history import History
from hpo.job import Job, Key, Result
from hpo.lineage import Lineage
from hpo.logs import Log, open_log
from hpo.objective import Objective, kind
from hpo.objects import with_objects
from hpo.optimizer import Optimizer, Sampler
from hpo.plain import SupportsPropose, SupportsSample
from hpo.registry import METHODS
from hpo.signals import Terminated, handle_termination, obey_termination
from hpo.space import Space, code_name
from hpo.stop_rules import StopRule, obey_rules
from hpo.stopping import STOP, Turn, is_over, obey
from hpo.study import Study
from hpo.values import duration, format_value

Watch = Callable[[Study, Key | None], None]  # called after every finish (with its key) and every start (with None)


@dataclass(frozen=True)
class Stop:
    """When to ask for no more jobs. Jobs in flight are waited for, except when the seconds are over.

    trials    the most fresh trials, added ones not counted; promotions and clones go on until nothing is left to do
    seconds   wall-clock time of this and earlier runs of the same log; jobs in flight at the end stay pending
    when      a predicate on the history; the search is over once it is true
    turn      when the search turns to its finals; it has its own trials and seconds, so these two must not be given beside it
    rules     of hpo/stop_rules.py; the search is over once one of them says so

    Whatever ends a search is an event (`History.limit`). A later run goes on only if its limit of the same kind allows more,
    or if it has another predicate.
    """

    trials: int | None = None
    seconds: float | None = None
    when: Callable[[History], bool] | None = None
    turn: Turn | None = None
    rules: Sequence[StopRule] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", arguments.count("trials", self.trials, 0))
        object.__setattr__(self, "seconds", duration("seconds", self.seconds))
        if self.when is not None and not callable(self.when):
            raise TypeError(f"when is {format_value(self.when)}; allowed are a function of the history and None")
        object.__setattr__(self, "rules", arguments.rules(self.rules))
        if self.turn is not None and (self.trials is not None or self.seconds is not None):
            raise ValueError("trials and seconds stand in the turn where there is one, and were given beside it")

    @cached_property
    def limits(self) -> dict[str, Any]:
        """The limit of every rule, None for no limit. The limit of a predicate is its name (`hpo.space.code_name`)."""
        limits = self if self.turn is None else self.turn
        rules = [rule.describe() for rule in self.rules] or None
        when = None if self.when is None else code_name(self.when)
        return {"trials": limits.trials, "seconds": limits.seconds, "when": when, STOP: rules}

    def is_full(self, history: History) -> bool:
        """Whether the limit of fresh trials is reached."""
        trials = self.limits["trials"]
        return trials is not None and history.fresh >= trials


def run(
    study: Study, executor: Executor, stop: Stop | None = None, watch: Watch | None = None, *, catch: Caught = ()
) -> History:
    """Drives a study until it is finished or `stop` says so; resumes what is pending; closes the executor.

    Raises RuntimeError if three jobs in a row are lost to the disk, if the first three trials raise the same exception at the
    same line of the objective (and `catch` does not name it, as in `except`), or if they return values that are malformed in
    the same way. The results so far are kept.

    The order in every job: the checkpoint is durable (executor), `finish` is appended, old checkpoints are dropped (`drop`).
    """
    stop = stop if stop is not None else Stop()
    _refuse_others(study, executor, stop, watch)
    with handle_termination():
        try:
            if study.optimizer.history is not study.history:
                raise ValueError("the study's optimizer has been bound to another study since; make one optimizer a study")
            refuse(study.optimizer, executor.kind, study.header.horizon)
            for rule in stop.rules:
                rule.refuse(study.header, study.optimizer)
            return _Loop(study, executor, stop, watch, Failures(catch)).run()
        except Terminated:
            study.history.log.close()
            raise
        finally:
            study.history.by_hand = True  # asks that follow are by hand
            executor.close()


def refuse(optimizer: Optimizer, objective: str, horizon: int) -> None:
    """Raises ValueError in one sentence if the optimizer needs something that the objective cannot do."""
    name = type(optimizer).__name__
    if objective == "function" and not isinstance(optimizer, Sampler):
        raise ValueError(
            f"{name} stops trials at rungs, but f(config) has one budget; give f(config, report) or a Run factory, or use "
            f"a sampler such as GP"
        )
    if objective == "function" and horizon != 1:
        raise ValueError(f"f(config) has the horizon 1, but the study's horizon is {horizon}")
    if objective == "report" and optimizer.clones:
        raise ValueError(f"{name} clones trials, but f(config, report) cannot be cloned; give a Run factory")


def _refuse_others(study: Any, executor: Any, stop: Any, watch: Any) -> None:
    """Raises TypeError in one sentence for an argument that `run` does not take."""
    if not isinstance(study, Study):
        raise TypeError(f"run takes a study such as Study(GP(space)), but {format_value(study)} came")
    if isinstance(executor, type) or not hasattr(executor, "submit"):
        raise TypeError(f"run takes an executor such as Inline(objective), but {format_value(executor)} came")
    if not isinstance(stop, Stop):
        raise TypeError(f"run takes a stop such as Stop(trials=50), but {format_value(stop)} came")
    if watch is not None and not callable(watch):
        raise TypeError(f"watch is {format_value(watch)}; allowed are a function of a study and a key, and None")


class _Loop:
    def __init__(self, study: Study, executor: Executor, stop: Stop, watch: Watch | None, failures: Failures) -> None:
        self.study, self.history, self.executor, self.stop = study, study.history, executor, stop
        self.watch: Watch = watch if watch is not None else lambda study, key: None
        self.waiting = list(self.history.pending.values())  # started by a driver that is gone
        self.running: dict[Key, Job] = {}
        self.attempts: dict[Key, int] = {}  # the attempt of every job that is running
        self.failures, self.lineage = failures, Lineage(study.history)
        self.end = time.monotonic() + stop.seconds - self.history.elapsed_seconds() if stop.seconds is not None else None
        self.history.run(stop.limits)
        self._turn()
        obey_rules(stop.rules, self.history, study.optimizer)
        executor.keep(study.keep())  # an earlier driver may have been killed between a finish and its `keep`

    def run(self) -> History:
        while True:
            self._fill()
            if not self.running:
                break
            outcome = self.executor.wait(None if self.end is None else max(0.0, self.end - time.monotonic()))
            if outcome is None:
                self._limit("seconds")
                break
            obey_termination()  # a job that caught SIGTERM stays pending: its result may be wrong
            self._record(*outcome)
        self.executor.keep(self.study.keep())
        return self.history

    def _is_over(self) -> bool:
        """Whether no more jobs are asked for, because a rule has ended the search before or ends it now."""
        if is_over(self.history):
            return True
        if self.end is not None and time.monotonic() >= self.end:
            self._limit("seconds")
        elif self.stop.when is not None and self.stop.when(self.history):
            self._limit("when")
        return is_over(self.history)

    def _limit(self, rule: str) -> None:
        self.history.limit(rule, self.stop.limits[rule])

    def _turn(self, dry: bool = False) -> bool:
        """Records the verdict of the rule that ends the search, if it has one now, before the next ask."""
        return self.stop.turn is not None and obey(self.stop.turn, self.history, self.study.optimizer, dry)

    def _fill(self) -> None:
        while self.executor.free > 0 and not self._is_over():
            if not self.history.limited and self.stop.is_full(self.history):
                self._limit("trials")
            job = self.waiting.pop(0) if self.waiting else self.study.optimizer.ask()
            if job is None:
                self._warn_of_nothing()
                if self.running or not self._turn(dry=True):
                    return
                continue
            self.running[job.key], self.attempts[job.key] = job, self.history.attempt(job.key)
            self.executor.submit(job)
            self.watch(self.study, None)

    def _warn_of_nothing(self) -> None:
        """Warns if the search ended before its first trial, so that this does not pass for a success."""
        if not self.history.jobs and not self.history.limited:
            chooser = self.study.optimizer.chooser
            name = type(chooser).__name__
            method = METHODS["sample" if isinstance(chooser, Sampler) else "propose"]
            warnings.warn(f"nothing was tried: {name}.{method} returned None at once, which means that there is no configuration "
                          f"to try", stacklevel=stack_level())  # fmt: skip

    def _record(self, job: Job, outcome: Result | Lost) -> None:
        """Records the outcome of a job. If its source is missing, this is trained again first, without an event, and the job
        stays pending."""
        del self.running[job.key]
        attempt = self.attempts.pop(job.key)
        if isinstance(outcome, Lost):
            if outcome.cause != "source" and job.key in self.history.pending:
                how = outcome.message if outcome.cause == "worker" else ""  # the disk's name folders, which differ by run
                self.history.lose(job, outcome.cause, how, attempt)
            self.failures.count_loss(job, outcome)
        settled = self.lineage.settle(job, outcome)
        if settled is not None:
            first, failed = settled
            self.waiting[:0] = first
            for other, result in failed:
                self._finish(other, result)
        elif not isinstance(outcome, Lost):
            self._finish(job, outcome)

    def _finish(self, job: Job, result: Result) -> None:
        result = name_objective(result, self.study.objective)
        told = self.study.check_result(result)
        self.history.finish(job, told)
        self.executor.drop(self.study.release())
        self._turn()
        obey_rules(self.stop.rules, self.history, self.study.optimizer)
        if job.key in self.history.results:
            self.watch(self.study, job.key)
        self.failures.count_result(job, result, told)


def minimize(
    objective: Objective,
    space: Space | Mapping[str, Any],
    optimizer: str | SupportsPropose | SupportsSample = "gp",
    trials: int | None = None,
    *,
    seed: int = 0,
    seconds: float | None = None,
    stop: StopRule | Sequence[StopRule] = (),
    objectives: Mapping[str, str] | Sequence[str] | None = None,
    horizon: int | None = None,
    unit: str = "evaluations",
    executor: str = "inline",
    workers: int | None = None,
    timeout: float | None = None,
    renew_after_jobs: int | None = None,
    renew_after_bytes: int | None = None,
    log: str | Path | Log | None = None,
    folder: str | Path | None = None,
    quiet: bool = False,
    catch: Caught = (),
) -> Study:
    """Searches the space for the configuration with the lowest value.

    objective    f(config), f(config, report) or factory(config, seed, horizon) -> Run
    optimizer    a name of `hpo.OPTIMIZERS` or an instance over the same space (then the seed is its own)
    objectives   {"loss": "min", "accuracy": "max"}, or a list of names that are all minimised (default: "loss")
    trials, seconds   when to stop; at least one of them, unless the optimizer ends by itself (50 trials if neither)
    stop         a rule, or several, by which it stops before: Target(0.1), NoImprovement(patience=30), ...; see stop_rules.py
    executor     a name of `hpo.EXECUTORS`: "inline", "threads" or "processes"; with `workers`, `timeout` in seconds a job
    renew_after_jobs, renew_after_bytes   for "processes": a worker that has done so many jobs, or holds more memory than that
                 at the end of a job, is replaced by a new process; for objectives that leak
    log          the path of a SQLite file, a URL of a log, or a log: the same call again resumes it
    folder       where checkpoints stand (default: beside the log; without one a temporary folder)
    catch        exceptions of the objective, as in `except`, that do not end the search even if its first three trials raise them
    """
    space = Space.of(space)
    objective, chosen = arguments.objective_over(space, objective), arguments.optimizer_over(space, optimizer, seed)
    limits = Stop(trials, seconds, rules=arguments.rules(stop))
    workers, timeout = arguments.count("workers", workers, 1), duration("timeout", timeout, zero=False)
    renewal = {"renew_after_jobs": renew_after_jobs, "renew_after_bytes": renew_after_bytes}
    renewal = {name: arguments.count(name, value, 1) for name, value in renewal.items()}
    horizon, folder = arguments.count("horizon", horizon, 1), arguments.folder_of(folder)
    objectives, unit = arguments.directions(objectives), arguments.text("unit", unit)
    chosen.take_horizon(horizon)
    refuse(chosen, kind(objective), horizon or (1 if kind(objective) == "function" else chosen.horizon))
    for rule in limits.rules:
        rule.refuse(chosen.header(objectives, unit, horizon), chosen)
    executor_options(executor)  # refuses an unknown executor before anything is made
    options = {"workers": workers, "timeout": timeout, **renewal}
    trained = with_objects(objective, space)
    first = partial(_make_first, quiet, executor, trained, horizon or chosen.horizon, options)
    study = _open_study(chosen, trained, first, log, {"objectives": objectives, "unit": unit, "horizon": horizon})
    if trials is None and seconds is None and not limits.rules and chosen.is_endless:
        limits = Stop(50)
    given = log is not None and not isinstance(log, str | Path)  # its owner closes it, and may use it again
    store = study.history.log
    if not given and store.path is not None and folder is None and kind(objective) == "run":
        folder = f"{store.path}.checkpoints"  # a resumed study needs its checkpoints as much as its log
    with explain_interrupts(None if given else store, study, store.place or ("the log that was given" if given else None)):
        pool = make_executor(executor, trained, study.header.horizon, folder, options)
        run(study, pool, limits, None if quiet else Lines(), catch=catch)
    return study


def _make_first(quiet: bool, name: str, objective: Objective, horizon: int, options: Mapping[str, Any]) -> Executor:
    """The executor on which clones are tried before a study begins."""
    if not quiet:
        print("clones are tried first, since the objective has no attribute `explore` that says what may change", flush=True)
    return make_executor(name, objective, horizon, None, options)


def _open_study(
    optimizer: Optimizer, objective: Objective, pool: Callable[[], Executor], log: Any, header: Mapping[str, Any]
) -> Study:
    """The study, in which the optimizer is adapted to the objective; where the log has a header already, to that."""
    store = None if log is None else open_log(log)
    try:
        described = None if store is None else (store.header() or {}).get("optimizer")
        return Study(optimizer.adapt(objective, described, pool), log=store, **header)
    except BaseException:
        if store is not None and store is not log:  # opened here, so it must be closed here
            store.close()
        raise


def maximize(
    objective: Objective,
    space: Space | Mapping[str, Any],
    optimizer: str | SupportsPropose | SupportsSample = "gp",
    trials: int | None = None,
    *,
    seed: int = 0,
    seconds: float | None = None,
    stop: StopRule | Sequence[StopRule] = (),
    horizon: int | None = None,
    unit: str = "evaluations",
    executor: str = "inline",
    workers: int | None = None,
    timeout: float | None = None,
    renew_after_jobs: int | None = None,
    renew_after_bytes: int | None = None,
    log: str | Path | Log | None = None,
    folder: str | Path | None = None,
    quiet: bool = False,
    catch: Caught = (),
) -> Study:
    """Like `minimize`, but for the highest value; the objective is named "value" by default."""
    return minimize(
        objective, space, optimizer, trials, seed=seed, seconds=seconds, stop=stop, objectives={"value": "max"}, horizon=horizon,
        unit=unit, executor=executor, workers=workers, timeout=timeout, renew_after_jobs=renew_after_jobs,
        renew_after_bytes=renew_after_bytes, log=log, folder=folder, quiet=quiet, catch=catch,
    )  # fmt: skip
