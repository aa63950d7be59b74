"""A log in memory: the default, gone with the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.logs.base import Collision, Event


class MemoryLog:
    """A list of events."""

    def __init__(self) -> None:
        self._header: Mapping[str, Any] | None = None
        self._events: list[Event] = []
        self._identities: set[str] = set()

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._header is None:
            self._header = header
        return self._header

    def append(self, event: Event) -> None:
        identity = event.identity
        if identity is not None:
            if identity in self._identities:
                raise Collision(identity)
            self._identities.add(identity)
        self._events.append(event)

    def read(self, after: int) -> Sequence[Event]:
        return self._events[after:]

    def close(self) -> None:
        pass
