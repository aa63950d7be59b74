"""When a driver asks the log to itself while it reads, proposes and starts a job.

Any driver may propose at any time: of several that have read the same, the first to append wins, the others read on and propose
again. With many quick drivers nearly every proposal would be in vain. So after a collision a driver whose proposals are quick
takes turns with the others for a while. Slow ones do not: results that others tell would wait for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from hpo.logs import Collision, Log

QUICK = 0.02  # seconds of this thread's processor time, of a proposal for which others may wait: whatever else the machine does
LONG = 1.0  # seconds of time: a proposal that waits for something else is not quick
ASKS = 100  # after a collision: so many asks in turn


class Turns:
    """The turns of one driver at its log. They change no proposal: only how often one is made in vain."""

    def __init__(self, log: Log, lock: threading.RLock) -> None:
        self._log, self._lock = log, lock
        self._left = 0  # asks in turn before the next one without
        self._is_quick = True  # whether the last proposal was

    @contextmanager
    def take(self) -> Iterator[None]:
        """Around reading, proposing and starting, for one thread of this driver at a time."""
        with self._lock:
            alone = self._left > 0 and self._is_quick
            self._left -= alone
            with getattr(self._log, "turn", nullcontext)() if alone else nullcontext():
                begun, worked = time.monotonic(), time.thread_time()
                try:
                    yield
                except Collision:
                    self._left = ASKS
                    raise
                finally:
                    self._is_quick = time.thread_time() - worked < QUICK and time.monotonic() - begun < LONG
