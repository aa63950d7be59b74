"""When a search turns to its finals: a pure function of the history, evaluated after a finish.

The verdict is an event (`History.limit` with rule, value and phase), and every driver of the study obeys the event. So a
study that is replayed, reopened or joined turns where it turned, whatever the clock says then.

Only seconds in which workers could train are counted: a run counts from the moment when its first worker was ready, and a run
in which nothing has finished counts as 0. The seconds of the finals are estimated from what a unit of budget has taken so far,
on this machine under its load.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hpo.clock import times_of
from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Optimizer
from hpo.optimizers.finals import FINALS, Finals, default_trial, finalists

STOP = "stop"  # the rule that a StopRule's verdict is recorded under: see stop_rules.py
ENDS = ("seconds", "when", STOP)  # rules that end a search; with a limit of trials, started ones may go on
SHARE = 1 / 3  # the largest share of the seconds for the finals; if they would take more, fewer trials take part


class Verdict(NamedTuple):
    """The arguments of `History.limit`."""

    rule: str
    value: Any
    phase: str
    detail: dict[str, Any]


@dataclass
class Costs:
    """How long trainings take on this machine under its load, by the events read so far: seconds for a unit of budget, and for
    a job."""

    read: int = 0  # how many events
    trained: float = 0.0  # seconds of all jobs except the first of each process
    units: float = 0.0  # of budget in these jobs
    cold: float = 0.0  # seconds, and below units, of the first jobs
    cold_units: float = 0.0
    prepared: float = 0.0  # seconds of building, loading and saving in all jobs together
    jobs: int = 0
    rates: dict[int, float] = field(default_factory=dict)  # seconds for a unit in every trial's last job
    bounds: dict[int, float] = field(default_factory=dict)  # the same in first jobs, which take longer than later ones

    @classmethod
    def of(cls, history: History) -> Costs:
        """The costs of a history up to its last event. They are kept in its memo, so that every event is read only once."""
        costs: Costs = history.memo.setdefault("stopping.costs", cls())
        for event in history.events[costs.read :]:
            if event.kind == "finish":
                costs._count(history, (event.body["trial"], event.body["until"]))
        costs.read = len(history.events)
        return costs

    def _count(self, history: History, key: Key) -> None:
        result = history.results[key]
        times = times_of(result)
        if "seconds" not in times:
            return
        units = max(1, key[1] - _begin(history, key))
        prepared = times.get("setup_seconds", 0.0) + times.get("save_seconds", 0.0)
        trained = max(0.0, times["seconds"] - prepared)
        self.prepared, self.jobs = self.prepared + prepared, self.jobs + 1
        if times.get("birth_seconds", 0.0) > 0.0:  # the first job of a process: it imports, compiles and fills caches
            self.cold, self.cold_units = self.cold + trained, self.cold_units + units
            self.bounds[key[0]] = trained / units
            return
        self.trained, self.units = self.trained + trained, self.units + units
        if result.error is None:
            self.rates[key[0]] = trained / units

    def job_seconds(self, trial: int, units: float) -> float:
        """Seconds of a job that trains a trial by so many units, at the trial's own rate or, if it has none, at that of all."""
        if not self.jobs:
            return 0.0
        usual = self.trained / self.units if self.units else self.cold / self.cold_units
        rate = self.rates.get(trial, min(usual, self.bounds.get(trial, usual)))
        return rate * units + self.prepared / self.jobs

    @property
    def mean_seconds(self) -> float:
        """Mean seconds of a job."""
        return (self.trained + self.cold + self.prepared) / self.jobs if self.jobs else 0.0


def _begin(history: History, key: Key) -> int:
    source = history.jobs[key].source
    return 0 if source is None else source[1]


def search_seconds(history: History) -> float:
    """Seconds of search so far, counted as the module says."""
    return history.clock.search_seconds


def is_ready(history: History) -> bool:
    """Whether a worker of this run has been ready, which is known once something has finished."""
    return history.clock.startup is not None


def makespan(first: Sequence[float], then: Iterable[float], workers: int) -> float:
    """Seconds that `workers` need for the jobs in `first`, in order, and for those in `then` afterwards, longest first."""
    free = [0.0] * workers
    for seconds in [*first, *sorted(then, reverse=True)]:
        free.sort()
        free[0] += seconds
    return max(free)


def finals_seconds(history: History, count: int) -> list[float]:
    """Seconds of each training in the finals: of the default, and of the best `count` trials."""
    costs, found = Costs.of(history), []
    for trial in finalists(history, count):
        last = history.trials[trial][-1]
        if last[1] < history.header.horizon and not (last in history.results and history.is_failure(last)):
            found.append(costs.job_seconds(trial, history.header.horizon - last[1]))
    if history.queue_head is not None and default_trial(history) is None:
        found.append(costs.job_seconds(-1, history.header.horizon))
    return found


@dataclass(frozen=True)
class Turn:
    """When the search is over, and the finals begin.

    seconds   for search and finals together, over all runs of the study; None: no limit
    trials    the most fresh trials; None: no limit
    workers   how many train at once
    """

    seconds: float | None
    trials: int | None
    workers: int

    def verdict(self, history: History, optimizer: Optimizer, dry: bool = False) -> Verdict | None:
        """The verdict to record now; None while the search goes on, and None again after it is over.

        dry: nothing is in flight, and the optimizer proposes no more
        """
        if search_end(history) is not None or not isinstance(optimizer, Finals):
            return None
        if self.seconds is not None and history.results:
            found = self._by_seconds(history, optimizer.keep)
            if found is not None:
                return found
        if dry and history.results:
            rule, value = ("trials", self.trials) if history.limited else ("dry", None)
            return Verdict(rule, value, FINALS, self._detail(history, optimizer.keep))
        return None

    def _by_seconds(self, history: History, most: int) -> Verdict | None:
        """Finals are timed to start after the jobs in flight, and after one more job that starts before the next verdict."""
        assert self.seconds is not None
        costs, now = Costs.of(history), search_seconds(history)
        keep = self.count_affordable(history, most)
        if self.is_hopeless(history):
            detail = self._detail(history, keep)
            return Verdict("seconds", self.seconds, "search", detail) if now >= self.seconds else None
        flying = [costs.job_seconds(job.trial, job.until - _begin(history, key)) for key, job in history.pending.items()]
        reserve = makespan([*flying, costs.mean_seconds], finals_seconds(history, keep), self.workers)
        if now + reserve < self.seconds:
            return None
        return Verdict("seconds", self.seconds, FINALS, self._detail(history, keep))

    def count_affordable(self, history: History, most: int) -> int:
        """How many trials besides the default fit into the finals' share of the seconds; at least one."""
        assert self.seconds is not None
        for count in range(most, 1, -1):
            if makespan([], finals_seconds(history, count), self.workers) <= SHARE * self.seconds:
                return count
        return 1

    def is_hopeless(self, history: History) -> bool:
        """Whether one training to the end would take as long as all the seconds; then there are no finals."""
        return self.seconds is not None and max(finals_seconds(history, 0), default=0.0) > self.seconds

    def _detail(self, history: History, keep: int) -> dict[str, Any]:
        reserve = makespan([], finals_seconds(history, keep), self.workers)
        return {"spent": round(search_seconds(history), 3), "reserve": round(reserve, 3), "keep": keep}


def search_end(history: History) -> dict[str, Any] | None:
    """Why the search is over, by the event that ended it: rule, value and phase; if a Turn decided, also the seconds `spent`
    and in `reserve`, and how many trials to `keep`. None while the search goes on."""
    limit = history.last_limit
    ended = limit.get("phase") == FINALS or limit.get("rule") in ENDS
    return {**limit.get("detail", {}), **limit} if history.limited and ended else None


def explain_stop(history: History) -> str:
    """Why no new trial starts, in a few words; empty while some may."""
    limit = history.last_limit
    rule, value = limit.get("rule"), limit.get("value")
    if not history.limited:
        return ""
    if rule == STOP:
        return str(limit["detail"]["reason"])
    known = {"trials": f"{value} trials were started", "seconds": f"{value} seconds are over", "when": f"{value} is true",
             "dry": "the search had nothing left to ask"}  # fmt: skip
    return known.get(str(rule), str(rule))


def obey(turn: Turn, history: History, optimizer: Optimizer, dry: bool = False) -> bool:
    """Records the rule's verdict, if there is one now, and returns whether there was. `run` calls this before its first job,
    after every finish, and when it is dry."""
    verdict = turn.verdict(history, optimizer, dry)
    if verdict is not None:
        history.limit(*verdict)
    return verdict is not None


def is_over(history: History) -> bool:
    """Whether the search ended without finals, so that no more jobs are asked for although the optimizer would go on."""
    found = search_end(history)
    return found is not None and found.get("phase") != FINALS
