"""The history of a study: what was started, finished, lost and added, in order, under one header.

Everything an optimizer may know is here, and nothing else: the same events give the same History on any machine. Reads
are sorted by key, so that the order in which results arrived between two starts changes nothing.

The cost of an event is constant or logarithmic in the length of the study: whatever is read at every job is an index that
is updated with the events. State that depends on their order beyond that is folded (see fold.py).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo.attempts import Attempts
from hpo.clock import Clock
from hpo.fold import Fold, S
from hpo.job import Header, Job, Key, Result, differences, join_differences
from hpo.limits import check_phase, is_lifted
from hpo.logs import Collision, Event, Log, MemoryLog
from hpo.logs.base import canonical, encode_json
from hpo.pareto import pareto_order
from hpo.ranking import Ranking
from hpo.upgrade import upgrade_event, upgrade_header
from hpo.values import quantity


class History:
    """Events and their indexes. `start`, `finish`, `lose`, `add` and `enqueue` append to the log before memory changes."""

    def __init__(self, header: Header, log: Log | None = None) -> None:
        self.header = header
        self.log: Log = log if log is not None else MemoryLog()
        self.lock = threading.RLock()  # threads of one driver append, read and propose one at a time
        self.events: list[Event] = []
        self.jobs: dict[Key, Job] = {}  # every job ever started, by key
        self.results: dict[Key, Result] = {}  # every finished key
        self.pending: dict[Key, Job] = {}  # started, and neither finished nor in `retries`
        self.retries: dict[Key, Job] = {}  # lost jobs that the next ask gives out again, oldest first
        self.added: set[int] = set()  # trials whose results were added without an ask
        self.adopted: set[int] = set()  # trials whose weights came from another trial
        self.trials: dict[int, list[Key]] = {}  # keys of every trial, in order of starting
        self.sources: Counter[Key] = Counter()  # how many pending or lost jobs start from a key
        self.fresh = 0  # how many trials were asked for and started without a checkpoint
        self.next_trial = 0  # the number of the next fresh trial
        self.highest: dict[str, int] = {}  # by name, the highest whole number in the records of notes
        self.limited = False  # whether this run may start no more fresh trials
        self.refusal: str | None = None  # why nothing may be written; None if it may, as far as the log allows
        self.by_hand = False  # whether jobs are asked for by hand, outside of a run: then no limit applies
        self.phase = "search"  # in "finals" only the chosen trials go on, to the end
        self.last_limit: Mapping[str, Any] = {}  # why `limited` is set: rule, value, phase, detail; else empty
        self.driver: int | None = None  # of the run that works with this object; None while jobs are asked for by hand
        self.runs = 0  # how many have begun
        self.attempts = Attempts(header.lost_limit)
        self.clock = Clock()
        self._at: dict[int, list[Key]] = {}  # finished keys by budget, sorted
        self._budgets: list[int] = []  # budgets at which anything has finished, sorted
        self._finished: list[Key] = []  # finished keys, sorted
        self._losses: dict[Key, tuple[float, ...]] = {}
        self.successes = Ranking(self.losses, self.rank)
        self._epoch: dict[Key, int] = {}  # number of starts before a key's finish
        self._queue: dict[int, Mapping[str, Any]] = {}  # enqueued configurations by the position of their event
        self._steps: list[tuple[Job, tuple[Key, ...]]] = []  # every start, with the keys finished since the one before
        self._tail: list[Key] = []  # what has finished since the last start, sorted
        self._folds: dict[str, Fold[Any]] = {}
        self._digest = hashlib.blake2b(digest_size=16)
        self.memo: dict[Any, Any] = {}  # what readers computed from these events and may use again; never saved
        self._began = time.time() - time.monotonic()
        self._open()

    def _open(self) -> None:
        place, plain = repr(self.log.place), json.loads(encode_json(self.header.to_json()))
        found, mine = upgrade_header(self.log.open(plain), place), upgrade_header(plain, place)
        if mine["optimizer"].get("name") == "Finals" and {**mine, "optimizer": mine["optimizer"]["optimizer"]} == found:
            # finals were added to a study that began without them: the search is the same, and the header stays
            self.header, mine = replace(self.header, optimizer=found["optimizer"]), json.loads(encode_json(dict(found)))
        changed = differences(found, mine)
        if changed:
            where = f", in {self.log.place!r}" if self.log.place else ""
            raise ValueError(f"the log belongs to another study{where}: {join_differences(changed)}")
        self._digest.update(canonical(mine).encode())
        self.refresh()

    # -- writing ----------------------------------------------------------------------------------------------------

    def start(self, job: Job, seen: int) -> None:
        """Records that a job was given out after `seen` events were read. Raises Collision if another driver was first."""
        if not 1 <= job.until <= self.header.horizon:
            raise ValueError(f"job {job.key} has until={job.until}; allowed is 1 to the horizon {self.header.horizon}")
        body = {"job": job.to_json(), "seen": seen, "attempt": self.attempt(job.key)}
        self._append("start", body if self.driver is None else {**body, "driver": self.driver})

    def finish(self, job: Job, result: Result, attempt: int | None = None) -> bool:
        """Records a result of an attempt (by default the present one). False, and nothing changes, if the key has a result
        already: the first result stands, with the checkpoint of its attempt."""
        if job.key not in self.jobs:
            raise ValueError(f"job {job.key} was never started here; a result that was not asked is given with add()")
        if job.key in self.results:
            return False
        body = {"trial": job.trial, "until": job.until, "result": result.to_json()}
        attempt = self.attempt(job.key) if attempt is None else attempt
        try:
            self._append("finish", {**body, "attempt": attempt} if attempt else body)
        except Collision:
            self.refresh()
            return False
        return True

    def lose(self, job: Job, cause: str = "worker", message: str = "", attempt: int | None = None) -> bool:
        """Records that the machine lost a pending job. Only a worker's death counts towards the header's limit.

        message   how the job was lost; it becomes part of the error if the job is lost too often
        attempt   which attempt was lost: the number that `attempt` gave when the job was given out; by default the present one

        False, and the job stays as it is, if it is not pending, or if another driver has finished it or recorded the loss
        of this attempt: an attempt is lost only once, however many drivers ran it.
        """
        now = self.attempt(job.key)
        if job.key not in self.pending or attempt not in (None, now):
            return False
        body = {"trial": job.trial, "until": job.until, "attempt": now, "cause": cause}
        if message:
            body["message"] = message
        try:
            self._append("lost", body)
        except Collision:
            self.refresh()
            return False
        return self.attempt(job.key) > now

    def add(self, job: Job, result: Result) -> None:
        """Records a result that nobody asked for. Raises Collision if another driver took the trial's number."""
        self._append("add", {"job": job.to_json(), "result": result.to_json()})

    def enqueue(self, config: Mapping[str, Any]) -> None:
        """Pins a configuration: the next fresh trial takes it."""
        self._append("enqueue", {"config": dict(config)})

    def run(self, allowed: Mapping[str, Any] | None = None) -> int:
        """Records that a driver begins to work; `elapsed_seconds` counts from here. The event's position, which names the driver.

        allowed: this driver's limits by rule, {"trials": 50, "seconds": None, "when": the name of a predicate}; None is no
        limit. A limit that was reached before is lifted only if its rule now allows more, or names another predicate.
        """
        self.by_hand = False
        return self._append("run", dict(allowed or {}))

    def lift(self) -> None:
        """Records that jobs are asked for by hand: the limit of an earlier run does not apply to them."""
        self._append("run", {"trials": None, "seconds": None, self.last_limit.get("rule") or "trials": None})

    def refuse_readers(self) -> None:
        """Raises PermissionError in one sentence if the log is read-only."""
        refusal = self.refusal or self.log.refusal
        if refusal is not None:
            raise PermissionError(refusal)

    def limit(self, rule: str, value: Any, phase: str = "search", detail: Mapping[str, Any] | None = None) -> None:
        """Records that no new trial may start, and by which rule. Trials that have started may continue.

        phase: "finals" if the best trials are now trained to the end (see optimizers/finals.py).
        detail: whatever else the rule decided.
        """
        check_phase(phase)
        body = {"rule": rule, "value": value, "phase": phase}
        self._append("limit", body if detail is None else {**body, "detail": dict(detail)})

    def _append(self, kind: str, body: dict[str, Any]) -> int:
        self.refuse_readers()
        plain = json.loads(encode_json(body))  # memory holds exactly what a reader of the log will hold
        with self.lock:
            position = self.log.append(Event(kind, plain, self._began + time.monotonic()))  # setting a clock has no effect
            self.refresh()
        return position

    def refresh(self) -> None:
        """Reads the events of the log that are not in memory yet: own appends, and those of other drivers."""
        with self.lock:
            for event in self.log.read(len(self.events)):
                self._apply(upgrade_event(event))

    # -- applying ---------------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        body = event.body
        if event.kind in ("start", "add"):
            self._apply_start(Job.from_json(body["job"]), event.kind == "add", body.get("driver"))
        if event.kind in ("finish", "add"):
            key = (body["trial"], body["until"]) if event.kind == "finish" else Job.from_json(body["job"]).key
            self._apply_finish(key, Result.from_json(body["result"]), body.get("attempt", 0))
        elif event.kind == "lost":
            self._apply_lost((body["trial"], body["until"]), body.get("cause", "worker"), body.get("message"))
        elif event.kind == "run":
            self._apply_run(body)
        elif event.kind == "limit":
            self.limited, self.last_limit, self.phase = True, body, body.get("phase", "search")
        elif event.kind == "enqueue":
            self._queue[len(self.events)] = body["config"]
        self.clock.read(event, self.results[body["trial"], body["until"]] if event.kind == "finish" else None)
        self.events.append(event)
        self._digest.update(event.canonical().encode())

    def _apply_run(self, allowed: Mapping[str, Any]) -> None:
        self.runs += 1
        if self.limited and is_lifted(self.last_limit, allowed):
            self.limited, self.last_limit, self.phase = False, {}, "search"

    def _apply_start(self, job: Job, added: bool, driver: int | None) -> None:
        key = job.key
        if job.trial not in self.trials:
            self.trials[job.trial] = []
            self.fresh += job.source is None and not added
            self.next_trial = max(self.next_trial, job.trial + 1)
        if key not in self.jobs:
            self.trials[job.trial].append(key)
        self._wait_no_more(key)
        self.jobs[key] = job
        if key not in self.results:  # else another driver has finished it meanwhile
            self.pending[key] = job
            self.attempts.start(key, driver)
            if job.source is not None:
                self.sources[job.source] += 1
        if added:
            self.added.add(job.trial)
        if job.source is not None and job.source[0] != job.trial:
            self.adopted.add(job.trial)
        if "queued" in job.note.study:
            self._queue.pop(job.note.study["queued"], None)
        for name, value in job.note.record.items():
            if type(value) is int:
                self.highest[name] = max(value, self.highest.get(name, value))
        self._steps.append((job, tuple(self._tail)))
        self._tail = []

    def _wait_no_more(self, key: Key) -> Job | None:
        """Removes a job from the pending and the lost ones, and returns it; None if it was among neither."""
        job = self.pending.pop(key, None) or self.retries.pop(key, None)
        if job is not None and job.source is not None:
            self.sources[job.source] -= 1
            if not self.sources[job.source]:
                del self.sources[job.source]
        return job

    def _apply_finish(self, key: Key, result: Result, attempt: int) -> None:
        self._wait_no_more(key)
        if key in self.results:  # lost too often here, finished by another driver there: the first event stands
            return
        self.results[key] = result
        self.attempts.finish(key, attempt)
        self._losses[key] = self.header.losses(result)
        self._epoch[key] = len(self._steps)
        insort(self._finished, key)
        insort(self._tail, key)
        if key[1] not in self._at:
            insort(self._budgets, key[1])
        insort(self._at.setdefault(key[1], []), key)
        if not self.is_failure(key):
            self.successes.add(key)

    def _apply_lost(self, key: Key, cause: str, message: str | None) -> None:
        if key not in self.pending:  # finished meanwhile by another driver
            return
        deaths = self.attempts.lose(key, cause)
        if deaths is not None:
            said = f": {message}" if message else ""
            self._apply_finish(key, Result(error=f"lost {deaths} times{said}"), 0)
        else:
            self.retries[key] = self.pending.pop(key)  # its source is still needed

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def finished_keys(self) -> Sequence[Key]:
        """Every finished key, sorted."""
        return self._finished

    def at(self, until: int) -> Sequence[Key]:
        """Finished keys at one budget, sorted."""
        return self._at.get(until, [])

    @property
    def budgets(self) -> Sequence[int]:
        """Budgets at which anything has finished, lowest first."""
        return self._budgets

    @property
    def highest_budget(self) -> int | None:
        """The highest budget that has a success; None without one."""
        return self.successes.highest_budget

    def ranking(self, until: int) -> Iterator[Key]:
        """Successes at a budget, best first, as `rank` orders them. With several objectives only the first front, which
        saves sorting all of them."""
        return self.successes.order(until)

    def fold(self, owner: str, begin: Callable[[], S]) -> S:
        """The owner's present state: made by `begin`, updated by the events. Read it, do not change it.

        owner: a text for everything but the events that the state depends on, such as the description of an optimizer.
        """
        return self._fold(owner, begin).read(self, self._steps, self._tail)

    def fold_at_start(self, owner: str, begin: Callable[[], S]) -> S:
        """The owner's state at the last start; later results do not change it."""
        return self._fold(owner, begin).settle(self, self._steps)

    def _fold(self, owner: str, begin: Callable[[], S]) -> Fold[S]:
        if owner not in self._folds:
            self._folds[owner] = Fold(begin())
        return self._folds[owner]

    @property
    def queue_head(self) -> tuple[int, Mapping[str, Any]] | None:
        """The oldest pinned configuration that no trial has taken, with the position of its event."""
        return next(iter(self._queue.items()), None)

    def losses(self, key: Key) -> tuple[float, ...]:
        """Every objective of a finished key, with the sign for minimising; infinite for a failure."""
        return self._losses[key]

    def is_failure(self, key: Key) -> bool:
        """Whether a finished key's objectives are not all finite."""
        return any(loss == float("inf") for loss in self._losses[key])

    def rank(self, keys: Iterable[Key]) -> list[Key]:
        """Finished keys, best first: by loss, or by front and the header's order; failures last, ties by key."""
        ordered = sorted(keys)
        if len(self.header.objectives) == 1:
            return sorted(ordered, key=self._losses.__getitem__)  # the sort is stable, so ties stay in order of key
        return [ordered[i] for i in pareto_order([self._losses[key] for key in ordered], self.header.order)]

    def attempt(self, key: Key) -> int:
        """The number of a job's present or next attempt, which is how often it was lost."""
        return self.attempts.next_attempt(key)

    def is_own(self, key: Key) -> bool:
        """Whether a key's trial trained its weights itself, without a checkpoint of another trial."""
        return key[0] not in self.adopted

    def epoch(self, key: Key) -> int:
        """Number of starts before a key's finish. A rung that is judged once compares a key with those of earlier epochs."""
        return self._epoch[key]

    @property
    def starts(self) -> int:
        """Number of starts so far. A key whose epoch is this number has finished since the last start."""
        return len(self._steps)

    def elapsed_seconds(self) -> float:
        """Seconds that drivers have worked so far: from every `run` event to the last event before the next `run`."""
        return self.clock.elapsed

    @property
    def digest(self) -> str:
        """A hash of the header and every event. Caches over histories use it as their key."""
        return self._digest.hexdigest()

    def prefix(self, count: int) -> History:
        """The history as it was after its first `count` events."""
        log = MemoryLog()
        for event in self.events[:count]:
            log.append(event)
        return History(self.header, log)

    def __repr__(self) -> str:
        aims = ", ".join(f"{name} {direction}" for name, direction in self.header.objectives.items())
        pending = len(self.pending) + len(self.retries)
        events, results = quantity(len(self), "events"), quantity(len(self.results), "results")
        return f"History({events}: {results}, {pending} pending; {aims})"

    def __len__(self) -> int:
        return len(self.events)
