"""A measurement, and whether a line was measured by the code as it is now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.ledger.digest import digest

STAMPS = ("digest", "task_digest", "measured_by", "claims")  # fields of a line that the ledger itself writes
CIRCUMSTANCES = ("versions", "machine", "git")  # fields that say where and by what a line was made
UNKNOWN = "unknown"  # `measured_by` of a line from before digests were recorded


@dataclass(frozen=True, eq=False)
class Measurement:
    """Something to be measured; its result is one line.

    key          identifies it by JSON values, which are fields of the line: {"task": "branin", "seed": 0}
    run          measures it, and returns the other fields of its line, as JSON values
    sources      the code that the line depends on, as digest.py reads it: "package.module:name", ...; () if no code of this
                 repository affects the result, or if the line should never become older than the code
    task_digest  a digest of what it is measured on (a task, a table); None if there is none
    group        recheck measures one line of each group again (for each of the older sources), to judge all lines of the group
    """

    key: Mapping[str, Any]
    run: Callable[[], Mapping[str, Any]]
    sources: tuple[str, ...] = ()
    task_digest: str | None = None
    group: str = ""

    @property
    def name(self) -> str:
        """The key as a text, by which measurements are compared."""
        return name_of(self.key)

    @property
    def digest(self) -> str | None:
        """The digest of the code that the line depends on, as it is now; None without sources."""
        return digest(*self.sources) if self.sources else None

    def line(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The line to store for a result."""
        stamps = {"task_digest": self.task_digest, "digest": self.digest}
        return {**self.key, **found, **{name: value for name, value in stamps.items() if value is not None}}

    def is_same_task(self, line: Mapping[str, Any]) -> bool:
        """Whether the line's task is still defined as it was; true if one of the digests to compare is missing."""
        then = line.get("task_digest")
        return then is None or self.task_digest in (None, then)

    def is_current(self, line: Mapping[str, Any]) -> bool:
        """Whether the code that a line depends on, and its task, are what they were. Without sources, only the task counts."""
        return self.is_same_task(line) and (not self.sources or line.get("digest") == self.digest)


def name_of(key: Mapping[str, Any]) -> str:
    """A key as a text that does not depend on the order of its fields."""
    return json.dumps(key, sort_keys=True)


def result(line: Mapping[str, Any]) -> dict[str, Any]:
    """The measured fields of a line: all except STAMPS and CIRCUMSTANCES."""
    return {name: value for name, value in line.items() if name not in (*STAMPS, *CIRCUMSTANCES)}
