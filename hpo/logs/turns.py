"""What keeps many drivers of one log from proposing in vain.

Of several drivers that have read the same, the first to start a job wins; the others read on and propose again. With many quick
drivers nearly every proposal would lose. So whoever has lost keeps the lock under which it was refused until its next append:
that one cannot lose. A driver that does not come back within LIMIT has its lock taken away, and since its proposals are slow, it
goes without for a while. Turns are a courtesy: no promise of a log depends on them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

LIMIT = 0.25  # seconds that others wait for a proposal at most
REST = 100  # collisions without a turn, after one that was too long


class Reservation:
    """A transaction that stays open after a collision. Whoever uses it has the lock, and looks whether it is over."""

    def __init__(self, turns: Reservations, leave: Callable[[], None], lock: threading.Lock) -> None:
        """leave: ends the transaction, of a driver that is too late."""
        self._turns, self._leave, self.lock = turns, leave, lock
        self.is_over = False
        self._timer = threading.Timer(LIMIT, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Within the lock, by the driver itself."""
        self.is_over = True
        self._timer.cancel()

    def _expire(self) -> None:
        with self.lock:
            if not self.is_over:
                self.is_over, self._turns.rest = True, REST
                self._leave()


class Reservations:
    """The turns of one log in one process."""

    def __init__(self) -> None:
        self.rest = 0  # collisions before the next turn

    def begin(self, leave: Callable[[], None], lock: threading.Lock) -> Reservation | None:
        """A turn, if this driver is quick."""
        if self.rest:
            self.rest -= 1
            return None
        return Reservation(self, leave, lock)
