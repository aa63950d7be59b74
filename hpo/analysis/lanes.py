"""Lanes of a timeline: which of a driver's jobs in flight a job was, so that bars in one lane never overlap."""

from __future__ import annotations

from heapq import heappop, heappush

from hpo.job import Key


class Lanes:
    """The lowest free lane of its driver for every job, at its start. With as many jobs in flight as workers, a lane is a worker.

    found   by key: (driver, lane) of its last attempt; the driver is None for a job that was asked for by hand
    """

    def __init__(self) -> None:
        self.found: dict[Key, tuple[int | None, int]] = {}
        self._free: dict[int | None, list[int]] = {}
        self._count: dict[int | None, int] = {}
        self._busy: set[Key] = set()

    def start(self, key: Key, driver: int | None) -> None:
        """A job begins; where it was in flight already, that attempt has ended."""
        self.free(key)
        waiting = self._free.setdefault(driver, [])
        lane = heappop(waiting) if waiting else self._count.get(driver, 0)
        self._count[driver] = max(self._count.get(driver, 0), lane + 1)
        self.found[key] = driver, lane
        self._busy.add(key)

    def free(self, key: Key) -> None:
        """A job has ended, or is lost."""
        if key in self._busy:
            self._busy.discard(key)
            driver, lane = self.found[key]
            heappush(self._free[driver], lane)
