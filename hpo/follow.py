"""Follower: a study that others drive, read as it grows, from any machine that reaches its log."""

from __future__ import annotations

from hpo.analysis.snapshot import Snapshot, snapshot
from hpo.analysis.workers import list_drivers
from hpo.job import Key
from hpo.leases import Heartbeats
from hpo.logs import LogError
from hpo.study import Study


class Follower:
    """Looks at a study again and again. Each look reads only the events that have come since the one before, and the rows of the
    drivers; nothing is written.

    study   as `hpo.load` gives it
    """

    def __init__(self, study: Study) -> None:
        self.study, self.history = study, study.history
        self.heartbeats = Heartbeats(self.history.log)

    def look(self) -> tuple[Snapshot, list[Key]]:
        """The study as it is now, and what has finished since the last look. LogError where its file is gone."""
        log, known = self.history.log, len(self.history.results)
        if log.path is not None and not log.path.exists():
            raise LogError(f"the log {log.place!r} is gone")
        self.history.refresh()
        fresh = list(self.history.results)[known:] if len(self.history.results) > known else []
        return snapshot(self.history, drivers=list_drivers(self.history, self.heartbeats)), fresh

    def is_finished(self, now: Snapshot) -> bool:
        """Whether nothing is left to see: no driver lives, and either a limit has ended the search or a run has ended with
        nothing in flight. What a killed driver has left in flight may still be taken over, unless the search is over."""
        if now.drivers is None or now.is_alive:
            return False
        at_rest = not now.total("running") and not now.total("waiting") and not now.lost
        return now.over or (at_rest and (now.limited or (self.history.runs > 0 and now.finished > 0)))
