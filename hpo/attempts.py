"""The attempts of jobs: which one is in flight, which driver has it, and whose checkpoint stands.

A lost job is started again under the next attempt. The file of a key is that of the attempt whose result was recorded, which
need not be the last one: a driver that was taken for dead may come back with its result before the next attempt has one.
"""

from __future__ import annotations

from hpo.job import Key


class Attempts:
    """What the starts, losses and finishes of a history say about attempts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # deaths of workers after which a job is an error
        self.holders: dict[Key, int | None] = {}  # the driver of every job in flight; None for one that was asked for by hand
        self._lost: dict[Key, int] = {}  # how often a key was lost
        self._deaths: dict[Key, int] = {}  # how often by a worker's death
        self._standing: dict[Key, int] = {}  # the attempt whose result stands, where it is not the first

    def start(self, key: Key, driver: int | None) -> None:
        self.holders[key] = driver

    def lose(self, key: Key, cause: str) -> int | None:
        """Counts a loss. How often workers have died over the job, where that is too often; else None."""
        self.holders.pop(key, None)
        self._lost[key] = self._lost.get(key, 0) + 1
        self._deaths[key] = self._deaths.get(key, 0) + (cause == "worker")
        return self._deaths[key] if self._deaths[key] >= self.limit else None

    def finish(self, key: Key, attempt: int) -> None:
        self.holders.pop(key, None)
        if attempt:
            self._standing[key] = attempt

    def next_attempt(self, key: Key) -> int:
        """The number of a job's present or next attempt."""
        return self._lost.get(key, 0)

    def accepted_attempt(self, key: Key) -> int:
        """The number of the attempt whose result and checkpoint stand, for a finished key."""
        return self._standing.get(key, 0)
