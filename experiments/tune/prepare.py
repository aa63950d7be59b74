"""Prepares a study, in this order: settings, device, classes, text, memory, space, optimizer, folder, log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from experiments.job import GPTObjective, default, space
from experiments.tune.build import load_text, make_objective, text_digest
from experiments.tune.folder import TEXT, Folder
from experiments.tune.handover import KEEP
from experiments.tune.machine import check_device, has_kernels, versions, worker_memory
from experiments.tune.memory import check_room, memory_room
from experiments.tune.optimizer import check_classes, make_optimizer, population_size, scheduler_options
from experiments.tune.settings import Settings
from hpo.logs import SQLiteLog
from hpo.optimizers.finals import Finals
from hpo.study import Study

if TYPE_CHECKING:
    from models.data.batches import Corpus

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


def prepare(values: Mapping[str, Any], command: str) -> Search:
    """A study from settings by name. Everything is checked first; no file is written until all of it is right.

    ValueError, OSError or ModuleNotFoundError in one sentence.
    """
    settings = Settings.of(values)
    check_device(settings)
    check_classes(settings)
    corpus, folder = load_text(settings), Folder(settings.folder)
    made_with = {**versions(), TEXT: text_digest(corpus)}
    earlier, given = folder.read_settings()[0], settings.memory is not None
    settings = complete(settings, earlier)
    folder.check(settings, made_with)

    objective = make_objective(settings)
    room = memory_room(settings, objective, corpus.vocabulary)
    if room is not None and earlier is None:  # a study that goes on keeps its limit, whatever machine it began on
        check_room(settings, room, given)
    search = make_optimizer(settings, space(settings.space, room))

    folder.open(settings, made_with)
    log = SQLiteLog(folder / "log.sqlite")
    study = Study(Finals(search, KEEP), unit="tokens", horizon=settings.horizon, log=log)  # even if it began without finals
    work = Search(settings, folder, corpus, objective, study, command)
    if work.has_default and not study.history.events:
        study.optimizer.enqueue(default(settings.space))  # the default takes part as trial 0
    return work


def complete(settings: Settings, earlier: Settings | None = None) -> Settings:
    """The settings with what was left open: PBT's population, the memory and how it is predicted. They come from an earlier run,
    else from this machine. Settings of studies from before there was a memory limit hold none, and get none.
    """
    left = [name for name in OPEN if getattr(settings, name) is None]
    return replace(settings, **{name: OPEN[name](settings) if earlier is None else getattr(earlier, name) for name in left})
