"""The history of a study: what was started, finished, lost and added, in order, under one header.

Everything an optimizer may know is here, and nothing else: the same events give the same History on any machine. Reads
are sorted by key, so that the order in which results arrived between two starts changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo.job import Header, Job, Key, Result, differences
from hpo.logs import Collision, Event, Log, MemoryLog, SQLiteLog
from hpo.logs.base import canonical, stored
from hpo.pareto import pareto_order


class History:
    """Events and their indexes. `start`, `finish`, `lost`, `add` and `enqueue` append to the log before memory changes."""

    def __init__(self, header: Header, log: Log | None = None) -> None:
        self.header = header
        self.log: Log = log if log is not None else MemoryLog()
        self.events: list[Event] = []
        self.jobs: dict[Key, Job] = {}  # every job ever started, by key
        self.results: dict[Key, Result] = {}  # every finished key
        self.pending: dict[Key, Job] = {}  # started and neither finished nor waiting to be given out again
        self.retries: dict[Key, Job] = {}  # lost jobs that the next ask gives out again, oldest first
        self.added: set[int] = set()  # trials that were told without having been asked
        self.adopted: set[int] = set()  # trials whose weights came from another trial
        self.trials: dict[int, list[Key]] = {}  # keys of every trial, in order of starting
        self._at: dict[int, list[Key]] = {}  # finished keys by budget, sorted
        self._finished: list[Key] = []  # finished keys, sorted
        self._losses: dict[Key, tuple[float, ...]] = {}
        self._epoch: dict[Key, int] = {}  # number of starts before a key's finish
        self._lost: dict[Key, int] = {}
        self._queue: dict[int, Mapping[str, Any]] = {}  # enqueued configurations by the position of their event
        self.limited = False  # whether this run may start no more fresh trials
        self._starts = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self.memo: dict[Any, Any] = {}  # what readers computed from these events and may use again; never saved
        self._open()

    def _open(self) -> None:
        mine = json.loads(stored(self.header.to_json()))
        changed = differences(self.log.open(mine), mine)
        if changed:
            where = f", in {self.log.name}" if isinstance(self.log, SQLiteLog) else ""
            raise ValueError(f"the log belongs to another study{where}: {'; '.join(changed)}")
        self._digest.update(canonical(mine).encode())
        self.refresh()

    # -- writing ----------------------------------------------------------------------------------------------------

    def start(self, job: Job, seen: int) -> None:
        """Records that a job was given out after the proposal had read `seen` events. Raises Collision if it lost."""
        if not 1 <= job.until <= self.header.horizon:
            raise ValueError(f"job {job.key} has until={job.until}; allowed is 1 to the horizon {self.header.horizon}")
        attempt = self._lost.get(job.key, 0)
        self._append("start", {"job": job.to_json(), "seen": seen, "attempt": attempt})

    def finish(self, job: Job, result: Result) -> bool:
        """Records a result; False (and nothing changes) if the key was finished before: the first result stands."""
        if job.key not in self.jobs:
            raise ValueError(f"job {job.key} was never started here; a result that was not asked is given with add()")
        if job.key in self.results:
            return False
        try:
            self._append("finish", {"trial": job.trial, "until": job.until, "result": result.to_json()})
        except Collision:
            self.refresh()
            return False
        return True

    def lost(self, job: Job) -> bool:
        """Records that the machine lost a pending job; False if the job is not pending."""
        if job.key not in self.pending:
            return False
        body = {"trial": job.trial, "until": job.until, "attempt": self._lost.get(job.key, 0)}
        try:
            self._append("lost", body)
        except Collision:
            self.refresh()
        return True

    def add(self, job: Job, result: Result) -> None:
        """Records a result that was not asked. Raises Collision if another driver took the trial's number."""
        self._append("add", {"job": job.to_json(), "result": result.to_json()})

    def enqueue(self, config: Mapping[str, Any]) -> None:
        """Pins a configuration: the next fresh trial takes it."""
        self._append("enqueue", {"config": dict(config)})

    def run(self) -> None:
        """Records that a driver begins to work; what `elapsed` counts from. No proposal reads it."""
        self._append("run", {})

    def limit(self) -> None:
        """Records that no fresh trial may start until the next `run`: samplers are dry, what was started may go on."""
        self._append("limit", {})

    def _append(self, kind: str, body: dict[str, Any]) -> None:
        plain = json.loads(stored(body))  # memory holds exactly what a reader of the log will hold
        self.log.append(Event(kind, plain, time.time()))
        self.refresh()

    def refresh(self) -> None:
        """Reads what the log holds beyond this memory (own appends, and those of other drivers)."""
        for event in self.log.read(len(self.events)):
            self._apply(event)

    # -- applying ---------------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        body = event.body
        if event.kind in ("start", "add"):
            self._apply_start(Job.from_json(body["job"]), event.kind == "add")
        if event.kind in ("finish", "add"):
            key = (body["trial"], body["until"]) if event.kind == "finish" else Job.from_json(body["job"]).key
            self._apply_finish(key, Result.from_json(body["result"]))
        elif event.kind == "lost":
            self._apply_lost((body["trial"], body["until"]))
        elif event.kind in ("run", "limit"):
            self.limited = event.kind == "limit"
        elif event.kind == "enqueue":
            self._queue[len(self.events)] = body["config"]
        self.events.append(event)
        self._digest.update(event.canonical().encode())

    def _apply_start(self, job: Job, added: bool) -> None:
        key = job.key
        if key not in self.jobs:
            self.trials.setdefault(job.trial, []).append(key)
        self.jobs[key] = job
        self.retries.pop(key, None)
        if key not in self.results:  # else another driver has finished it meanwhile
            self.pending[key] = job
        if added:
            self.added.add(job.trial)
        if job.source is not None and job.source[0] != job.trial:
            self.adopted.add(job.trial)
        if "queued" in job.note:
            self._queue.pop(job.note["queued"], None)
        self._starts += 1

    def _apply_finish(self, key: Key, result: Result) -> None:
        self.pending.pop(key, None)
        self.retries.pop(key, None)
        if key in self.results:  # lost too often here, told by another driver there: the first stands
            return
        self.results[key] = result
        self._losses[key] = self.header.losses(result)
        self._epoch[key] = self._starts
        insort(self._finished, key)
        insort(self._at.setdefault(key[1], []), key)

    def _apply_lost(self, key: Key) -> None:
        if key not in self.pending:  # finished meanwhile by another driver
            return
        self._lost[key] = self._lost.get(key, 0) + 1
        if self._lost[key] >= self.header.lost_limit:
            self._apply_finish(key, Result(error=f"lost {self._lost[key]} times"))
        else:
            self.retries[key] = self.pending.pop(key)

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def next_trial(self) -> int:
        """The number of the next fresh trial."""
        return max(self.trials, default=-1) + 1

    @property
    def finished(self) -> Sequence[Key]:
        """Every finished key, sorted."""
        return self._finished

    def at(self, until: int) -> Sequence[Key]:
        """Finished keys at one budget, sorted."""
        return self._at.get(until, [])

    @property
    def budgets(self) -> list[int]:
        """Budgets at which anything has finished, lowest first."""
        return sorted(self._at)

    @property
    def queued(self) -> tuple[int, Mapping[str, Any]] | None:
        """The oldest pinned configuration that no trial has taken, with the position of its event."""
        return next(iter(self._queue.items()), None)

    def losses(self, key: Key) -> tuple[float, ...]:
        """Every objective of a finished key as something to minimise; infinite for a failure."""
        return self._losses[key]

    def failed(self, key: Key) -> bool:
        """Whether a finished key's objectives are not all finite."""
        return any(loss == float("inf") for loss in self._losses[key])

    def rank(self, keys: Iterable[Key]) -> list[Key]:
        """Finished keys, best first: by loss, or by Pareto front and crowding; failures last, ties by key."""
        ordered = sorted(keys)
        if len(self.header.objectives) == 1:
            return sorted(ordered, key=self._losses.__getitem__)  # the sort is stable, so ties stay in order of key
        return [ordered[i] for i in pareto_order([self._losses[key] for key in ordered])]

    def own(self, key: Key) -> bool:
        """Whether a trial's weights are its own: no checkpoint of another trial stands in its line."""
        return key[0] not in self.adopted

    def epoch(self, key: Key) -> int:
        """Number of starts before a key's finish: what a rung that is judged once compares against."""
        return self._epoch[key]

    @property
    def starts(self) -> int:
        """Number of starts so far: a key of this epoch has seen none since its finish."""
        return self._starts

    def elapsed(self) -> float:
        """Wall-clock seconds that drivers have worked so far: from every `run` event to the last event before the next."""
        total, begun, last = 0.0, None, 0.0
        for event in self.events:
            if event.kind == "run":
                total += last - begun if begun is not None else 0.0
                begun = event.time
            last = event.time
        return total + (last - begun if begun is not None else 0.0)

    @property
    def digest(self) -> str:
        """Names the header and every event; the key of any cache over histories."""
        return self._digest.hexdigest()

    def prefix(self, count: int) -> History:
        """The history as it was after its first `count` events."""
        log = MemoryLog()
        for event in self.events[:count]:
            log.append(event)
        return History(self.header, log)

    def __len__(self) -> int:
        return len(self.events)
