"""What a log is: a header and a sequence of events, durable when `append` returns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

VERSION = 3  # of a log, the last one that this version of the framework knows


def later_version(place: str, version: Any) -> str:
    """The message that refuses a log of a later version of the framework."""
    return f"the log {place} is of the later version {version!r:.60}; this version of the framework reads up to {VERSION}"


class Collision(Exception):
    """Another driver has appended an event with the same identity; read on and propose again."""


class LogError(ValueError):
    """The place holds no log, one of a later version, or a damaged one; the message names the place and the event."""


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
        """The event without its time, as text: for digests and comparisons."""
        return canonical([self.kind, self.body])


@dataclass(frozen=True)
class Driver:
    """The row by which a driver says that it lives. Rows are no events: they are replaced, and no proposal reads them.

    number    the position of the driver's `run` event
    process   which process it is, on which machine (`hpo.leases.this_process`)
    beats     how often the row was renewed
    seen      how many events its proposals have read
    lease     seconds without a beat after which it counts as dead
    """

    number: int
    process: str
    beats: int
    seen: int
    lease: float


def encode_json(value: Any) -> str:
    """JSON as a log stores it: exact floats, names in their order; NaN and the infinities as Python writes them."""
    return json.dumps(value, separators=(",", ":"))


def canonical(value: Any) -> str:
    """JSON with sorted names: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Log(Protocol):
    """An append-only sequence of events under one header.

    Events have two unique keys: their position (dense, from 0, given while the event is inserted) and their identity.
    Callers see only the second: if a position is taken, `append` itself tries the next one. A log of one's own derives from
    this class, in one file, and gets a row in `hpo.logs.LOGS`.
    """

    shared: ClassVar[bool] = True  # whether other processes can open it by the same URL
    place: str = ""  # where it stands, as people are told; empty where it is gone with the process
    path: Path | None = None  # its file, if it is one file on this machine: checkpoints stand beside it
    refusal: str | None = None  # why nothing can be told to it; None where it takes events

    @classmethod
    def from_url(cls, url: str, readonly: bool = False) -> Self:
        """The log at a URL of its scheme (scheme://...). ValueError if it names none; `readonly` changes nothing there."""
        ...

    def header(self) -> Mapping[str, Any] | None:
        """The stored header; None where there is none yet. Nothing is written."""
        ...

    def open(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """Writes the header if the log is new; returns the log's header. A log that holds less than it
        should, and still can be read, says so in a warning; else LogError."""
        ...

    def append(self, event: Event) -> int:
        """Makes the event durable and returns its position, or raises and changes nothing: Collision where its identity stands
        already, ValueError where no reader would take it or the log is closed, OSError where it cannot be written."""
        ...

    def read(self, after: int) -> Sequence[Event]:
        """Every event after the first `after` ones, in order. LogError names the first damaged one."""
        ...

    def close(self) -> None:
        """Releases files and connections; appending afterwards is an error."""
        ...

    # A log that keeps no drivers leaves these three as they are: then whoever runs a study takes all that is pending.

    def beat(self, driver: Driver) -> None:
        """Writes or replaces the row of a driver."""
        return None

    def drivers(self) -> Sequence[tuple[Driver, float | None]]:
        """Every driver's row, with the seconds since its last beat by the log's own clock, None where it has none."""
        return ()

    def leave(self, number: int, beats: int | None = None) -> None:
        """Deletes the row of a driver, where there is one; with `beats` only if it has not been renewed since that one."""
        return None
