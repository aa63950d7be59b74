"""When failures end a run: three jobs in a row are lost by the machine, or the first three trials show one mistake."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hpo.executors.base import Lost, Raised
from hpo.job import Job, Result
from hpo.logs import Log
from hpo.objective import NothingReported
from hpo.signals import Interrupted, InterruptedScript, Terminated, handle_termination, is_interactive
from hpo.study import Study
from hpo.values import quantity

IN_A_ROW = 3  # so many jobs lost to the disk, or so many first trials with the same exception, end a run
# Failures that are the configuration's fault, whichever line raises them: out of memory and divergence.
MEMORY = re.compile(r"out of memory|OutOfMemory|MemoryError", re.IGNORECASE)
DIVERGENCE = re.compile(r"diverge|\bnan\b|non-?finite|not finite|\binf(inity)?\b|overflow", re.IGNORECASE)
ARITHMETIC = {"builtins.ArithmeticError"}  # FloatingPointError, OverflowError and ZeroDivisionError
NOTHING = f"{NothingReported.__module__}.{NothingReported.__qualname__}"

Caught = type[BaseException] | tuple[type[BaseException], ...]


class ObjectiveError(Exception):
    """The exception that the objective raised in a worker; its text is the worker's traceback."""


class RepeatedFailure(RuntimeError):
    """The first trials of a run have failed in one way. error: the last one's."""

    def __init__(self, said: str, error: str) -> None:
        super().__init__(said)
        self.error = error


class Failures:
    """Counts failures in one run, and ends it with a RuntimeError when continuing makes no sense.

    catch   exceptions of the objective, as in `except`, that never end a run
    """

    def __init__(self, catch: Caught = ()) -> None:
        kinds = catch if isinstance(catch, tuple) else (catch,)
        wrong = [kind for kind in kinds if not (isinstance(kind, type) and issubclass(kind, BaseException))]
        if wrong:
            raise TypeError(f"catch is an exception class or a tuple of them, but {wrong[0]!r} came")
        self.catch = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
        self._lost = 0  # how many jobs in a row were lost
        self._shown = False  # whether a traceback was printed
        self._died = False  # whether a worker's death was reported
        # the first trials to finish: exception and line, or the malformed types; None for any other outcome
        self._first: dict[int, tuple[object, ...] | None] = {}

    def count_loss(self, job: Job, lost: Lost) -> None:
        """Counts a lost job, and reports the first worker's death of a run. Raises RuntimeError at the third job in a row that
        was lost by anything but a worker's death. A missing source does not count: it is trained again."""
        if lost.cause == "source":
            return
        if lost.cause == "worker" and lost.message and not self._died:
            self._died = True
            why = ", as the system does where memory runs out" if "SIGKILL" in lost.message else ""
            print(
                f"trial {job.trial} was lost: {lost.message}{why}; such a job is given out again, up to the study's lost_limit",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        self._lost = 0 if lost.cause == "worker" else self._lost + 1
        if self._lost >= IN_A_ROW:
            raise RuntimeError(
                f"{self._lost} jobs in a row were lost, none by its own fault; the last while {lost.message}; the results so "
                f"far stand, the jobs are pending, and the same call goes on with them"
            )

    def count_result(self, job: Job, result: Result, told: Result) -> None:
        """Counts a result: `result` came from the executor, `told` is what the history got. Raises RuntimeError if the first
        three trials of the run raised the same exception at one line, or returned values that are malformed in the same way."""
        self._lost = 0
        raised = result if isinstance(result, Raised) else None
        uncaught = raised is not None and self.catch.isdisjoint(raised.types)
        nothing = raised is not None and uncaught and raised.types[0] == NOTHING
        if raised is not None and raised.traceback and uncaught and not nothing and not self._shown:
            self._shown = True
            print(f"trial {job.trial} raised, and is a failed result:\n{raised.traceback}", file=sys.stderr, flush=True)
        if len(self._first) >= IN_A_ROW or job.trial in self._first:
            return
        if nothing:
            self._first[job.trial] = (NOTHING,)
        elif result.error is None and told.error is not None:
            # the types of what was returned: None, a text, a mapping without the objective
            self._first[job.trial] = tuple(sorted((name, type(value).__name__) for name, value in result.metrics.items()))
        else:
            self._first[job.trial] = (raised.types[0], raised.line) if raised and self._is_mistake(raised) else None
        same = set(self._first.values())
        if len(self._first) < IN_A_ROW or len(same) > 1 or None in same:
            return
        if raised is None or nothing:
            raise RuntimeError(
                f"what the first {IN_A_ROW} trials of this run returned is no result: {told.error}; a configuration that fails "
                f"returns nan or raises"
            )
        name, error = raised.types[0].rpartition(".")[2], raised.error or ""
        how = f"raised the same exception at {raised.line}" if not raised.is_foreign else "failed in the same way"
        raise RepeatedFailure(
            f"the first {IN_A_ROW} trials of this run {how}, the last {error}; catch={name} goes on in spite of it", error
        ) from (ObjectiveError(f"in the objective:\n{raised.traceback}") if raised.traceback else None)

    def _is_mistake(self, raised: Raised) -> bool:
        """Whether the exception may be a mistake in the objective, rather than the fault of a configuration."""
        said = f"{raised.types[0]} {raised.error}"
        spared = not self.catch.isdisjoint(raised.types) or not ARITHMETIC.isdisjoint(raised.types)
        return bool(raised.line) and not spared and not MEMORY.search(said) and not DIVERGENCE.search(said)


@contextmanager
def explain_interrupts(log: Log | None, study: Study, where: str | None) -> Iterator[None]:
    """A context in which Ctrl-C and SIGTERM close the log, if there is one, and end the program with a sentence that says how
    to go on. In a shell or a notebook Ctrl-C raises a KeyboardInterrupt that carries the study, and the program goes on."""
    with handle_termination():
        try:
            yield
        except (KeyboardInterrupt, Terminated) as stop:
            if log is not None:
                log.close()
            ended = isinstance(stop, Terminated)
            typed = is_interactive() and not ended
            if where:
                kept = f"in {where}: the same call goes on from there"
            elif typed:
                kept = "in memory alone: `import sys; study = sys.last_value.study` gets the study, and log= a file would keep it"
            else:
                kept = "lost: give log= a file to keep what is found"
            count, name = len(study.history.results), "SIGTERM" if ended else "Ctrl-C"
            said = f"{quantity(count, 'results')} {'is' if count == 1 else 'are'} {kept}"
            print(f"stopped by {name}; {said}", file=sys.stderr, flush=True)
            if ended:
                raise stop from None
            raise (Interrupted if typed else InterruptedScript)(study) from None
