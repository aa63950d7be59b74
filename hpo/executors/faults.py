"""Whose fault an exception is: the machine's (the job is lost) or the objective's (an error, told with its traceback)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hpo.executors.base import Raised

NUMBER = re.compile(r"\d+")
LINES = 80  # of a traceback that is stored; the middle of a longer one is left out
HERE = Path(__file__).resolve().parents[1]
# Files whose frames stand between a worker and the objective's own code.
BETWEEN = tuple(str(HERE / name) for name in (
    "executors/worker.py", "executors/simulator.py", "objective.py", "objects.py", "forks.py",
))  # fmt: skip
LIBRARY = (
    str(Path(asyncio.__file__).parent), str(Path(concurrent.futures.__file__).parent), threading.__file__,
)  # fmt: skip
# How libraries that write files themselves say what the system refused, in exceptions that are no OSError.
REFUSALS = ("No space left on device", "Disk quota exceeded", "Input/output error", "os error ", "file write failed",
            "unexpected pos ")  # fmt: skip


class StorageError(Exception):
    """A checkpoint could not be saved, loaded or published, and the system is the reason."""


class MissingSource(Exception):
    """The checkpoint that a job starts from is not there."""


@contextmanager
def storage(act: str) -> Iterator[None]:
    """Raises StorageError if the block ("saving 3-9.ckpt") fails because of the system."""
    try:
        yield
    except Exception as error:
        if not is_systems(error):
            raise
        raise StorageError(f"{act}: {describe(error)}") from error


def is_systems(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came from, is the system's refusal to read or write."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, OSError) or any(words in describe(error) for words in REFUSALS):
            return True
        seen.append(error)
        error = error.__cause__  # not its context: what was raised while another was handled has its own reason
    return False


def describe(error: BaseException) -> str:
    """`KeyError: 'x'`; the name alone of an exception that says nothing, or cannot say it."""
    try:
        said = str(error)
    except Exception:
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def failed_result(error: BaseException, system: Mapping[str, float]) -> Raised:
    """The result of a job whose objective raised. An exception may bring the traceback itself: `own_traceback`, a text."""
    own = _own(error.__traceback__)
    types = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    types = tuple(name.replace("__mp_main__", "__main__") for name in types)  # the main module's name in a worker
    said = getattr(error, "own_traceback", None)
    if isinstance(said, str):
        line = NUMBER.sub("0", describe(error))
        return Raised({}, (), describe(error), system, _shorten(said.splitlines()) or None, types, line, is_foreign=True)
    return Raised(error=describe(error), system=system, traceback=_text(error, own), types=types, line=_line(own))


def _own(frames: TracebackType | None) -> TracebackType | None:
    """The objective's part of a traceback: without our frames and those of the standard library above it."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file not in BETWEEN and not file.startswith(LIBRARY):
            break
        frames = frames.tb_next
    return frames


def _line(frames: TracebackType | None) -> str:
    """The deepest line in the file in which the objective's frames begin."""
    if frames is None:
        return ""
    file = frames.tb_frame.f_code.co_filename
    line = ""
    while frames is not None:
        if frames.tb_frame.f_code.co_filename == file:
            line = f"{file}:{frames.tb_lineno}"
        frames = frames.tb_next
    return line


def _text(error: BaseException, frames: TracebackType | None) -> str:
    return _shorten("".join(traceback.format_exception(type(error), error, frames)).splitlines())


def _shorten(lines: list[str]) -> str:
    if len(lines) > LINES:
        left_out = f"  ... {len(lines) - LINES} lines left out ..."
        lines = [*lines[: LINES // 2], left_out, *lines[-LINES // 2 :]]
    return "\n".join(line[:1000] for line in lines)
