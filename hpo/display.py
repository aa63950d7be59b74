"""One readable line a finished trial: trial, value, configuration, best so far (of several objectives: the front's size)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from hpo.job import Key
from hpo.study import Study


def short(value: Any) -> str:
    """A value as people write it: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def configuration(config: Mapping[str, Any]) -> str:
    """`lr=0.001 layers=6`."""
    return " ".join(f"{name}={short(value)}" for name, value in config.items())


class Lines:
    """A watcher for `hpo.run` that prints a line after every finish; the grid's size before the first."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self._begun = False

    def __call__(self, study: Study, key: Key | None) -> None:
        if not self._begun:
            self._begun = True
            sampler = study.optimizer.chooser
            if type(sampler).__str__ is not object.__str__:
                self._print(str(sampler))
        if key is not None:
            self._print(self.line(study, key))

    def line(self, study: Study, key: Key) -> str:
        """What is printed for a finished key."""
        trial = study.trial(key)
        rung = f" @ {trial.until} {study.header.unit}" if study.header.horizon > 1 else ""
        value = " ".join(f"{n}={short(trial.metrics[n])}" for n in study.header.objectives if n in trial.metrics)
        said = value if trial.error is None else f"failed ({trial.error})"
        return f"trial {trial.number:>4}{rung}  {said}  {configuration(trial.config)}  {study.summary()}"

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)
