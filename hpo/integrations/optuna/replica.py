"""An Optuna study's trials as a History, so that a sampler of ours reads them as it reads its own.

    RUNNING     a pending job, as far as its values are known: those that it has, those that it was enqueued with, and what was
                proposed for the others
    COMPLETE    a result at the horizon, infinite values included
    PRUNED      a result at the step that it reached: its last intermediate value. The horizon is then the last step of all
    FAIL        a failure

A trial without a value for some parameter, or with one outside of its present range, is left out. What a proposal recorded
travels with its trial in the system attribute ATTRIBUTE, so that another process, or the same one later, reads the same.
Starts and finishes are in the order of their times; a proposed trial has started when its proposal was recorded. A history is
kept while the study goes on, and only new events are added. It is read anew where they do not fit to it: where the horizon
grows, where a trial was pruned before the horizon or has ended with other values than it was pending with, and where something
has become known that happened before what was read. So it hangs on the study alone, not on who has read it when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

import hpo
from hpo.history import History
from hpo.integrations.optuna.spaces import read_params
from hpo.job import Job, Note, Result
from hpo.logs.base import canonical
from hpo.rng import training_seed

ATTRIBUTE = "hpo:job"
CONSTRAINTS = "constraints"  # where Optuna keeps the values of a trial's constraints
ENQUEUED = "fixed_params"  # and those values that a trial was enqueued with
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def name_objectives(directions: Sequence[StudyDirection]) -> dict[str, str]:
    """The objectives of a study: value, or value0, value1, ... of several."""
    names = ["value"] if len(directions) == 1 else [f"value{i}" for i in range(len(directions))]
    said = {StudyDirection.MAXIMIZE: "max"}
    return {name: said.get(direction, "min") for name, direction in zip(names, directions, strict=True)}


def count_constraints(trials: Sequence[FrozenTrial]) -> int:
    """How many constraints the trials have values of."""
    return max((len(trial.system_attrs.get(CONSTRAINTS) or ()) for trial in trials), default=0)


@dataclass(frozen=True)
class Budgets:
    """Where results of a study stand.

    first     the step at which its trials begin to count: 0 where any trial has reported a step 0, else 1
    horizon   where a whole trial ends: the last step of all, where a trial was pruned; else 1
    """

    first: int = 1
    horizon: int = 1

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> Budgets:
        """Those of a study's trials."""
        first = 0 if any(0 in trial.intermediate_values for trial in trials) else 1
        if not any(trial.state == TrialState.PRUNED and trial.intermediate_values for trial in trials):
            return cls(first)
        last = max(step for trial in trials if (step := trial.last_step) is not None)
        return cls(first, max(last + 1 - first, 1))

    def find_until(self, trial: FrozenTrial) -> int:
        """Where a trial's result stands, or will stand: at the horizon, or where it was pruned."""
        if trial.state == TrialState.PRUNED and trial.last_step is not None:
            return min(max(self.shift(trial.last_step), 1), self.horizon)
        return self.horizon

    def shift(self, step: int) -> int:
        """The budget that a step of a trial's is: both count from 1."""
        return step + 1 - self.first


Moment = tuple[datetime, int, int]  # when, of which trial, and 0 for its start or 1 for its end


@dataclass
class Replica:
    """A sampler's history of a study over one space."""

    sampler: hpo.Sampler
    distributions: Mapping[str, BaseDistribution]
    objectives: Mapping[str, str]
    budgets: Budgets
    bounds: int = 0  # how many constraints the sampler has
    started: dict[int, Job] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    last: Moment = (datetime.min, 0, 0)  # of what was read

    def __post_init__(self) -> None:
        self.history = History(self.sampler.header(self.objectives, horizon=self.budgets.horizon))
        described = canonical([self.sampler.describe(), self.sampler.space.describe()])
        self.by = sha256(described.encode()).hexdigest()[:16]  # what another sampler recorded is not read

    def read(self, trials: Sequence[FrozenTrial], current: int) -> bool:
        """Adds what has happened since the last time to other trials than the current one; False, and nothing is added, where
        it does not fit to what was read before."""
        new: list[tuple[Moment, FrozenTrial]] = []
        for trial in trials:
            if trial.number == current or trial.number in self.finished or trial.state == TrialState.WAITING:
                continue
            job = self._job(trial)
            if trial.number in self.started and job != self.started[trial.number]:
                return False
            if trial.number not in self.started and job is not None:
                new.append(((_begun(trial), trial.number, 0), trial))
            if trial.state in FINISHED:
                new.append(((trial.datetime_complete or _begun(trial), trial.number, 1), trial))
        new.sort(key=lambda entry: entry[0])
        if new and new[0][0] < self.last:
            return False
        for moment, trial in new:
            self._add(trial, bool(moment[2]))
            self.last = moment
        return True

    def _add(self, trial: FrozenTrial, ends: bool) -> None:
        if not ends:
            job = self._job(trial)
            assert job is not None
            self.history.start(job, len(self.history))
            self.started[trial.number] = job
            return
        self.finished.add(trial.number)
        if trial.number in self.started:
            self.history.finish(self.started[trial.number], read_outcome(trial, self.objectives, self.budgets))

    def _job(self, trial: FrozenTrial) -> Job | None:
        """What a trial is or was asked to do, as far as it is known; None without a value for some parameter."""
        noted: Mapping[str, Any] = trial.system_attrs.get(ATTRIBUTE) or {}
        expected = {} if trial.state in FINISHED else self._expected(trial, noted)
        config = read_params({**expected, **trial.params}, self.distributions, self.sampler.space)
        if config is None:
            return None
        note = Note(**noted["note"]) if noted.get("by") == self.by else Note()
        seed = training_seed(self.sampler.seed, trial.number)
        return Job(trial.number, config, self.budgets.find_until(trial), seed=seed, note=note)

    def _expected(self, trial: FrozenTrial, noted: Mapping[str, Any]) -> dict[str, Any]:
        """Values that a running trial has not asked for yet."""
        proposed: Mapping[str, Any] = noted.get("internal", {})
        known = {name: found.to_external_repr(proposed[name]) for name, found in self.distributions.items() if name in proposed}
        return {**known, **trial.system_attrs.get(ENQUEUED, {})}


def _begun(trial: FrozenTrial) -> datetime:
    """When a trial became known: when what was proposed for it was recorded, else when it began."""
    noted: Mapping[str, Any] = trial.system_attrs.get(ATTRIBUTE) or {}
    return datetime.fromisoformat(noted["at"]) if "at" in noted else trial.datetime_start or datetime.min


def read_outcome(trial: FrozenTrial, objectives: Mapping[str, str], budgets: Budgets) -> Result:
    """The result of a finished trial."""
    values = trial.values
    if trial.state == TrialState.PRUNED and trial.last_step is not None and len(objectives) == 1:
        values = [trial.intermediate_values[trial.last_step]]
    curve = tuple((budgets.shift(step), value) for step, value in sorted(trial.intermediate_values.items()))
    if trial.state == TrialState.FAIL or values is None:
        reason = trial.system_attrs.get("fail_reason")
        return Result(error=str(reason) if reason else f"the trial is {trial.state.name}", curve=curve)
    metrics = dict(zip(objectives, values, strict=True))
    excess = trial.system_attrs.get(CONSTRAINTS) or ()
    return Result({**metrics, **{f"constraint{i}": value for i, value in enumerate(excess)}}, curve)


def record_proposal(study: Study, trial: FrozenTrial, replica: Replica, params: Mapping[str, Any], note: Note) -> None:
    """Keeps with the trial what was proposed and recorded."""
    internal = {name: float(found.to_internal_repr(params[name])) for name, found in replica.distributions.items()}
    body: Any = {"by": replica.by, "note": note.to_json(), "internal": internal, "at": datetime.now().isoformat()}
    study._storage.set_trial_system_attr(trial._trial_id, ATTRIBUTE, body)
