"""Tally: what is counted of a history at every look at it, each event read once.

So a display that is drawn twice a second costs no more in a long study than in a short one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.clock import Clock
from hpo.history import History
from hpo.job import Job, Key

WINDOW = 33  # fresh trials by which the present pace is judged
LATEST = 5  # results that a display shows


@dataclass
class Tally:
    """Counts of a history as far as it was read; see `of`."""

    read: int = 0  # events
    failed: Counter[int] = field(default_factory=Counter)  # by budget
    continued: Counter[int] = field(default_factory=Counter)  # successes, by budget, whose trial has gone on from there
    work: float = 0.0  # budget trained in all, as hpo.analysis.progress.total_work has it
    first: int = 0  # fresh trials that have a result
    paces: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds of search at the last of these
    latest: deque[Key] = field(default_factory=lambda: deque(maxlen=LATEST))  # what has finished last, the newest first
    allowed: dict[int, Mapping[str, Any]] = field(default_factory=dict)  # the limits of every run by its number
    clock: Clock = field(default_factory=Clock)
    _counted: set[Key] = field(default_factory=set)
    _gone_on: set[Key] = field(default_factory=set)

    @classmethod
    def of(cls, history: History) -> Tally:
        """That of a history, up to date; it is kept beside it. Whoever reads it in another thread holds the history's lock."""
        tally: Tally = history.memo.setdefault("tally", cls())
        for position in range(tally.read, len(history.events)):
            tally._read(history, position)
        tally.read = len(history.events)
        return tally

    def _read(self, history: History, position: int) -> None:
        event = history.events[position]
        body = event.body
        if event.kind == "run":
            self.allowed[position] = body
        elif event.kind == "start" and body["job"]["source"] is not None:
            source = (int(body["job"]["source"][0]), int(body["job"]["source"][1]))
            if source[0] == body["job"]["trial"] and source not in self._gone_on:
                self._gone_on.add(source)
                self.continued[source[1]] += 1
        key = None
        if event.kind in ("finish", "lost"):
            key = (body["trial"], body["until"])
        elif event.kind == "add":
            key = Job.from_json(body["job"]).key
        self.clock.read(event, history.results.get(key) if event.kind == "finish" and key is not None else None)
        if key is not None and key in history.results and key not in self._counted:
            self._count(history, key)

    def _count(self, history: History, key: Key) -> None:
        self._counted.add(key)
        self.latest.appendleft(key)
        self.failed[key[1]] += history.is_failure(key)
        source = history.jobs[key].source
        self.work += max(0.0, position_of(history, key) - position_of(history, source))
        if source is None and key[0] not in history.added:
            self.first += 1
            self.paces.append(self.clock.search_seconds)

    @property
    def pace(self) -> float:
        """First results of fresh trials a second, by the last few; 0 before there are two."""
        seconds = self.paces[-1] - self.paces[0] if self.paces else 0.0
        return (len(self.paces) - 1) / seconds if seconds > 0.0 else 0.0

    def limit(self, rule: str, runs: tuple[int, ...] = ()) -> Any:
        """The limit of a rule, "trials" or "seconds", by the runs that go on, else by the last one; None where there is none. Of
        several the loosest, since each driver obeys its own."""
        found: list[Any] = [self.allowed[run].get(rule) for run in runs if run in self.allowed]
        found = found or [body.get(rule) for body in list(self.allowed.values())[-1:]]
        return None if not found or None in found else max(found)


def position_of(history: History, key: Key | None) -> float:
    """How far a training was at a key: by the metric that has the unit's name, if there is one; else a success has trained to
    its budget, and a failure counts as 0."""
    if key is None or key not in history.results:
        return 0.0
    reached = 0.0 if history.is_failure(key) else float(key[1])
    return float(history.results[key].metrics.get(history.header.unit, reached))
