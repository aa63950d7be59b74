"""Every job of a study proposed again, from the events that its proposal had read: what a log can prove by itself."""

from __future__ import annotations

from collections.abc import Iterator

from hpo.history import History
from hpo.job import Job
from hpo.logs import MemoryLog
from hpo.optimizer import Optimizer


def replay_jobs(history: History, optimizer: Optimizer) -> Iterator[tuple[Job, Job | None]]:
    """Every started job with what the optimizer proposes in its place, in the order in which proposals had read events.

    One pass over a history that grows, so a long study costs as much as its own asks. Drivers may have been several.
    """
    log = MemoryLog()
    prefix = History(history.header, log)
    starts = [event.body for event in history.events if event.kind == "start"]
    for body in sorted(starts, key=lambda body: int(body["seen"])):
        for event in history.events[len(prefix) : body["seen"]]:
            log.append(event)
        prefix.refresh()
        yield Job.from_json(body["job"]), optimizer.decide(prefix)
