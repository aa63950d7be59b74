"""Tuner: a search in the words of managed tuning services: jobs, an objective metric found in the log lines, a strategy.

    tuner = Tuner("python train.py {flags}", {"name": "loss", "regex": r"Average loss: (\\S+)", "type": "Minimize"}, ranges)
    tuner.fit()
    tuner.best().config, tuner.dataframe()
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.analysis.lines import trial_line
from hpo.arguments import further_options, objective_over
from hpo.commands.command import choose_executor, command, name_outputs
from hpo.commands.metrics import COUNT
from hpo.executors import Executor, executor_options, make_executor
from hpo.failures import explain_interrupts
from hpo.frames import stack_level
from hpo.job import Key
from hpo.load import load
from hpo.logs import Log, open_log
from hpo.loop import Stop
from hpo.objective import Objective, kind
from hpo.objects import with_objects
from hpo.optimizer import Optimizer, Sampler
from hpo.optimizers import GP, Grid, Hyperband, MedianStopping, Random
from hpo.optimizers.resources import ResourceScheduler
from hpo.queue import list_queued
from hpo.run import refuse, run
from hpo.space import Config, Space
from hpo.study import Study
from hpo.trial import Trial
from hpo.values import format_value, identity, whole

if TYPE_CHECKING:
    import pandas

STRATEGIES: dict[str, Callable[[Space, int], Optimizer]] = {
    "Bayesian": lambda space, seed: GP(space, seed=seed),
    "Random": lambda space, seed: Random(space, seed=seed),
    "Grid": lambda space, seed: Grid(space, seed=seed),
    "Hyperband": lambda space, seed: Hyperband(Random(space, seed=seed)),
}
TYPES = {"Minimize": "min", "Maximize": "max"}
EARLY_STOPPING = ("Auto", "Off")
OUTPUTS = "trials"  # the folder of commands' outputs where nobody names one
MOST = 1000  # values that a job reports at most, where it is not said
STATUSES = ["Completed", "Stopped", "Failed"]
TIMES = ["started", "finished", "seconds"]
RECALLED = 3  # one in so many jobs is a configuration that did best in an older search


@dataclass(eq=False)
class Tuner:
    """Searches with at most `max_jobs` jobs, `max_parallel_jobs` at once.

    train          a command line with places for hyperparameters (hpo/commands/template.py), or its words; or a function
                   f(config), f(config, report), or a factory of Runs
    objective      {"name": ..., "regex": ..., "type": "Minimize" or "Maximize"}. The regular expression finds the value in a line
                   that a command prints; functions need none. "step": one for how far the training is (default: the number of
                   values so far)
    ranges         the space: {"lr": (1e-4, 1e-1, "log"), "batch-size": [32, 64]}, or a Space
    strategy       "Bayesian" (a Gaussian process), "Random", "Grid" (of lists) or "Hyperband", which needs `max_resource`
    early_stopping   "Auto": a job whose values are worse than the median of those of the others after 1, 2, 4, 8, ... values is
                   ended, if it reports any on its way and the strategy is not Hyperband, which ends jobs itself; or "Off"
    max_resource   how many values (or which step) a job reports at most; default 1,000. A job that ends before has its last one
    warm_start     an older search: a Tuner, a study, or the place of its log. A third of the jobs begin with the configurations
                   that did best there, as far as they lie in `ranges`. Nothing else is taken over: data may have grown since
    executor       where jobs run: a name of `hpo.EXECUTORS`. Default: "threads" for commands, or "processes" where there are
                   devices to be shared out; "processes" for functions, or "inline" for one at a time
    resources, executor_options   of the executor, as in `hpo.minimize`: {"gpu": 1}; {"address": "auto"}
    folder         for the output of commands, a folder a job (default: beside the log, with its name and .trials; without a log
                   a new one, `trials`, `trials-2`, ...); of Run factories, for checkpoints. After `fit` the attribute `outputs`
                   says where the output stands
    log            a path or URL where the search is kept: the same search goes on from there
    timeout        seconds a job

    ValueError or TypeError in one sentence for anything else.
    """

    train: str | Sequence[str] | Objective
    objective: Mapping[str, str]
    ranges: Space | Mapping[str, Any]
    strategy: str = "Bayesian"
    max_jobs: int = 9
    max_parallel_jobs: int = 3
    early_stopping: str = "Auto"
    warm_start: Tuner | Study | str | Path | None = None
    _: KW_ONLY
    max_resource: int | None = None
    seed: int = 0
    executor: str | None = None
    resources: Mapping[str, float] | None = None
    executor_options: Mapping[str, Any] | None = None
    folder: str | Path | None = None
    log: str | Path | Log | None = None
    timeout: float | None = None
    quiet: bool = False
    space: Space = field(init=False, repr=False)
    study: Study | None = field(default=None, init=False, repr=False)
    outputs: Path | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        allow("strategy", self.strategy, STRATEGIES)
        allow("early_stopping", self.early_stopping, EARLY_STOPPING)
        self.max_jobs = whole("max_jobs", self.max_jobs, 1)
        self.max_parallel_jobs = whole("max_parallel_jobs", self.max_parallel_jobs, 1)
        if self.max_resource is not None:
            self.max_resource = whole("max_resource", self.max_resource, 1)
        if self.executor is not None:
            executor_options(self.executor)  # refuses a name that is none
        self.space = Space.of(self.ranges)
        self._name, self._direction = self._read_metric()
        self._is_command = isinstance(self.train, str) or not callable(self.train)
        self._trained = objective_over(self.space, self._make_objective())
        self._refuse_unused()
        self._make_optimizer()  # refuses what does not go together before anything runs

    def _read_metric(self) -> tuple[str, str]:
        """The metric's name and "min" or "max"."""
        allowed = ("name", "regex", "type", "step")
        given = self.objective
        if not isinstance(given, Mapping) or "name" not in given or set(given) - set(allowed):
            raise ValueError(f"objective is {format_value(given)}; allowed is a mapping with 'name', and 'regex', 'type', 'step'")
        direction = given.get("type", "Minimize")
        allow("the objective's type", direction, TYPES)
        return given["name"], TYPES[direction]

    def _refuse_unused(self) -> None:
        """ValueError for an option that would change nothing."""
        which = kind(self._trained)
        if which == "function" and self.max_resource is not None:
            raise ValueError("max_resource is for jobs that report values on their way; f(config) has one value")
        if not self._is_command and which != "run" and self.folder is not None:
            raise ValueError("folder is for the output of commands and the checkpoints of Run factories; a function has neither")

    def _make_objective(self) -> Objective:
        if not self._is_command:
            if "regex" in self.objective or "step" in self.objective:
                raise ValueError("the objective has a regular expression, which is for commands; a function returns its value")
            return self.train  # type: ignore[return-value]
        if "regex" not in self.objective:
            raise ValueError("the objective has no 'regex', by which its value is found in what a command prints")
        patterns, step = {self._name: self.objective["regex"]}, self.objective.get("step", COUNT)
        return command(self.train, patterns, step, folder=self.outputs or OUTPUTS, timeout=self.timeout)  # type: ignore[arg-type]

    def _make_optimizer(self) -> Optimizer:
        """A new optimizer: the strategy's, below the median rule where it may end jobs."""
        optimizer = STRATEGIES[self.strategy](self.space, self.seed)
        if kind(self._trained) == "function":
            refuse(optimizer, "function", 1)
            return optimizer
        if isinstance(optimizer, ResourceScheduler):
            if self.max_resource is None:
                raise ValueError("Hyperband needs max_resource: how many values a job reports at most, or the last step")
            optimizer.take_horizon(self.max_resource)
            return optimizer
        if self.early_stopping == "Off":
            return optimizer
        assert isinstance(optimizer, Sampler)
        return MedianStopping(optimizer, double_rungs(self._horizon), self._horizon)

    @property
    def _horizon(self) -> int:
        return 1 if kind(self._trained) == "function" else self.max_resource or MOST

    def fit(self) -> Study:
        """Runs the search, or goes on with that of the log. Prints a line a job unless `quiet`."""
        if self._is_command:
            usual = name_outputs(self.log) if isinstance(self.log, str | Path) else None
            self.outputs = Path(self.folder) if self.folder is not None else usual or make_folder(OUTPUTS)
            self._trained = self._make_objective()
        unit = "evaluations" if self._horizon == 1 else "values"
        store = None if self.log is None else open_log(self.log)
        what: dict[str, Any] = {"objectives": {self._name: self._direction}, "unit": unit, "horizon": self._horizon}
        study = Study(self._make_optimizer(), log=store, **what)
        self.study = study  # whatever becomes of it
        self._enqueue_older(study)
        where = None if store is None else store.place or "the log that was given"
        with explain_interrupts(study.history.log if isinstance(self.log, str | Path) else None, study, where):
            run(study, self._make_executor(study), Stop(self.max_jobs), None if self.quiet else print_job)
        return study

    def _enqueue_older(self, study: Study) -> None:
        """Enqueues what an older search found best, unless that was done before."""
        if study.history.fresh:
            return
        waiting = [identity(config) for config in list_queued(study.history)]
        for config in recall(self.warm_start, self.space, max(1, self.max_jobs // RECALLED)):
            if identity(config) not in waiting:
                study.optimizer.enqueue(config)

    def _make_executor(self, study: Study) -> Executor:
        trained = with_objects(self._trained, self.space)
        timeout = None if self._is_command else self.timeout  # a command ends itself
        alone = "inline" if self.max_parallel_jobs == 1 and timeout is None and not self.resources else "processes"
        usual = choose_executor(self.max_parallel_jobs, self.resources) if self._is_command else alone
        options = {"workers": self.max_parallel_jobs, "timeout": timeout, "resources": self.resources}
        options |= further_options(self.executor_options, options)
        folder, place = None if self._is_command else self.folder, study.history.log.path
        if folder is None and place is not None and kind(self._trained) == "run":
            folder = f"{place}.checkpoints"  # a search that goes on needs them as much as its log
        return make_executor(self.executor or usual, trained, self._horizon, folder, options)

    def best(self) -> Trial:
        """The best job: its `config` and `value`. ValueError before `fit`, or if no job has succeeded."""
        return self._fitted.recommend()

    def dataframe(self) -> pandas.DataFrame:
        """A row a job, the best first: job, status, the metric, the hyperparameters, started, finished, seconds, error.

        `status`: "Completed", "Stopped" (before its end) or "Failed"."""
        import pandas

        columns = ["job", "status", self._name, *self._fitted.space.parameters, *TIMES, "error"]
        return pandas.DataFrame(list_jobs(self._fitted), columns=columns)

    @property
    def _fitted(self) -> Study:
        if self.study is None:
            raise ValueError("nothing has been searched yet; call fit() first")
        return self.study


def allow(what: str, value: Any, names: Collection[str]) -> None:
    """ValueError unless a value is one of the names."""
    if value not in names:
        raise ValueError(f"{what} is {format_value(value)}; allowed are {', '.join(map(repr, names))}")


def print_job(study: Study, key: Key | None) -> None:
    """A watcher that prints a line for a job that came to its end or failed, none for what it reported on its way."""
    if key is not None and (key[1] == study.header.horizon or study.history.is_failure(key)):
        print(trial_line(study.history, key), flush=True)


def make_folder(name: str) -> Path:
    """A new folder: of this name, or with a number behind it."""
    for number in count(1):
        folder = Path(name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("there is always another number")


def double_rungs(horizon: int) -> tuple[int, ...]:
    """1, 2, 4, 8, ... below the horizon, or the horizon alone."""
    return tuple(2**power for power in range(horizon.bit_length()) if 2**power < horizon) or (horizon,)


def recall(older: Tuner | Study | str | Path | None, space: Space, most: int) -> list[Config]:
    """The configurations that did best in an older search, at most so many; warns of those that a space does not hold."""
    if older is None:
        return []
    study = older.study if isinstance(older, Tuner) else load(older) if isinstance(older, str | Path) else older
    if not isinstance(study, Study):
        raise ValueError(f"warm_start is {format_value(older)}; allowed are a study, a log's place and a fitted Tuner")
    history, found, refused = study.history, list[Config](), list[str]()
    best = [] if history.highest_budget is None else history.rank(study.successes())
    for key in best:
        try:
            found.append(space.check(history.jobs[key].config))
        except (TypeError, ValueError) as error:
            refused.append(str(error))
        if len(found) == most:
            break
    if refused:
        left = f"{len(refused)} configurations of the older search are left out, the first since {refused[0]}"
        warnings.warn(left, stacklevel=stack_level())
    return found


def list_jobs(study: Study) -> list[dict[str, Any]]:
    """What `Tuner.dataframe` shows."""
    history, cells = study.history, {(row["trial"], row["until"]): row for row in study.rows()}
    last = [[key for key in keys if key in history.results] for keys in history.trials.values()]
    ranked = history.rank(keys[-1] for keys in last if keys)
    rows = []
    for key in sorted(ranked, key=lambda key: -key[1]):  # those of one budget stay ranked
        own = [cells[one] for one in sorted(cells) if one[0] == key[0]]
        rows.append(_describe_job(study, key, own))
    return sorted(rows, key=lambda row: STATUSES.index(row["status"]))


def _describe_job(study: Study, key: Key, own: list[dict[str, Any]]) -> dict[str, Any]:
    history = study.history
    ended = "Completed" if key[1] == history.header.horizon else "Stopped"
    seconds = sum(row.get("system.seconds", 0.0) for row in own)
    return {
        "job": key[0], "status": "Failed" if history.is_failure(key) else ended,
        study.objective: history.results[key].metrics.get(study.objective, float("nan")),
        **history.jobs[key].config,
        "started": own[0]["started"], "finished": own[-1]["finished"], "seconds": seconds, "error": history.results[key].error,
    }  # fmt: skip
