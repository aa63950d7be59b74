"""Prepares a study, in this order: settings, device, classes, text, memory, space, optimizer, folder, log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.job import GPTObjective, default, space
from experiments.tune.build import load_text, make_objective, text_digest
from experiments.tune.folder import TEXT, Folder
from experiments.tune.handover import KEEP
from experiments.tune.machine import check_device, has_kernels, versions, worker_memory
from experiments.tune.memory import check_room, memory_room
from experiments.tune.optimizer import check_classes, make_optimizer, population_size, scheduler_options
from experiments.tune.settings import Settings
from hpo.logs import SQLiteLog
from hpo.optimizer import Optimizer
from hpo.optimizers.finals import Finals
from hpo.study import Study

if TYPE_CHECKING:
    from models.data.batches import Corpus

S = TypeVar("S", bound=Settings)
# What settings may leave open, and how it is decided at the start of a study.
OPEN: Mapping[str, Callable[[Settings], Any]] = {
    "population": lambda settings: population_size(settings) if "population" in scheduler_options(settings) else None,
    "memory": worker_memory,
    "kernels": lambda settings: has_kernels(),
}


@dataclass(frozen=True)
class Search:
    """A study that can be run: everything that could be refused has been checked."""

    settings: Settings
    folder: Folder
    corpus: Corpus
    objective: GPTObjective
    study: Study
    command: str

    @property
    def has_default(self) -> bool:
        """Whether the default configuration fits into the memory."""
        return self.study.optimizer.space.is_feasible(default(self.settings.space))


@dataclass(frozen=True)
class Setup:
    """What a study is made of, checked; no file has been written yet."""

    settings: Settings
    folder: Folder
    corpus: Corpus
    objective: GPTObjective
    optimizer: Optimizer
    made_with: Mapping[str, str]

    def open_log(self) -> SQLiteLog:
        """Locks the folder, writes the settings down, and opens the log. ValueError in one sentence."""
        self.folder.open(self.settings, self.made_with)
        return SQLiteLog(self.folder / "log.sqlite")


def prepare(values: Mapping[str, Any], command: str) -> Search:
    """A study from settings by name. Everything is checked first; no file is written until all of it is right.

    ValueError, OSError or ModuleNotFoundError in one sentence.
    """
    setup = set_up(Settings.of(values))
    settings, horizon = setup.settings, setup.settings.horizon
    search = Finals(setup.optimizer, KEEP)  # even if the study began without finals
    study = Study(search, unit="tokens", horizon=horizon, log=setup.open_log())
    work = Search(settings, setup.folder, setup.corpus, setup.objective, study, command)
    if work.has_default and not study.history.events:
        study.optimizer.enqueue(default(settings.space))  # the default takes part as trial 0
    return work


def set_up(settings: Settings) -> Setup:
    """What a study is made of by its settings. Raises as `prepare` does."""
    check_device(settings)
    check_classes(settings)
    corpus, folder = load_text(settings), Folder(settings.folder, type(settings))
    made_with = {**versions(), TEXT: text_digest(corpus)}
    earlier, given = folder.read_settings()[0], settings.memory is not None
    settings = complete(settings, earlier)
    folder.check(settings, made_with)

    objective = make_objective(settings)
    room = memory_room(settings, objective, corpus.vocabulary)
    if room is not None and earlier is None:  # a study that goes on keeps its limit, whatever machine it began on
        check_room(settings, room, given)
    search = make_optimizer(settings, space(settings.space, room))
    return Setup(settings, folder, corpus, objective, search, made_with)


def complete(settings: S, earlier: Settings | None = None) -> S:
    """The settings with what was left open: PBT's population, the memory and how it is predicted. They come from an earlier run,
    else from this machine. Settings of studies from before there was a memory limit hold none, and get none.
    """
    left = [name for name in OPEN if getattr(settings, name) is None]
    return replace(settings, **{name: OPEN[name](settings) if earlier is None else getattr(earlier, name) for name in left})
