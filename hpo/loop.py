"""The loop that every study goes through, on any executor, beside any number of other drivers; and when it ends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpo import arguments
from hpo.disk import DiskBudget
from hpo.executors import Executor, Lost
from hpo.executors.worker import name_objective
from hpo.failures import Failures
from hpo.files import Files
from hpo.frames import stack_level
from hpo.history import History
from hpo.job import Job, Key, Result
from hpo.leases import LOOK, Leases
from hpo.lineage import Lineage
from hpo.optimizer import Sampler
from hpo.registry import METHODS
from hpo.signals import obey_termination
from hpo.space import code_name
from hpo.stop_rules import StopRule, obey_rules
from hpo.stopping import STOP, Turn, is_over, obey
from hpo.study import Study
from hpo.values import duration, format_value
from hpo.watchers import Watchers

PAUSE = 0.2  # seconds between two looks at the log when there is nothing to do


@dataclass(frozen=True)
class Stop:
    """When to ask for no more jobs. Jobs in flight are waited for, except when the seconds are over.

    trials    the most fresh trials, added ones not counted; promotions and clones go on until nothing is left to do
    seconds   wall-clock time of this and earlier runs of the same log; jobs in flight at the end stay pending
    when      a predicate on the history; the search is over once it is true
    turn      when the search turns to its finals; it has its own trials and seconds, so these two must not be given beside it
    rules     of hpo/stop_rules.py; the search is over once one of them says so

    Whatever ends a search is an event (`History.limit`). A later run goes on only if its limit of the same kind allows more,
    or if it has another predicate.
    """

    trials: int | None = None
    seconds: float | None = None
    when: Callable[[History], bool] | None = None
    turn: Turn | None = None
    rules: Sequence[StopRule] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", arguments.count("trials", self.trials, 0))
        object.__setattr__(self, "seconds", duration("seconds", self.seconds))
        if self.when is not None and not callable(self.when):
            raise TypeError(f"when is {format_value(self.when)}; allowed are a function of the history and None")
        object.__setattr__(self, "rules", arguments.rules(self.rules))
        if self.turn is not None and (self.trials is not None or self.seconds is not None):
            raise ValueError("trials and seconds stand in the turn where there is one, and were given beside it")

    @cached_property
    def limits(self) -> dict[str, Any]:
        """The limit of every rule, None for no limit. The limit of a predicate is its name (`hpo.space.code_name`)."""
        limits = self if self.turn is None else self.turn
        rules = [rule.describe() for rule in self.rules] or None
        when = None if self.when is None else code_name(self.when)
        return {"trials": limits.trials, "seconds": limits.seconds, "when": when, STOP: rules}

    def is_full(self, history: History) -> bool:
        """Whether the limit of fresh trials is reached."""
        trials = self.limits["trials"]
        return trials is not None and history.fresh >= trials


class Loop:
    """One driver's work on a study, from the jobs that nobody runs to the last one that it may help with."""

    def __init__(
        self, study: Study, executor: Executor, stop: Stop, watchers: Watchers | None, failures: Failures, lease: float,
        disk: int | None = None,
    ) -> None:
        self.study, self.history, self.executor, self.stop = study, study.history, executor, stop
        self.watchers = watchers if watchers is not None else Watchers()
        self.waiting: list[Job] = []  # trained again for their checkpoints, and what waits for them
        self.running: dict[Key, Job] = {}
        self.attempts: dict[Key, int] = {}  # the attempt of every job that is running
        self.failures, self.lineage = failures, Lineage(study.history)
        self.end = time.monotonic() + stop.seconds - self.history.elapsed_seconds() if stop.seconds is not None else None
        driver = self.history.run(stop.limits)
        self.leases = Leases(self.history, driver, lease)
        self.history.driver = driver if self.history.log.shared else None
        self.budget = None if disk is None else DiskBudget(study, self.lineage, disk)
        self.files = Files(study, executor, self.leases, self.budget)

    def run(self) -> History:
        try:
            self._take_over(joining=True)
            self.watchers.begin(self.study)
            self._turn()
            obey_rules(self.stop.rules, self.history, self.study.optimizer)
            self.files.clear()  # an earlier driver may have been killed between a finish and its deletions
            while self._step():
                pass
            self.leases.close()  # first: of several that end together the last one to leave sees nobody, and clears up
            self.files.clear()
        finally:
            self.history.driver = None
            self.leases.close()
            self.watchers.end(self.study)
        return self.history

    def _step(self) -> bool:
        """Gives out what there is to do and waits for one outcome. False when nothing is left that this driver could do."""
        self._fill()
        left = None if self.end is None else max(0.0, self.end - time.monotonic())
        if not self.running:
            return left != 0.0 and self._wait_for_others()
        others = bool(self.leases.list_living())
        outcome = self.executor.wait(LOOK if others and (left is None or left > LOOK) else left)
        if outcome is not None:
            obey_termination()  # a job that caught SIGTERM stays pending: its result may be wrong
            self._record(*outcome)
            return True
        if self.end is not None and time.monotonic() >= self.end:
            if not is_over(self.history):  # else it was noted when no more was asked for
                self._limit("seconds")
            return False
        self._look()
        return True

    # -- other drivers -----------------------------------------------------------------------------------------------

    def _wait_for_others(self) -> bool:
        """Waits a moment while another driver has something in flight, since it may come to need help. False if none has, and
        where a rule has ended the search, so that no help is needed."""
        if is_over(self.history) or (not self.leases.has_others_work() and not self.leases.orphans()):
            return False
        time.sleep(PAUSE)
        self._look()
        return True

    def _look(self) -> None:
        """Reads what the others did, and takes over what the dead among them left."""
        self.history.refresh()
        self._take_over()
        self.files.clear_postponed()

    def _take_over(self, joining: bool = False) -> None:
        for job, attempt in self.leases.orphans(joining):  # of which another driver may take some over meanwhile
            if job.key not in self.running:
                self.history.lose(job, "driver", attempt=attempt)
        self.leases.forget_dead()

    # -- jobs --------------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Whether no more jobs are asked for, because a rule has ended the search before or ends it now."""
        if is_over(self.history):
            return True
        if self.end is not None and time.monotonic() >= self.end:
            self._limit("seconds")
        elif self.stop.when is not None and self.stop.when(self.history):
            self._limit("when")
        return is_over(self.history)

    def _limit(self, rule: str) -> None:
        self.history.limit(rule, self.stop.limits[rule])

    def _limit_trials(self, history: History) -> None:
        if not history.limited and self.stop.is_full(history):
            self._limit("trials")

    def _turn(self, dry: bool = False) -> bool:
        """Records the verdict of the rule that ends the search, if it has one now, before the next ask."""
        return self.stop.turn is not None and obey(self.stop.turn, self.history, self.study.optimizer, dry)

    def _fill(self) -> None:
        while self.executor.free > 0 and not self._is_over():
            job = self.waiting.pop(0) if self.waiting else self._ask()
            self.leases.note_seen()
            if job is None:
                self._warn_of_nothing()
                if self.running or not self._turn(dry=True):
                    return
                continue
            self._submit(job)

    def _ask(self) -> Job | None:
        self.leases.renew_expired()
        return self.study.optimizer.ask(self._limit_trials)

    def _submit(self, job: Job) -> None:
        """Has a job executed. Not so if it is at work here already: it was taken for lost while this driver was stopped, and has
        been given to it again. Nor if another driver has the job by now, or its result, since this one was stopped in between."""
        if job.key in self.running or not self._is_ours(job):
            return
        history, attempts = self.history, self.history.attempts
        again = job.key in history.results  # for its checkpoint, which stands under the attempt that was accepted
        self.running[job.key] = job
        self.attempts[job.key] = attempts.accepted_attempt(job.key) if again else history.attempt(job.key)
        source = {} if job.source is None else {job.source: attempts.accepted_attempt(job.source)}
        self.executor.submit(job, {**source, job.key: self.attempts[job.key]})
        self.watchers(self.study, None)

    def _is_ours(self, job: Job) -> bool:
        """Whether this driver has a job's present attempt, or trains it again for its checkpoint."""
        if job.key in self.history.results:
            return self.lineage.is_needed(job.key)
        return self.history.attempts.holders.get(job.key) == self.history.driver

    def _warn_of_nothing(self) -> None:
        """Warns if the search ended before its first trial, so that this does not pass for a success."""
        if not self.history.jobs and not self.history.limited:
            chooser = self.study.optimizer.chooser
            name = type(chooser).__name__
            method = METHODS["sample" if isinstance(chooser, Sampler) else "propose"]
            warnings.warn(f"nothing was tried: {name}.{method} returned None at once, which means that there is no configuration "
                          f"to try", stacklevel=stack_level())  # fmt: skip

    def _record(self, job: Job, outcome: Result | Lost) -> None:
        """Records the outcome of a job. If its source is missing, this is trained again first, without an event, and the job
        stays pending."""
        del self.running[job.key]
        attempt = self.attempts.pop(job.key)
        if isinstance(outcome, Lost):
            if outcome.cause != "source" and job.key in self.history.pending:
                how = outcome.message if outcome.cause == "worker" else ""  # the disk's name folders, which differ by run
                mine = self.history.attempts.holders.get(job.key) == self.history.driver  # perhaps by a later attempt
                if self.history.lose(job, outcome.cause, how, None if mine else attempt) and job.key in self.history.results:
                    self.watchers(self.study, job.key)  # lost too often, which is a failure
            self.failures.count_loss(job, outcome)
        settled = self.lineage.settle(job, outcome)
        if settled is not None:
            if isinstance(outcome, Result) and job.key in self.history.results:
                self._note_repair(job, outcome)
            first, failed = settled
            self.waiting[:0] = first
            for other, result in failed:
                self._finish(other, result)
        elif not isinstance(outcome, Lost):
            self._finish(job, outcome, attempt)
        if not isinstance(outcome, Lost):
            self.executor.drop_interim(job.key, attempt)

    def _note_repair(self, job: Job, result: Result) -> None:
        """A finished job was trained again: warns once if it has come to anything else."""
        if self.budget is not None:
            self.budget.note_repair(job.key)
        told = self.study.check_result(name_objective(result, self.study.objective))
        said = self.lineage.compare(job, told)
        if said is not None:
            warnings.warn(said, stacklevel=stack_level())

    def _finish(self, job: Job, result: Result, attempt: int | None = None) -> None:
        result = name_objective(result, self.study.objective)
        told = self.study.check_result(result)
        accepted = self.history.finish(job, told, attempt)
        if not accepted and attempt is not None:
            self.files.refuse(job.key, attempt)
        self.files.release()
        self._turn()
        obey_rules(self.stop.rules, self.history, self.study.optimizer)
        if accepted:
            self.watchers(self.study, job.key)
        self.failures.count_result(job, result, told)
