"""How a run is ended from outside: Ctrl-C, and SIGTERM, which is how clusters end a job."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt, SystemExit):
    """Ctrl-C whose sentence has been said: where nobody catches it the process ends with status 130 and no traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.code = 128 + signal.SIGINT


class Terminated(SystemExit):
    """SIGTERM; where nobody catches it the process ends with status 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM raises Terminated in the main thread, once; a second one does not disturb what is being closed.

    Changes nothing outside of the main thread, or where the program has a handler of its own.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
