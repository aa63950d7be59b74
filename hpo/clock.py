"""The clock of a study: seconds added up from the times of its events, the same for every reader of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpo.job import Result
from hpo.logs import Event

LONGEST_GAP = 7 * 86_400.0  # seconds between two events of one run; a longer one is a clock that was set


@dataclass
class Clock:
    """Seconds counted from the events read so far. A run lasts from its `run` event to the last event before the next `run`.
    A clock that was set back counts as no time, and gaps are capped."""

    elapsed: float = 0.0  # in all runs together
    earlier: float = 0.0  # in which workers could train, in the runs before this one
    ran: float = 0.0  # in this run
    startup: float | None = None  # until the first worker of this run was ready; None until the first finish tells it
    last: float | None = None  # when the last event of a run was written

    @property
    def search_seconds(self) -> float:
        """Seconds in which workers could train: all runs without their start-up. A run in which nothing finished counts as 0."""
        return self.earlier + (0.0 if self.startup is None else max(0.0, self.ran - self.startup))

    def read(self, event: Event, result: Result | None = None) -> None:
        """Counts an event. result: of a finish, the result that the history keeps for its key."""
        if event.kind == "run":
            self.earlier, self.ran, self.startup = self.search_seconds, 0.0, None
        elif self.last is not None:
            gap = min(max(0.0, event.time - self.last), LONGEST_GAP)
            self.elapsed, self.ran = self.elapsed + gap, self.ran + gap
        if event.kind == "run" or self.last is not None:
            self.last = event.time
        if event.kind == "finish" and result is not None:
            ready = times_of(result).get("birth_seconds", 0.0)
            if self.startup is None or 0.0 < ready < self.startup:
                self.startup = ready


def times_of(result: Result) -> Mapping[str, float]:
    """What the framework measured of a job. Logs of the first versions hold it among the objective's metrics."""
    return result.metrics if not result.system and "birth_seconds" in result.metrics else result.system
