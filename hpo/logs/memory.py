"""A log in memory: the default, gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

from hpo.logs.base import Collision, Event, Log
from hpo.logs.checks import check_event, check_position


class MemoryLog(Log):
    """A list of events; an event's position is its index."""

    shared = False

    def __init__(self) -> None:
        self._header: Mapping[str, Any] | None = None
        self._events: list[Event] = []
        self._identities: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def from_url(cls, url: str, readonly: bool = False) -> Self:
        if url != "memory://":
            raise ValueError(f"the log {url!r} is in memory; allowed is 'memory://'")
        return cls()

    def header(self) -> Mapping[str, Any] | None:
        return self._header

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            if self._header is None:
                self._header = header
            return self._header

    def append(self, event: Event) -> int:
        check_event(event)
        with self._lock:
            if self._closed:
                raise ValueError("the log in memory is closed; nothing can be told to it any more")
            check_position(event, len(self._events))
            identity = event.identity
            if identity in self._identities:
                raise Collision(identity)
            if identity is not None:
                self._identities.add(identity)
            self._events.append(event)
            return len(self._events) - 1

    def read(self, after: int) -> Sequence[Event]:
        return self._events[after:]

    def close(self) -> None:
        self._closed = True
