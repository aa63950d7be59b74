"""Watchers: what a run tells those who look on, and that none of them can harm it.

A watcher is a function `watch(study, key)`. `run` and `minimize` take one, or a sequence of them. Each driver of a study has its
own, and calls them in its own thread, one after the other:

    begin(study)        where it has this method: once, after the log was read and before the first job
    watch(study, None)  after each job that this driver has started
    watch(study, key)   after each result that this driver has recorded: it is in the log by then, and in study.history.results.
                        Also after a job that was lost so often that it has failed. Never for a result that was refused because
                        another driver was first, nor for one that stood in the log before
    end(study)          where it has this method: once, however the run ends, also after Ctrl-C and SIGTERM

An exception in a watcher is a warning that names it, once a run; the study goes on, and the watcher is called again next time.
Only where a watcher has the attribute `is_vital = True` its exceptions end the run, with everything told in the log: so do the
lines that a run prints, where nobody reads them any more. What a watcher does takes time from the driver, so one that waits for a
network should do so in a thread of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from hpo.frames import stack_level
from hpo.job import Key
from hpo.study import Study
from hpo.values import format_value

Watch = Callable[[Study, Key | None], None]


class Watcher:
    """A watcher with a beginning and an end, to derive from; any callable is a watcher, and may have these two methods.

    is_vital   whether the run ends with an exception of this watcher
    """

    is_vital: ClassVar[bool] = False

    def begin(self, study: Study) -> None:
        """Before the first job. Whatever an earlier run of this study finished is in `study.history.results`."""

    def __call__(self, study: Study, key: Key | None) -> None:
        """After a start (None) and after a result (its key)."""
        raise NotImplementedError(f"{type(self).__name__} says what it does after a result: def __call__(self, study, key)")

    def end(self, study: Study) -> None:
        """When the run ends, however it does."""


class Watchers:
    """Those of a run, called one after the other; what one of them raises is a warning, unless it is vital."""

    def __init__(self, watch: Watch | Sequence[Watch] | None = None) -> None:
        self._all = list_watchers(watch)
        self._said: set[int] = set()
        self._begun: list[Watch] = []

    def begin(self, study: Study) -> None:
        for watch in self._all:
            self._begun.append(watch)
            self._call(watch, getattr(watch, "begin", None), study)

    def __call__(self, study: Study, key: Key | None) -> None:
        for watch in self._all:
            self._call(watch, watch, study, key)

    def end(self, study: Study) -> None:
        """Ends those that have begun; one that is interrupted at its end does not keep the others from theirs."""
        while self._begun:
            watch = self._begun.pop()
            try:
                self._call(watch, getattr(watch, "end", None), study)
            except BaseException:
                self.end(study)
                raise

    def _call(self, watch: Watch, function: Callable[..., None] | None, *arguments: object) -> None:
        if function is None:
            return
        if getattr(watch, "is_vital", False):
            function(*arguments)
            return
        try:
            function(*arguments)
        except Exception as error:
            if id(watch) not in self._said:
                self._said.add(id(watch))
                said = f"the watcher {name_watcher(watch)} raised {type(error).__name__}: {error}"
                warnings.warn(f"{said}; the study goes on, and this is said once", stacklevel=stack_level())


def list_watchers(watch: Watch | Sequence[Watch] | None) -> list[Watch]:
    """One watcher or several as a list. TypeError in a sentence for what cannot be called."""
    several = [watch] if callable(watch) else [] if watch is None else watch
    if not isinstance(several, list | tuple):
        raise TypeError(f"watch is {format_value(watch)}; allowed are a function of a study and a key, a list of such, and None")
    for one in several:
        if not callable(one) or isinstance(one, type):
            allowed = "functions of a study and a key, and instances of watchers"
            raise TypeError(f"watch holds {format_value(one)}; allowed are {allowed}")
    return list(several)


def name_watcher(watch: Watch) -> str:
    """How a watcher is called in messages: an instance by its class, a function by its own name."""
    while isinstance(watch, partial):
        watch = watch.func
    return str(getattr(watch, "__qualname__", type(watch).__name__))
