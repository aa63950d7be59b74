"""What a log is: a header and a sequence of events, durable when `append` returns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Collision(Exception):
    """Another driver has appended an event with the same identity; read on and propose again."""


class LogError(ValueError):
    """What stands there is no log, a later one, or a damaged one; the sentence names the place and the event."""


@dataclass(frozen=True)
class Event:
    """One line of a log. `time` is wall-clock (seconds since the epoch) and is read by people, never by a proposal."""

    kind: str
    body: Mapping[str, Any]
    time: float

    @property
    def identity(self) -> str | None:
        """Two events with the same identity collide; None collides with nothing.

        A start is (trial, until, attempt): a lost job is started again under the next attempt. An addition is the
        start and the finish of its key at once, so it shares the identity of a first start.
        """
        if self.kind in ("start", "add"):
            job = self.body["job"]
            return f"start {job['trial']} {job['until']} {self.body.get('attempt', 0)}"
        if self.kind == "finish":
            return f"finish {self.body['trial']} {self.body['until']}"
        if self.kind == "lost":
            return f"lost {self.body['trial']} {self.body['until']} {self.body['attempt']}"
        return None

    def canonical(self) -> str:
        """What the event says, without when it was said: the text under digests and comparisons."""
        return canonical([self.kind, self.body])


def stored(value: Any) -> str:
    """JSON as it stands in a log: exact floats, names in their order; NaN and the infinities as Python writes them."""
    return json.dumps(value, separators=(",", ":"))


def canonical(value: Any) -> str:
    """JSON with sorted names: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Log(Protocol):
    """An append-only sequence of events under one header.

    Events have two unique keys: their position (dense, from 0, given while the event is inserted) and their identity.
    Callers see only the second: whoever loses a position takes the next one inside `append`.
    """

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """Writes the header if the log is new; returns the header that stands in the log. A log that holds less than it
        should, and still can be read, says so in a warning; else LogError."""
        ...

    def append(self, event: Event) -> None:
        """Makes the event durable, or raises and changes nothing: Collision where its identity stands already, ValueError
        where no reader would take it or the log is closed, OSError where it cannot be written."""
        ...

    def read(self, after: int) -> Sequence[Event]:
        """Every event behind the first `after` ones, in order. LogError names the first one that is not as it was written."""
        ...

    def close(self) -> None:
        """Gives back what is held; appending afterwards is an error."""
        ...
