"""How a run is ended from outside: Ctrl-C, and SIGTERM, which is how clusters end a job."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after its message was printed, with the study as it was."""

    def __init__(self, study: Any) -> None:
        super().__init__()
        self.study = study


class InterruptedScript(Interrupted, SystemExit):
    """The same in a script: if it is not caught, the process ends with status 130 and no traceback."""

    def __init__(self, study: Any) -> None:
        super().__init__(study)
        self.code = 128 + signal.SIGINT


def is_interactive() -> bool:
    """Whether this is an interactive shell or a notebook, which should go on after Ctrl-C."""
    ipython = sys.modules.get("IPython")
    typed = getattr(ipython, "get_ipython", lambda: None)() is not None
    return bool(sys.flags.interactive) or hasattr(sys, "ps1") or typed


class Terminated(SystemExit):
    """SIGTERM; if it is not caught, the process ends with status 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def handle_termination() -> Iterator[None]:
    """A context in which the first SIGTERM raises Terminated in the main thread; a second one does not disturb the closing.
    If an objective swallows the exception, `obey_termination`, called when its job is over, raises it again.

    Changes nothing outside of the main thread, or if the program has its own handler.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    _asked.clear()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _asked.clear()


_asked = threading.Event()  # SIGTERM has come since `terminable` began


def _terminate(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def obey_termination() -> None:
    """Raises Terminated if SIGTERM has come since `terminable` began, even if the objective has caught it."""
    if _asked.is_set() and threading.current_thread() is threading.main_thread():
        raise Terminated
