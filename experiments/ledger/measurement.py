"""What can be measured, and which lines were measured by the code as it is now."""

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
    """One thing to be measured, which leaves one line.

    key          names it, JSON values: {"task": "branin", "seed": 0}; stands in the line
    run          measures it: the other fields of its line, JSON values
    sources      the code that the line depends on, as digest.py reads it: "package.module:name", ...; () where nothing of
                 this repository decides what comes out, or nobody wants to measure again
    task_digest  names the definition of what it is measured on (a task, a table); None where there is none
    group        recheck measures one of a group again (for each of the older sources), and it speaks for the others
    """

    key: Mapping[str, Any]
    run: Callable[[], Mapping[str, Any]]
    sources: tuple[str, ...] = ()
    task_digest: str | None = None
    group: str = ""

    @property
    def name(self) -> str:
        """The key as a text: what measurements are compared by."""
        return name_of(self.key)

    @property
    def digest(self) -> str | None:
        """Names the code that the line depends on, as it is now; None without sources."""
        return digest(*self.sources) if self.sources else None

    def line(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The line to store of what was found."""
        stamps = {"task_digest": self.task_digest, "digest": self.digest}
        return {**self.key, **found, **{name: value for name, value in stamps.items() if value is not None}}

    def is_same_task(self, line: Mapping[str, Any]) -> bool:
        """Whether the line's task is defined as it was then, as far as can be said: where both digests are there."""
        then = line.get("task_digest")
        return then is None or self.task_digest in (None, then)

    def is_current(self, line: Mapping[str, Any]) -> bool:
        """Whether a line of this measurement would come out of the code as it is now. Without sources, of the task alone."""
        return self.is_same_task(line) and (not self.sources or line.get("digest") == self.digest)


def name_of(key: Mapping[str, Any]) -> str:
    """A key as a text, whatever the order of its fields."""
    return json.dumps(key, sort_keys=True)


def result(line: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured: a line without what the ledger adds, and without CIRCUMSTANCES."""
    return {name: value for name, value in line.items() if name not in (*STAMPS, *CIRCUMSTANCES)}
