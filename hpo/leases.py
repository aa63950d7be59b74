"""Leases: which drivers of a study live. Each renews a row beside the events, and nobody runs what a living driver has in flight.

A driver counts as dead

- at once, if it ran on this machine and its process is gone;
- else if its last beat is longer ago than its lease: by the clock of the database, where the log is in one, or by how long its
  row has not changed by this process's own clock. So it does not matter how the clocks of machines are set.

What a dead driver had in flight is lost, by an event, and given out again. A driver that was only stopped may come back: then its
results are recorded where nobody else has one of the same job, and refused elsewhere.

No proposal reads any of this, so a study replays whoever lived.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import NamedTuple

from hpo.history import History
from hpo.job import Job
from hpo.logs.base import Driver
from hpo.processes import is_gone, this_process

LEASE = 60.0  # seconds
BEATS = 4  # in a lease
LOOK = 1.0  # seconds between two looks at the rows of the others

_working: set[tuple[str, int]] = set()  # (place of the log, driver) of what runs in this process


class Orphan(NamedTuple):
    """A job in flight with a driver that does not live, or that was asked for by hand, and which attempt that is."""

    job: Job
    attempt: int


class Leases:
    """The lease of one driver, which a thread renews until `close`, and what this driver knows of the others.

    driver   the position of its `run` event
    lease    seconds without a beat after which others take over what it has in flight
    """

    def __init__(self, history: History, driver: int, lease: float = LEASE) -> None:
        self.history, self.log, self.number = history, history.log, driver
        if type(driver) is not int:
            raise TypeError(f"append of the log {self.log!r:.60} returned {driver!r:.60}; it must return the event's position")
        self._place = self.log.place if self.log.path is None else os.path.realpath(self.log.path)  # however it is written
        self._process, self._lease = this_process(), lease
        self._seen, self._beats, self._beaten = len(history), 0, 0.0
        self._lock = threading.Lock()  # one beat after the other
        self._heard: dict[int, tuple[int, float]] = {}  # beats of every other driver, and since when by this process's clock
        self._living: dict[int, Driver] = {}
        self._dead: list[Driver] = []  # whose rows were there at the last look
        self._looked = (-1, 0.0)  # how many runs had begun at the last look, and when it was
        self._grown = 0.0  # when another run had begun since the look before
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if self.log.shared:
            _working.add((self._place, driver))
            self._beat()
            self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the lease: whatever is still in flight may be taken over at once."""
        if self._thread is None or self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        _working.discard((self._place, self.number))
        with suppress(Exception):  # the log may be closed or gone; then the process's end tells it
            self.log.leave(self.number)
            self.list_living(anew=True)
            self.forget_dead()
        self._looked = (-1, 0.0)

    def renew_expired(self) -> None:
        """Beats at once if the lease has run out, since this driver was stopped or its machine slept. The others take it for
        dead, and whatever it began before its next beat would be given out again at once."""
        if self._thread is not None and self._has_expired():
            with self._lock:
                if self._has_expired():  # the thread may have beaten meanwhile
                    self._beat_again()

    def note_seen(self) -> None:
        """Between two proposals: none that has read less than the present events is still to come."""
        self._seen = len(self.history)

    def list_living(self, anew: bool = False) -> dict[int, Driver]:
        """The other drivers that live, by number. Unless it is to be `anew`, their rows are read at most once a second, except in
        the second after another run has begun: its driver is about to write its own."""
        runs, now = self.history.runs, time.monotonic()
        if not self.log.shared or runs < 2:
            return {}
        if runs != self._looked[0]:
            self._grown = now
        if anew or now - self._grown < LOOK or now - self._looked[1] >= LOOK:
            asked = time.monotonic()
            rows = [(row, age) for row, age in self.log.drivers() if row.number != self.number]
            self._living = {row.number: row for row, age in rows if self._is_alive(row, age, asked)}
            self._dead = [row for row, _ in rows if row.number not in self._living]
            self._looked = (runs, now)
        return self._living

    def orphans(self, joining: bool = False) -> list[Orphan]:
        """What is in flight with a driver that does not live; while `joining` a study, also what was asked for by hand."""
        known, holders = {*self._known_holders(), *([] if joining else [None])}, self.history.attempts.holders
        pending = self.history.pending.items()
        return [Orphan(job, self.history.attempt(key)) for key, job in pending if holders.get(key) not in known]

    def forget_dead(self) -> None:
        """Deletes the rows of drivers that were dead at the last look, unless they have come back since. Whoever comes back later
        writes its row again with its next beat."""
        for row in self._dead:
            with suppress(Exception):  # it does no harm
                self.log.leave(row.number, row.beats)
        self._dead = []

    def has_others_work(self) -> bool:
        """Whether another driver that lives has something in flight."""
        known = self._known_holders() - {self.number}
        return any(self.history.attempts.holders.get(key) in known for key in self.history.pending)

    def _known_holders(self) -> set[int | None]:
        """This driver and the others that live. A driver has its row before its first job, so where a job has an unknown holder
        the rows are read anew."""
        holders = {self.history.attempts.holders.get(key) for key in self.history.pending}
        anew = not holders <= {self.number, None, *self.list_living()}
        return {self.number, *self.list_living(anew)}

    def read_by_all(self) -> int:
        """How many events every living driver's next proposal will have read."""
        return min([len(self.history), *(driver.seen for driver in self.list_living().values())])

    def _is_alive(self, row: Driver, age: float | None, asked: float) -> bool:
        """Whether a row is a living driver's. Its silence counts from when a new beat was here to when the row was `asked` for:
        this process may be stopped at any time, and what it has read is old when it goes on."""
        if row.process == self._process:
            return (self._place, row.number) in _working
        if is_gone(row.process):
            return False
        beats, since = self._heard.get(row.number, (None, 0.0))
        if beats != row.beats:
            since = time.monotonic()
            self._heard[row.number] = row.beats, since
        return (asked - since if age is None else age) <= row.lease

    def _has_expired(self) -> bool:
        """By a clock that goes on while the machine sleeps; where it is set, there is a beat too many."""
        return abs(time.time() - self._beaten) > self._lease

    def _beat(self) -> None:
        begun = time.time()
        self.log.beat(Driver(self.number, self._process, self._beats, self._seen, self._lease))
        self._beaten = begun

    def _beat_again(self) -> None:
        self._beats += 1
        with suppress(Exception):  # what ails the log is told where events are appended
            self._beat()

    def _renew(self) -> None:
        while not self._ended.wait(self._lease / BEATS):
            with self._lock:
                self._beat_again()
