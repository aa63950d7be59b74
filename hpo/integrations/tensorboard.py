"""TensorBoard: a tracker that writes event files, without TensorFlow and without torch. `pip install 'hpo-lm[tensorboard]'`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpo.integrations.trackers import Diary, Finish, Tracker, require, study_identity, study_name
from hpo.job import Key
from hpo.study import Study
from hpo.trial import best_key, first_objective


class TensorBoard(Tracker):
    """Scalars by step, and the table of hyperparameters, for `tensorboard --logdir runs`.

    folder   of all studies; each has a folder of its own in it, and in that one for every trial
    name     of the study's folder (default: the log's name and a few letters that tell studies apart)

    A trial's scalars: the first objective within its training, every metric at the budgets where it was told. The study's: the
    best so far, by the number of results.
    """

    def __init__(self, folder: str | Path = "runs", name: str | None = None) -> None:
        super().__init__()
        require("tensorboard", "tensorboard")
        self.folder, self.name = Path(folder), name
        self._home = self.folder
        self._diary: Diary | None = None
        self._study: Any = None  # the writer of the study's own scalars
        self._begun: set[int] = set()  # trials whose hyperparameters are written

    def open(self, study: Study) -> Iterable[Key]:
        self._home = self.folder / (self.name or study_name(study.history))
        self._diary = Diary(self._home / "written.txt", study_identity(study.history))
        known = self._diary.read()
        self._begun = {trial for trial, _ in known}
        return known

    def write(self, study: Study, done: Finish) -> None:
        assert self._diary is not None, "open comes first"
        writer = _make_writer(self._home / done.name)
        try:
            if done.key[0] not in self._begun:
                writer.add_event(_make_event(0, done.started, hyperparameters=done))
            objective = first_objective(study.history)
            for step, value in done.curve:
                writer.add_event(_make_event(step, done.ended, {objective: value}))
            others = {name: value for name, value in done.metrics.items() if name != objective}
            writer.add_event(_make_event(done.key[1], done.ended, others))
        finally:
            writer.close()
        self._write_best(study, done)
        self._diary.append(done.key)
        self._begun.add(done.key[0])

    def close(self) -> None:
        if self._study is not None:
            self._study.close()
            self._study = None

    def _write_best(self, study: Study, done: Finish) -> None:
        best = best_key(study.history)
        if best is None or len(study.header.objectives) > 1:
            return
        if self._study is None:
            self._study = _make_writer(self._home)
        name = f"best {study.objective}"
        value = study.history.results[best].metrics[study.objective]
        self._study.add_event(_make_event(len(study.history.results), done.ended, {name: value}))
        self._study.flush()


def _make_writer(folder: Path) -> Any:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    return EventFileWriter(str(folder))


def _make_event(
    step: int, seconds: float, scalars: Mapping[str, float] | None = None, hyperparameters: Finish | None = None
) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    if hyperparameters is not None:
        config = {name: value if isinstance(value, bool | int | float | str) else str(value)
                  for name, value in hyperparameters.config.items()}  # fmt: skip
        return Event(wall_time=seconds, step=0, summary=hparams_pb(config, hyperparameters.name, seconds))
    values = [Summary.Value(tag=name, simple_value=value) for name, value in (scalars or {}).items()]
    return Event(wall_time=seconds or time.time(), step=step, summary=Summary(value=values))
