"""Three kinds of objectives as one protocol: `f(config)`, `f(config, report)` and a Run factory.

    f(config) -> value                        one budget; horizon 1
    f(config, report) -> value                calls report(step, value) on the way; is parked at a rung and resumed there
    factory(config, seed, horizon) -> Run     can do everything: pause, move, clone

A value is a number, a mapping of metrics, a Result or, for several objectives, a tuple of numbers. Coroutine functions are
awaited.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from hpo.forks import one_process
from hpo.job import Curve
from hpo.values import format_value, is_several, number, plain, whole

Metrics = Mapping[str, float]
Objective = Callable[..., Any]


class Run(Protocol):
    """One learning curve in memory. `until` is absolute, in the study's unit, and never falls."""

    def advance(self, until: int) -> tuple[Metrics, Curve]:
        """Trains to `until`. Returns the metrics there, and (step, value) of the evaluations on the way.

        A Run that can be saved between any two steps takes a second argument,

            def advance(self, until: int, checkpoint: Callable[[], None] | None = None)

        and calls `checkpoint()` between steps, which saves the Run when it is time to. Where the worker dies, the job goes on
        from there: what `load` gives then is the same training, the evaluations on the way so far included."""
        ...

    def save(self, path: str) -> None:
        """Writes everything that another Run needs to continue from here."""
        ...

    def load(self, path: str) -> None:
        """Goes on from a checkpoint of this trial, and from another trial's (a clone) unless the Run has a method

            def adopt(self, path: str) -> None

        for that. `adopt` takes over what the other trial has learned (weights, moments, position), but not what judges the
        other trial's hyperparameters (patience, best, guards, noise scale)."""
        ...


class ObjectiveHooks(Protocol):
    """What an objective may have beside `__call__`. All are optional and are read by `hook`."""

    explore: Sequence[str]  # hyperparameters that may change during training; PBT explores these by default

    def warm(self) -> None:
        """Called first in every worker process, for imports and data that all jobs need."""
        ...

    def check_space(self, space: Any) -> None:
        """Called with the space before a search begins; ValueError in a sentence for a space that is not the objective's."""
        ...

    def stop(self) -> None:
        """Called from another thread where an executor is closed while jobs run in this process: ends what they wait for, such as
        commands, so that nothing goes on in the background."""
        ...

    def bind_trial(self, number: int, seed: int) -> Objective:
        """The objective of one trial, by its number and its training seed; called before the trial is built. For f(config) and
        f(config, report) that want to know them."""
        ...


class RunHooks(Protocol):
    """What a Run may have beside its three methods. All are optional and are read by `hook`."""

    def adopt(self, path: str) -> None:
        """Loads a checkpoint of another trial; without it `load` does."""
        ...

    def close(self) -> None:
        """Called when the Run is dropped; releases what it holds."""
        ...


HOOKS = {
    name
    for protocol in (ObjectiveHooks, RunHooks)
    for name in (*protocol.__annotations__, *vars(protocol))
    if not name.startswith("_")
}


def hook(owner: Any, name: str) -> Any:
    """The attribute of an objective or a Run that a hook's name stands for; None if it has no such attribute."""
    if name not in HOOKS:
        raise KeyError(name)
    return getattr(owner, name, None)


def kind(objective: Objective) -> str:
    """ "function", "report" or "run", by the number of arguments it takes."""
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError):
        raise TypeError(f"the objective must be a function with a signature, but {objective!r} came") from None
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if [p.name for p in placed[1:2]] == ["report"]:
        return "report"
    needed = [p for p in placed if p.default is p.empty]
    kinds = {1: "function", 2: "report", 3: "run"}
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(needed) not in kinds or named:
        names = [p.name for p in parameters]
        raise TypeError(
            f"the objective takes {names}; allowed are f(config), f(config, report) and factory(config, seed, horizon)"
        )
    return kinds[len(needed)]


def is_saved_inside(run: Any) -> bool:
    """Whether a Run's `advance` takes a `checkpoint` to call between steps."""
    return not isinstance(run, FunctionRun | ReportRun) and "checkpoint" in inspect.signature(run.advance).parameters


def build(objective: Objective, config: Mapping[str, Any], seed: int, horizon: int) -> FunctionRun | ReportRun | Run:
    """A Run of the objective for one trial."""
    which = kind(objective)
    if which == "function":
        return FunctionRun(objective, config)
    if which == "report":
        return ReportRun(objective, config)
    run: Run = objective(dict(config), seed, horizon)
    return run


def _await(value: Any) -> Any:
    """A value, awaited if it is a coroutine. In a notebook, where an event loop is running already, it is awaited by another
    loop in another thread."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    outcome: Future[Any] = Future()
    context = contextvars.copy_context()

    def main() -> None:
        try:
            outcome.set_result(context.run(asyncio.run, wait()))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=main, daemon=True).start()
    return outcome.result()


class FunctionRun:
    """`f(config)`: one value at one budget."""

    def __init__(self, objective: Objective, config: Mapping[str, Any]) -> None:
        self.objective, self.config = objective, config

    def advance(self, until: int) -> tuple[Any, Curve]:
        return _await(self.objective(dict(self.config))), ()


def _check_report(step: Any, value: Any) -> tuple[int, Any]:
    """The arguments of `report` as a whole step and plain floats. TypeError in a sentence otherwise, above all for the order
    (value, step)."""
    try:
        if isinstance(plain(step), float) and type(plain(value)) is int:
            raise ValueError  # a float and an integer: most likely the other order
        at = whole("a step", step, 0)
    except (TypeError, ValueError):
        raise TypeError(
            f"report takes (step, value), and a step is an integer of at least 0, but "
            f"report({format_value(step)}, {format_value(value)}) came; "
            f"allowed are report(step, value) and report(value=value, step=step)"
        ) from None
    if isinstance(value, Mapping):
        return at, {name: number(f"the reported metric {name!r}", metric) for name, metric in value.items()}
    if is_several(value):
        return at, tuple(number("a reported value", one) for one in value)
    return at, number("the reported value", value)


class Closed(BaseException):
    """Raised inside `report` when the trial is not continued. A BaseException, so that `except Exception` does not catch it."""


class NothingReported(ValueError):
    """`f(config, report)` ended without a value. This is a mistake in the objective for which there is no line number."""


class ReportRun:
    """`f(config, report)` in a thread of its own, parked inside `report` once it has reached `until`.

    It can be resumed where it is parked, or run again from its beginning, because a worker keeps only a few of them parked.
    It cannot be saved, moved or cloned.
    """

    def __init__(self, objective: Objective, config: Mapping[str, Any]) -> None:
        self.objective, self.config = objective, config
        self._process = os.getpid()
        self._turn = threading.Condition()
        self._until = 0
        self._parked = True  # whether the objective's thread stands still
        self._closed = False
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._ended = False
        self._curve: list[tuple[int, Any]] = []
        self._thread: threading.Thread | None = None

    def advance(self, until: int) -> tuple[Any, Curve]:
        with self._turn:
            if self._curve and self._curve[-1][0] >= until:  # reports are coarser than rungs: the value is known already
                return self._outcome, ()
            start = len(self._curve)
            self._until = until
            if not self._ended:
                self._parked = False
                if self._thread is None:
                    self._thread = threading.Thread(target=self._main, daemon=True)
                    self._thread.start()
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._parked)
            if self._error is not None:
                raise self._error
            if self._outcome is None:
                raise NothingReported("the objective returned None and reported nothing; it must return or report a value")
            return self._outcome, tuple(self._curve[start:])

    def close(self) -> None:
        """Ends the objective: its next `report` raises, and `finally` blocks run."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def _main(self) -> None:
        try:
            with one_process():
                value = _await(self.objective(dict(self.config), self._report))
            if value is not None:
                self._outcome = value
        except Closed:
            pass
        except BaseException as error:
            self._error = error
        with self._turn:
            self._ended = self._parked = True
            self._turn.notify_all()

    def _report(self, step: int, value: Any) -> None:
        """`report` as the objective calls it: `step` has `value`. Waits here while the trial is parked at a rung."""
        step, value = _check_report(step, value)
        if os.getpid() != self._process:  # a forked child has nobody to report to, and would wait for ever
            os._exit(0)
        with self._turn:
            if self._curve and step < self._curve[-1][0]:
                raise ValueError(f"report got step {step} after step {self._curve[-1][0]}; steps never fall")
            self._outcome = value
            self._curve.append((step, value))  # the driver picks the study's objective out of a mapping
            if step >= self._until:
                self._parked = True
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._closed or not self._parked)
            if self._closed:
                raise Closed
