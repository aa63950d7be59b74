"""command: a command line as an objective. What it prints decides what it can do.

    command("python train.py {flags}", {"loss": r"loss (\\S+)"})                            one value, the last one
    command("python train.py {flags}", {"loss": r"loss (\\S+)"}, step=r"iter (\\d+)")        can be stopped on its way
    command("python train.py {flags} --until={until} --dir={checkpoint}", ...)             pauses, goes on elsewhere, is cloned
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from hpo.commands.child import Child, Running
from hpo.commands.errors import CommandError
from hpo.commands.metrics import MetricReader, Patterns
from hpo.commands.template import ConfigFile, Template
from hpo.executors.devices import list_devices
from hpo.job import Curve
from hpo.logs.urls import read_query
from hpo.processes import is_gone, this_process
from hpo.space import Space
from hpo.values import duration, format_value

CHECKPOINT = "checkpoint"  # the place that a command which resumes names
TRIAL = ("trial", "seed")  # places of every command
BUDGET = (CHECKPOINT, "until", "horizon")  # of one that resumes
GRACE = 10.0  # seconds between SIGTERM and SIGKILL


def command(
    run: str | Sequence[str],
    metrics: Mapping[str, str] | str,
    step: str | None = None,
    *,
    flag: str = "--{name}={value}",
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, ConfigFile] | None = None,
    folder: str | Path = "trials",
    cwd: str | Path | None = None,
    timeout: float | None = None,
    grace: float = GRACE,
    first: Sequence[str] = (),
    again: Sequence[str] = (),
) -> Callable[..., Any]:
    """The objective that runs a command for every trial; `hpo.minimize` takes it, by processes too.

    run           the command line with places for hyperparameters; see hpo/commands/template.py
    metrics       regular expressions by name, {"loss": r"val loss (\\S+)"}, or "json" for lines of JSON objects
    step          a regular expression for how far a training is, the entry of JSON lines, or "count": how often the first metric
                  was printed; then a scheduler can stop a trial on its way: at a rung the command is suspended, and continued or
                  ended from there
    flag, environment, files   how hyperparameters are written; variables; files of them
    folder        every trial has a folder in it: stdout.txt, stderr.txt, its files
    cwd           the folder in which the command runs (default: this one), wherever the worker stands
    timeout       seconds that it may run; then the trial has failed
    grace         seconds from SIGTERM to SIGKILL, of all that the command has started
    first, again  words that are added where a command that names {checkpoint} begins, and where it goes on

    A command that names `{checkpoint}`, a folder, is called again for every budget `{until}` of `{horizon}`, and must go on from
    what it left there: it can be paused without its process, moved and cloned. A trial whose command is missing, ends with
    another status than 0, prints no metric or one that is no number has failed, with a sentence that says so. `minimize` refuses
    a place that stands for nothing and a hyperparameter that has none, before anything runs.
    """
    made = {name: replace(file, base=None if file.base is None else Path(file.base).absolute())
            for name, file in (files or {}).items()}  # fmt: skip
    base = Command(
        Template(run, flag, dict(environment or {}), made), Patterns(metrics, step), Path(folder).absolute(),
        Path(cwd or ".").absolute(), duration("timeout", timeout, zero=False), duration("grace", grace) or 0.0,
        tuple(first), tuple(again),
    )  # fmt: skip
    if base.template.has_place(CHECKPOINT):
        if base.patterns.has_count:
            raise ValueError("step is 'count', which begins anew at every call of a command that names {checkpoint}")
        return ResumedCommand(base)
    if first or again:
        raise ValueError("first and again are for a command that names {checkpoint}, from which it goes on")
    return ReportedCommand(base) if base.patterns.has_steps else SingleCommand(base)


def choose_executor(workers: int | None, resources: Mapping[str, float] | None) -> str:
    """Where commands run when nobody says: in threads; in processes, which give each its devices, where resources are named, or
    where several run at once on a machine with several devices: all of them would take the first one."""
    several = workers is not None and workers > 1
    return "processes" if resources or (several and len(list_devices()) > 1) else "threads"


def name_outputs(log: str | Path) -> Path:
    """The folder of a study's outputs: beside its log, with its name; in this folder for a log behind a URL."""
    text = str(log)
    if "://" in text:
        name = re.sub(r"[^\w.-]+", "_", read_query(text).get("study", "") or text.partition("?")[0].rpartition("/")[2])
        return Path(f"{name or 'study'}.trials")
    return Path(text).with_suffix(".trials")


@dataclass(frozen=True)
class Command:
    """What `command` was given, and the trial that it is for."""

    template: Template
    patterns: Patterns
    folder: Path  # absolute, as is cwd: workers may stand in other folders
    cwd: Path
    timeout: float | None
    grace: float
    first: Sequence[str]
    again: Sequence[str]
    others: Mapping[str, Any] = field(default_factory=dict)  # what else has a place: trial, seed
    running: Running = field(default_factory=Running, compare=False, repr=False)  # of all trials

    def bind_trial(self, number: int, seed: int) -> Command:
        """The command of one trial."""
        return replace(self, others={"trial": number, "seed": seed})

    def check_space(self, space: Space) -> None:
        """ValueError unless every place stands for something, and every hyperparameter reaches the command."""
        resumes = self.template.has_place(CHECKPOINT)
        self.template.check(space, (*TRIAL, *BUDGET) if resumes else TRIAL, [*self.first, *self.again])
        if not self.cwd.is_dir():
            raise ValueError(f"cwd is {format_value(str(self.cwd))}, which is no folder")

    @property
    def home(self) -> Path:
        """The trial's own folder."""
        return self.folder / str(self.others.get("trial", "alone"))

    @contextmanager
    def start(
        self, config: Mapping[str, Any], extra: Sequence[str] = (), append: bool = False, **others: Any
    ) -> Iterator[Child]:
        """The running command of a configuration, which ends with the block. `append`: it goes on with what it printed before."""
        self.home.mkdir(parents=True, exist_ok=True)
        words, variables = self.template.fill(config, self.home, {**self.others, **others}, extra)
        child = Child(words, variables, self.cwd, self.home, append)
        self.running.add(child)
        try:
            yield child
        except CommandError as error:
            error.own_traceback = child.read_errors()
            raise
        finally:
            child.end(self.grace)
            self.running.discard(child)

    def stop(self) -> None:
        """Ends all commands that run in this process."""
        for child in list(self.running):
            child.is_stopped = True

    def follow(self, child: Child) -> Iterator[MetricReader]:
        """Reads the command to its end; at every line with metrics what is known then. CommandError unless it ends well."""
        reader = MetricReader(self.patterns)
        for line in child.read(self.timeout):
            if reader.read(line):
                yield reader
        child.check_status()
        if (why := reader.explain()) is not None:
            raise CommandError(f"the command ended without a metric: {why}")


@dataclass(frozen=True)
class CommandObjective:
    """What all three kinds of objectives have of `ObjectiveHooks`."""

    command: Command

    def check_space(self, space: Space) -> None:
        self.command.check_space(space)

    def stop(self) -> None:
        self.command.stop()

    def bind_trial(self, number: int, seed: int) -> Self:
        return replace(self, command=self.command.bind_trial(number, seed))


@dataclass(frozen=True)
class SingleCommand(CommandObjective):
    """f(config): the last value of every metric."""

    def __call__(self, config: Mapping[str, Any]) -> dict[str, float]:
        values: dict[str, float] = {}
        with self.command.start(config) as child:
            for reader in self.command.follow(child):
                values = dict(reader.values)
        return values


@dataclass(frozen=True)
class ReportedCommand(CommandObjective):
    """f(config, report): reports while the command runs, and suspends it meanwhile, so that it stands still at a rung."""

    def __call__(self, config: Mapping[str, Any], report: Callable[[int, Any], None]) -> dict[str, float]:
        values: dict[str, float] = {}
        with self.command.start(config) as child:
            for reader in self.command.follow(child):
                values = dict(reader.values)
                if reader.step is not None:
                    child.suspend()
                    report(reader.step, values)
                    child.resume()
        return values


@dataclass(frozen=True)
class ResumedCommand(CommandObjective):
    """A Run factory of a command that goes on from a folder."""

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> CommandRun:
        return CommandRun(self.command, config, seed, horizon)


class CommandRun:
    """One trial of a command that is called again for every budget. Its checkpoint is the folder `{checkpoint}`."""

    def __init__(self, command: Command, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        self.command, self.config = command, dict(config)
        self.others = {"seed": seed, "horizon": horizon}
        self.has_begun = False
        _clear_dead(command.home)
        self.checkpoint = _make_folder(command.home)  # its own: another worker may hold an earlier state of the trial

    def advance(self, until: int) -> tuple[dict[str, float], Curve]:
        """Runs the command to a budget; its metrics there, and the first of them at the steps that it printed."""
        extra = self.command.again if self.has_begun else self.command.first
        curve: dict[int, Any] = {}
        values: dict[str, float] = {}
        places = {**self.others, "until": until, "checkpoint": self.checkpoint}
        with self.command.start(self.config, extra, self.has_begun, **places) as child:
            for reader in self.command.follow(child):
                values = dict(reader.values)
                if reader.step is not None:
                    curve[reader.step] = values
        self.has_begun = True
        return values, sorted(curve.items(), key=lambda point: point[0])

    def save(self, path: str) -> None:
        """Copies the folder."""
        shutil.copytree(self.checkpoint, path)

    def load(self, path: str) -> None:
        """Goes on from a copy of a folder."""
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        shutil.copytree(path, self.checkpoint)
        self.has_begun = True

    def close(self) -> None:
        """Deletes the folder; what was saved of it stands elsewhere."""
        _owner_of(self.checkpoint).unlink(missing_ok=True)
        shutil.rmtree(self.checkpoint, ignore_errors=True)


def _owner_of(folder: Path) -> Path:
    """The file that says which process a folder belongs to."""
    return folder.with_name(f"{folder.name}.owner")


def _make_folder(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{CHECKPOINT}-", dir=home))
    _owner_of(folder).write_text(this_process(), encoding="utf-8")
    return folder


def _clear_dead(home: Path) -> None:
    """Deletes the folders of processes that are gone."""
    for owner in home.glob(f"{CHECKPOINT}-*.owner"):
        with suppress(OSError):  # another process was faster
            if is_gone(owner.read_text(encoding="utf-8")):
                shutil.rmtree(owner.with_suffix(""), ignore_errors=True)
                owner.unlink()
