"""The watcher that prints a readable line after every finish."""

from __future__ import annotations

import sys
from typing import TextIO

from hpo.analysis.lines import trial_line
from hpo.job import Key
from hpo.study import Study


class Lines:
    """A watcher for `hpo.run` that prints a line after every finish; the grid's size before the first."""

    is_vital = True  # where nobody reads on, the run ends

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self._begun = False

    def __call__(self, study: Study, key: Key | None) -> None:
        if not self._begun:
            self._begun = True
            if said := describe_chooser(study):
                self._print(said)
        if key is not None:
            self._print(trial_line(study.history, key))

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def describe_chooser(study: Study) -> str:
    """What the study's sampler says of itself: a grid its size; empty for one that says nothing."""
    sampler = study.optimizer.chooser
    return "" if type(sampler).__str__ is object.__str__ else str(sampler)
