"""A history as a wrapped sampler reads it: the same trials under other configurations.

The view is a History of its own, over translated events; it grows with the history that it is a view of, an event at a time,
and is kept beside it (`History.memo`). So it is a function of the events, and everything that samplers read (folds, pending,
ranks) is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hpo.history import History
from hpo.job import Header, Job, Note
from hpo.logs import Event, MemoryLog

# of a history and the first job of a trial: the configuration and the record that the sampler reads; None leaves the trial out
Translation = Callable[[History, Job], tuple[Mapping[str, Any], Mapping[str, Any]] | None]


class View:
    """The translated history, as far as it was read."""

    def __init__(self, header: Header, translate: Translation) -> None:
        self.log = MemoryLog()
        self.history = History(header, self.log)
        self.translate = translate
        self.read = 0  # events of the history
        self.count = 0  # events of the view
        self.known: dict[int, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}  # by trial, of those that are not left out

    def follow(self, history: History) -> History:
        """The view, with what has come since the last call."""
        for event in history.events[self.read :]:
            body = self._body(history, event)
            if body is not None:
                self.log.append(Event(event.kind, body, event.time))
                self.count += 1
        self.read = len(history.events)
        self.history.refresh()
        return self.history

    def _body(self, history: History, event: Event) -> Mapping[str, Any] | None:
        """What the view's event holds; None where it has none. Pinned configurations are the wrapper's business."""
        if event.kind in ("start", "add"):
            return self._start(history, event.body)
        if event.kind in ("finish", "lost"):
            return event.body if event.body["trial"] in self.known else None
        return None if event.kind == "enqueue" else event.body

    def _start(self, history: History, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        job = Job.from_json(body["job"])
        is_first = job.trial not in self.known
        if is_first:
            found = self.translate(history, job)
            if found is None:
                return None
            self.known[job.trial] = found
        config, record = self.known[job.trial]
        note = Note(job.note.study, job.note.member, record if is_first or job.source is None else {})
        job = replace(job, config=config, note=note)
        return {**body, "job": job.to_json(), **({"seen": self.count} if "seen" in body else {})}


def view_of(history: History, owner: str, begin: Callable[[], View]) -> History:
    """The owner's view of a history, up to date."""
    memo = history.memo
    if ("view", owner) not in memo:
        memo["view", owner] = begin()
    view: View = memo["view", owner]
    return view.follow(history)
