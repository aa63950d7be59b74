"""run: the one loop that every study goes through, on any executor; minimize and maximize around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hpo import arguments
from hpo.executors import Executor, is_distant, make_executor
from hpo.executors import executor_options as options_of
from hpo.executors.base import Measuring
from hpo.failures import Caught, Failures, explain_interrupts
from hpo.history import History
from hpo.leases import LEASE
from hpo.logs import Log, open_log
from hpo.loop import Loop, Stop
from hpo.objective import Objective, kind
from hpo.objects import with_objects
from hpo.optimizer import Optimizer, Sampler
from hpo.plain import SupportsPropose, SupportsSample
from hpo.signals import Terminated, handle_termination
from hpo.space import Space
from hpo.stop_rules import StopRule
from hpo.study import Study
from hpo.terminal import make_display
from hpo.values import duration, format_value
from hpo.watchers import Watch, Watchers, list_watchers


def run(
    study: Study, executor: Executor, stop: Stop | None = None, watch: Watch | Sequence[Watch] | None = None, *,
    catch: Caught = (), lease: float = LEASE, keep: str | int = "live", disk: int | str | None = None,
) -> History:
    """Drives a study until it is finished or `stop` says so, beside any number of other drivers of the same log; takes over what
    dead ones had in flight; closes the executor.

    watch   who is told of each start and each result: a function of the study and a key, or several (hpo/watchers.py)
    lease   seconds without a sign of life after which the other drivers take over what this one has in flight (hpo/leases.py)
    keep    which checkpoints stay. "live": those that a later job may start from, those of jobs in flight with their sources, and
            the best, which may be recommended. A number: also those of the best so many trials. "all": every one. Drivers of one
            study should be given the same
    disk    bytes that all checkpoints may take, or a text such as "20GB". Where they take more the least useful go, and are
            trained again if a job comes to need them, which is right for trainings that are deterministic (hpo/disk.py)

    Raises RuntimeError if three jobs in a row are lost to the disk, if the first three trials raise the same exception at the
    same line of the objective (and `catch` does not name it, as in `except`), or if they return values that are malformed in
    the same way. The results so far are kept.

    The order in every job: the checkpoint is durable (executor), `finish` is appended, old checkpoints are dropped (`drop`).
    """
    stop = stop if stop is not None else Stop()
    _refuse_others(study, executor, stop)
    watchers = Watchers(watch)
    lease = duration("lease", lease, zero=False) or LEASE
    with handle_termination():
        try:
            if study.optimizer.history is not study.history:
                raise ValueError("the study's optimizer has been bound to another study since; make one optimizer a study")
            refuse(study.optimizer, executor.kind, study.header.horizon)
            which, limit = arguments.retention(keep, disk, executor.kind)
            if limit is not None and not isinstance(executor, Measuring):
                raise TypeError(f"disk is {format_value(disk)}, but checkpoints of {type(executor).__name__} take no space")
            study.retain(which)
            for rule in stop.rules:
                rule.refuse(study.header, study.optimizer)
            return Loop(study, executor, stop, watchers, Failures(catch), lease, limit).run()
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


def _refuse_others(study: Any, executor: Any, stop: Any) -> None:
    """Raises TypeError in one sentence for an argument that `run` does not take."""
    if not isinstance(study, Study):
        raise TypeError(f"run takes a study such as Study(GP(space)), but {format_value(study)} came")
    if isinstance(executor, type) or not hasattr(executor, "submit"):
        raise TypeError(f"run takes an executor such as Inline(objective), but {format_value(executor)} came")
    if not isinstance(stop, Stop):
        raise TypeError(f"run takes a stop such as Stop(trials=50), but {format_value(stop)} came")


def minimize(
    objective: Objective,
    space: Space | Mapping[str, Any],
    optimizer: str | SupportsPropose | SupportsSample = "gp",
    trials: int | None = None,
    *,
    seed: int = 0,
    seconds: float | None = None,
    stop: StopRule | Sequence[StopRule] = (),
    metric: str | None = None,
    objectives: Mapping[str, str] | Sequence[str] | None = None,
    order: str = "crowding",
    horizon: int | None = None,
    unit: str = "evaluations",
    executor: str = "inline",
    workers: int | None = None,
    timeout: float | None = None,
    renew_after_jobs: int | None = None,
    renew_after_bytes: int | None = None,
    checkpoint_every: float | None = None,
    resources: Mapping[str, float] | None = None,
    executor_options: Mapping[str, Any] | None = None,
    log: str | Path | Log | None = None,
    folder: str | Path | None = None,
    keep: str | int = "live",
    disk: int | str | None = None,
    lease: float = LEASE,
    quiet: bool = False,
    watch: Watch | Sequence[Watch] | None = None,
    catch: Caught = (),
) -> Study:
    """Searches the space for the configuration with the lowest value.

    objective    f(config), f(config, report) or factory(config, seed, horizon) -> Run
    optimizer    a name of `hpo.OPTIMIZERS` or an instance over the same space (then the seed is its own)
    metric       the name of what is minimised, where the objective returns several metrics (default: "loss")
    objectives   {"loss": "min", "accuracy": "max"}, or a list of names that are all minimised (default: "loss")
    order        of several objectives, within a front: "crowding" or "epsilon"; see Study
    trials, seconds   when to stop; at least one of them, unless the optimizer ends by itself (50 trials if neither)
    stop         a rule, or several, by which it stops before: Target(0.1), NoImprovement(patience=30), ...; see stop_rules.py
    executor     a name of `hpo.EXECUTORS`: "inline", "threads", "processes", or a cluster: "ray", "slurm", "batch",
                 "futures"; with `workers`, and `timeout` in seconds a job
    renew_after_jobs, renew_after_bytes   for "processes": a worker that has done so many jobs, or holds more memory than that
                 at the end of a job, is replaced by a new process; for objectives that leak
    checkpoint_every   seconds between two saves inside a job, of a Run that allows it (see hpo.objective.Run); default 300,
                 infinity is never. Where a worker or the driver dies, the job goes on from there
    resources    what one trial needs, {"cpu": 2, "gpu": 0.5}: of this machine for "processes", where a worker sees its own
                 devices alone; of the cluster for "ray", "slurm" and others
    executor_options   what else the executor takes, by name: {"devices": [0, 1]}, {"address": "auto"}; see its class
    log          the path of a SQLite file, a URL of a log, or a log: the same call again resumes it
    folder       where checkpoints stand: a path, or a URL of fsspec such as "s3://bucket/study" (default: beside the log; without
                 one a temporary folder)
    keep         which of them stay: "live" (what later jobs may need, and the best), 5 (also those of the best 5 trials), "all"
    disk         what they may take together: bytes, or a text such as "20GB"; see `run`
    quiet        prints nothing; otherwise a line after each result and, on a terminal, how far the search is
    watch        who is told of each start and each result: a function of the study and a key, or several (hpo/watchers.py), such
                 as those of hpo.integrations: CSV, TensorBoard, MLflow, Trackio, WandB
    lease        seconds without a sign of life after which other drivers of the same log take over; see `run`
    catch        exceptions of the objective, as in `except`, that do not end the search even if its first three trials raise them
    """
    space = Space.of(space)
    objective, chosen = arguments.objective_over(space, objective), arguments.optimizer_over(space, optimizer, seed)
    limits, watchers = Stop(trials, seconds, rules=arguments.rules(stop)), list_watchers(watch)
    workers, timeout = arguments.count("workers", workers, 1), duration("timeout", timeout, zero=False)
    renewal = {"renew_after_jobs": renew_after_jobs, "renew_after_bytes": renew_after_bytes}
    renewal = {name: arguments.count(name, value, 1) for name, value in renewal.items()}
    horizon, folder = arguments.count("horizon", horizon, 1), arguments.folder_of(folder)
    objectives, unit = arguments.directions(arguments.objectives_of(metric, objectives)), arguments.text("unit", unit)
    arguments.retention(keep, disk, kind(objective))
    chosen.take_horizon(horizon)
    refuse(chosen, kind(objective), horizon or (1 if kind(objective) == "function" else chosen.horizon))
    for rule in limits.rules:
        rule.refuse(chosen.header(objectives, unit, horizon, order=order), chosen)
    lease = duration("lease", lease, zero=False) or LEASE
    options_of(executor)  # refuses an unknown executor before anything is made
    options = {"workers": workers, "timeout": timeout, **renewal, "checkpoint_every": checkpoint_every, "resources": resources}
    options |= arguments.further_options(executor_options, options)
    trained = with_objects(objective, space)
    what = {"objectives": objectives, "order": order, "unit": unit, "horizon": horizon}
    with ExitStack() as stack:
        first = partial(_make_first, quiet, executor, trained, horizon or chosen.horizon, options, stack, folder or log)
        study = _open_study(chosen, trained, first, log, what)
    if trials is None and seconds is None and not limits.rules and chosen.is_endless:
        limits = Stop(50)
    given = log is not None and not isinstance(log, str | Path)  # its owner closes it, and may use it again
    store = study.history.log
    if not given and store.path is not None and folder is None and kind(objective) == "run":
        folder = f"{store.path}.checkpoints"  # a resumed study needs its checkpoints as much as its log
    with explain_interrupts(None if given else store, study, store.place or ("the log that was given" if given else None)):
        pool = make_executor(executor, trained, study.header.horizon, folder, options)
        told = watchers if quiet else [make_display(), *watchers]
        run(study, pool, limits, told, catch=catch, keep=keep, disk=disk, lease=lease)
    return study


def _make_first(
    quiet: bool, name: str, objective: Objective, horizon: int, options: Mapping[str, Any], stack: ExitStack, beside: Any
) -> Executor:
    """The executor on which clones are tried before a study begins. On other machines their checkpoints stand beside the study's,
    until the stack is closed."""
    if not quiet:
        print("clones are tried first, since the objective has no attribute `explore` that says what may change", flush=True)
    folder = None
    if is_distant(name) and isinstance(beside, str | Path) and "://" not in str(beside):
        parent = Path(beside).absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        folder = stack.enter_context(TemporaryDirectory(prefix="clones-", dir=parent))
    return make_executor(name, objective, horizon, folder, options)


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
    metric: str = "value",
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
    checkpoint_every: float | None = None,
    resources: Mapping[str, float] | None = None,
    executor_options: Mapping[str, Any] | None = None,
    log: str | Path | Log | None = None,
    folder: str | Path | None = None,
    keep: str | int = "live",
    disk: int | str | None = None,
    lease: float = LEASE,
    quiet: bool = False,
    watch: Watch | Sequence[Watch] | None = None,
    catch: Caught = (),
) -> Study:
    """Like `minimize`, but for the highest value of `metric`: of what the objective returns under this name, where it returns
    several, such as "accuracy"; a plain number has any name."""
    return minimize(
        objective, space, optimizer, trials, seed=seed, seconds=seconds, stop=stop, horizon=horizon,
        objectives=dict.fromkeys(arguments.objectives_of(metric, None), "max"),
        unit=unit, executor=executor, workers=workers, timeout=timeout, renew_after_jobs=renew_after_jobs,
        renew_after_bytes=renew_after_bytes, checkpoint_every=checkpoint_every, resources=resources,
        executor_options=executor_options, log=log, folder=folder, keep=keep, disk=disk, lease=lease, quiet=quiet, watch=watch,
        catch=catch,
    )  # fmt: skip
