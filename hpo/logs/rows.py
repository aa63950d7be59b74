"""How a study's events stand in rows of a table, and how rows are proved. One piece for SQLite files and databases.

Every event has a position, dense from 0 and given in the transaction that inserts it, and a digest over the study, position,
identity, kind, time and body. The header has a digest, and beside it stands how many events there were at the last append,
with a digest of its own, the seal. So an event that was changed, moved, removed or inserted by hand is found, and missing
events at the end are counted. No digest depends on the event before it: drivers append without reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from hpo.logs.base import Event, LogError, encode_json
from hpo.logs.checks import check_event, check_position

SIZE = 16  # bytes of a digest
Row = tuple[int, str | None, str, str, float, bytes]  # position, identity, kind, body, time, digest


def digest_of(*parts: bytes | str | int, key: bytes = b"") -> bytes:
    """A digest over parts of which only the last one may hold a line's end."""
    texts = [part if type(part) is bytes else str(part).encode() for part in parts]
    return blake2b(b"\n".join(texts), digest_size=SIZE, key=key).digest()


def _bytes(text: Any) -> Any:
    """A text as it was encoded; what is no text, or none that UTF-8 has, stays as it is and fits no digest."""
    try:
        return text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        return text


class Rows:
    """The rows of one study. Text columns come as bytes or as text, as the database gives them."""

    def __init__(self, name: str) -> None:
        self.name = name  # of the log, in sentences
        self.key = b""  # of the digests of this study's events; known with its header

    def damage(self, what: str) -> LogError:
        return LogError(f"the log {self.name} is damaged: {what}")

    # -- the header --------------------------------------------------------------------------------------------------

    def begin(self, study: str, body: str) -> tuple[bytes, int, bytes]:
        """Digest, count and seal of a new header. study: random, so that no other log's events fit."""
        self.key = digest_of(study, body)
        return self.key, 0, self.seal(0)

    def header(self, row: Sequence[Any] | None) -> Mapping[str, Any]:
        """The header of a row (study, body, digest), proved."""
        if row is None:
            raise self.damage("its header is missing")
        study, body, digest = (_bytes(value) for value in row)
        if not isinstance(study, bytes) or not isinstance(body, bytes) or digest_of(study, body) != digest:
            raise self.damage("its header is not as it was written")
        self.key = digest
        return self.parse_mapping(body, "its header")

    def seal(self, count: int) -> bytes:
        return digest_of("count", count, key=self.key)

    def count(self, row: Sequence[Any] | None) -> int:
        """How many events there were at the last append, from a row (count, seal), proved."""
        count, seal = row if row is not None else (-1, None)
        if self.seal(count) != seal:
            raise self.damage("the number of events that is kept with its header is not as it was written")
        return int(count)

    def notes(self, count: int, found: int) -> list[str]:
        """What to say where so many events were counted and so many stand there. LogError where they cannot be counted."""
        if found > count:
            raise self.damage(f"event {count} was never counted")
        if found == count:
            return []
        missing = f"the last {count - found} are missing"
        return [f"the log {self.name} is cut: it held {count} events and holds the first {found}; {missing}"]

    # -- events ------------------------------------------------------------------------------------------------------

    def encode(self, position: int, event: Event) -> Row:
        """The row of an event at a position. ValueError where its proposal has seen more than stands before it."""
        check_position(event, position)
        identity, body, time = event.identity, encode_json(event.body), float(event.time) + 0.0  # not every server has -0.0
        return position, identity, event.kind, body, time, self.digest(position, identity, event.kind, body, time)

    def digest(self, position: int, identity: Any, kind: Any, body: Any, time: float) -> bytes:
        parts = (_bytes(identity or b""), _bytes(kind), repr(time), _bytes(body))
        return digest_of(position, *parts, key=self.key)

    def decode(self, rows: Iterable[Sequence[Any]], after: int) -> list[Event]:
        """The events of rows from position `after` on, in order, each proved."""
        found, position = [], after
        for at, identity, kind, body, time, digest in rows:
            if at != position:
                raise self.damage(f"event {position} is missing")
            identity, kind, body = _bytes(identity), _bytes(kind), _bytes(body)
            texts = type(kind) is bytes and type(body) is bytes and (identity is None or type(identity) is bytes)
            if not texts or self.digest(position, identity, kind, body, time) != digest:
                raise self.damage(f"event {position} is not as it was written")
            found.append(self.event(position, identity, kind, body, time))
            position += 1
        return found

    def parse_mapping(self, text: Any, what: str) -> Mapping[str, Any]:
        try:
            value = json.loads(text.decode() if isinstance(text, bytes) else text)  # json would look for the encoding
        except (ValueError, TypeError, RecursionError) as error:
            raise self.damage(f"{what} is no JSON ({error})") from None
        if not isinstance(value, dict):
            raise self.damage(f"{what} is {value!r:.60}, which is no mapping")
        return value

    def event(self, position: int, identity: Any, kind: Any, body: Any, time: Any) -> Event:
        """A row as an Event, its types checked, its digest not."""
        where = f"the log {self.name} cannot be read at event {position}"
        try:
            found = Event(kind.decode() if isinstance(kind, bytes) else kind, self.parse_mapping(body, f"event {position}"), time)
            check_event(found, where)
            said = identity.decode() if isinstance(identity, bytes) else identity
            if said != found.identity:
                raise ValueError(f"{where}: it is registered as {said!r:.60} and says {found.identity!r}")
            check_position(found, position, where)
        except UnicodeDecodeError as error:
            raise self.damage(f"event {position} is no text ({error})") from None
        except LogError:
            raise
        except ValueError as error:
            raise LogError(str(error)) from None
        return found
