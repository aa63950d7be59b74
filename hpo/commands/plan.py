"""A search over a command, as a file says it: what `hpo run study.toml` does."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from hpo.commands.command import GRACE, choose_executor, command, name_outputs
from hpo.commands.template import ConfigFile
from hpo.executors import BatchSystem
from hpo.load import parse_parameter
from hpo.objective import kind
from hpo.optimizers import make
from hpo.run import minimize
from hpo.space import Space
from hpo.study import Study
from hpo.values import format_value

TABLES = ("space", "objectives", "options", "metrics", "environment", "files", "resources", "executor_options")


@dataclass(frozen=True)
class CommandPlan:
    """The names of a file, with what holds where it is silent.

        command = "python train.py {flags}"          # with places, see hpo/commands/template.py
        optimizer = "asha"
        trials = 40
        step = 'iter (\\d+)'                          # without it a trial is run to its end
        metrics.loss = 'val loss (\\S+)'              # or metrics = "json"
        options.max_resource = 2000                  # of the optimizer
        space.lr = { float = [1e-5, 1e-1], log = true }
        space.layers = { int = [2, 12] }

    log            default: beside the file, with its name and .db
    folder         of the trials' outputs; default: beside the log, with its name and .trials, so that studies do not mix theirs
    workers        as many commands run at once; default: one, or as many as have room by their resources
    resources      what one command needs, { gpu = 1 }: it sees its own devices alone, as CUDA_VISIBLE_DEVICES says
    executor       where commands run: a name of hpo.EXECUTORS; default: "threads", and "processes", which give each command its
                   devices, where resources are named or several run at once beside several devices
    executor_options   what else it takes: { devices = [0, 1] }, { address = "auto" }, { options = ["--partition=gpu"] }; of
                   "batch" { system = { submit = "qsub ...", cancel = "qdel {jobs}", status = "qstat" } }
    objectives     {"loss": "min"}; default: the first metric, minimised
    checkpoints    where the checkpoints of a command that resumes stand; default: beside the log
    horizon        the last step; needed where `step` or {checkpoint} is there, unless the optimizer's options say it
    Others: `hpo.commands.command` and `hpo.minimize`.
    """

    command: str | list[str]
    metrics: Mapping[str, str] | str
    space: Mapping[str, Any]
    log: str
    step: str | None = None
    flag: str = "--{name}={value}"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    cwd: str | None = None
    timeout: float | None = None
    grace: float = GRACE
    first: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    objectives: Mapping[str, str] | None = None
    optimizer: str = "gp"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    trials: int | None = None
    seconds: float | None = None
    horizon: int | None = None
    unit: str | None = None
    workers: int | None = None
    executor: str | None = None
    resources: Mapping[str, float] | None = None
    executor_options: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: str | None = None

    @classmethod
    def of(cls, entries: Mapping[str, Any], place: str) -> Self:
        """The plan of a file's entries. ValueError for names that are none and for those that are missing."""
        allowed = [one.name for one in fields(cls)]
        unknown = [name for name in entries if name not in allowed]
        if unknown:
            raise ValueError(f"{place} has the name {unknown[0]!r}; allowed are {', '.join(allowed)}")
        lacking = [name for name in ("command", "metrics", "space", "log") if not entries.get(name)]
        if lacking:
            raise ValueError(f"{place} has no {lacking[0]!r}")
        tables = [name for name in TABLES if entries.get(name) is not None]
        wrong = [name for name in tables if not isinstance(entries[name], Mapping) and entries[name] != "json"]
        if wrong:
            raise ValueError(f"{place} has {wrong[0]} = {format_value(entries[wrong[0]])}; allowed is a table of names")
        return cls(**entries)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan in a file. ValueError in one sentence for what is none."""
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{str(path)!r} is no TOML: {error}") from None
        return cls.of({"log": str(path.with_suffix(".db")), **entries}, repr(str(path)))

    @property
    def _usual_unit(self) -> str:
        return "evaluations" if self.step is None else "steps"

    def amend(self, given: Mapping[str, Any]) -> Self:
        """The plan with what is given instead, None aside."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def search(self, quiet: bool = False) -> Study:
        """Runs the search, or goes on with that of the log."""
        space = Space({name: _read_parameter(name, value) for name, value in self.space.items()})
        objective = command(
            self.command, self.metrics, self.step, flag=self.flag, environment=self.environment,
            files={name: _read_file(name, value) for name, value in self.files.items()}, cwd=self.cwd,
            folder=self.folder or name_outputs(self.log),
            timeout=self.timeout, grace=self.grace, first=self.first, again=self.again,
        )  # fmt: skip
        executor = self.executor or choose_executor(self.workers, self.resources)
        optimizer = make(self.optimizer, space, self.seed, **self.options)
        if kind(objective) != "function" and self.horizon is None and optimizer.horizon == 1:
            raise ValueError("a training that is followed by its steps needs horizon, the last of them, else it would be ended "
                             "at step 1; without step and {checkpoint} it runs to its end")  # fmt: skip
        return minimize(
            objective, space, optimizer, self.trials, seconds=self.seconds, objectives=self._read_objectives(),
            horizon=self.horizon, unit=self.unit or self._usual_unit, executor=executor,
            workers=1 if self.workers is None and not self.resources else self.workers, resources=self.resources,
            executor_options=_read_executor_options(self.executor_options), log=self.log, folder=self.checkpoints, quiet=quiet,
        )  # fmt: skip

    def _read_objectives(self) -> Mapping[str, str] | None:
        """The first metric where none is named; ValueError for one that the command is not asked for."""
        if not isinstance(self.metrics, Mapping):
            return self.objectives
        for name in self.objectives or ():
            if name not in self.metrics:
                raise ValueError(f"objectives names {name!r}, which is none of the metrics {list(self.metrics)}")
        return self.objectives or {next(iter(self.metrics)): "min"}


def _read_parameter(name: str, value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError(f"space.{name} is the list {format_value(value)}, which may be a range or a choice; allowed are "
                         "{ float = [low, high] }, { int = [low, high] } and { choices = [...] }")  # fmt: skip
    return parse_parameter(value, f"space.{name} is given") if isinstance(value, Mapping) else value


def _read_file(name: str, value: Any) -> ConfigFile:
    if not isinstance(value, Mapping) or set(value) - {"base", "keys"}:
        raise ValueError(f"files.{name} is {format_value(value)}; allowed is a table with base and keys")
    return ConfigFile(**value)


def _read_executor_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """With a batch system, where its commands are given as a table."""
    system = options.get("system")
    if not isinstance(system, Mapping):
        return dict(options)
    allowed = [one.name for one in fields(BatchSystem)]
    if (unknown := [name for name in system if name not in allowed]) or not {"submit", "cancel", "status"} <= {*system}:
        came = f"the name {unknown[0]!r}" if unknown else format_value(dict(system))
        raise ValueError(f"executor_options.system has {came}; allowed are {', '.join(allowed)}, the first three are needed")
    return {**options, "system": BatchSystem(**system)}
