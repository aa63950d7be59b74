"""An Optuna study's trials as a History, so that a sampler of ours reads them as it reads its own.

    RUNNING     a pending job, as far as its values are known
    COMPLETE    a result at the horizon, infinite values included
    PRUNED      a result at the step that it reached: its last intermediate value. The horizon is then the last step of all
    FAIL        a failure

A trial without a value for some parameter, or with one outside of its present range, is left out. What a proposal recorded
travels with its trial in the system attribute ATTRIBUTE, so that another process, or the same one later, reads the same.
Starts and finishes are in the order of their times. A history is kept while the study goes on, and only new events are added.
It is read anew where the horizon grows, and where a trial that was pending until the horizon has been pruned before it.
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
        if not any(trial.state == TrialState.PRUNED and trial.intermediate_values for trial in trials):
            return cls()
        first = 0 if any(0 in trial.intermediate_values for trial in trials) else 1
        last = max(step for trial in trials if (step := trial.last_step) is not None)
        return cls(first, max(last + 1 - first, 1))

    def find_until(self, trial: FrozenTrial) -> int:
        """Where a trial's result stands, or will stand: at the horizon, or where it was pruned."""
        if trial.state == TrialState.PRUNED and trial.last_step is not None:
            return min(max(trial.last_step + 1 - self.first, 1), self.horizon)
        return self.horizon


@dataclass
class Replica:
    """A sampler's history of a study over one space."""

    sampler: hpo.Sampler
    distributions: Mapping[str, BaseDistribution]
    objectives: Mapping[str, str]
    budgets: Budgets
    started: dict[int, Job] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.history = History(self.sampler.header(self.objectives, horizon=self.budgets.horizon))
        self.by = self.digest(self.sampler)

    @staticmethod
    def digest(sampler: hpo.Sampler) -> str:
        """A short text for a sampler, its options and its space: what another one recorded is not read."""
        return sha256(canonical([sampler.describe(), sampler.space.describe()]).encode()).hexdigest()[:16]

    def is_contradicted(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a trial has been pruned elsewhere than where its job was to end."""
        return any(
            trial.state == TrialState.PRUNED and trial.number in self.started
            and self.started[trial.number].until != self.budgets.find_until(trial)
            for trial in trials
        )  # fmt: skip

    def read(self, trials: Sequence[FrozenTrial], current: int) -> None:
        """Adds what has happened since the last time to other trials than the current one."""
        new: list[tuple[datetime, int, int, FrozenTrial]] = []
        for trial in trials:
            if trial.number == current or trial.number in self.finished or trial.state == TrialState.WAITING:
                continue
            begun = trial.datetime_start or datetime.min
            if trial.number not in self.started:
                new.append((begun, trial.number, 0, trial))
            if trial.state in FINISHED:
                new.append((trial.datetime_complete or begun, trial.number, 1, trial))
        for _, number, ends, trial in sorted(new, key=lambda entry: entry[:3]):
            if not ends:
                self._start(trial)
            else:
                self.finished.add(number)
                if number in self.started:
                    self.history.finish(self.started[number], read_outcome(trial, self.objectives))

    def _start(self, trial: FrozenTrial) -> None:
        noted: Mapping[str, Any] = trial.system_attrs.get(ATTRIBUTE) or {}
        config = read_params({**trial.params, **self._proposed(trial, noted)}, self.distributions, self.sampler.space)
        if config is None:
            return
        note = Note(**noted["note"]) if noted.get("by") == self.by else Note()
        until = self.budgets.find_until(trial)
        job = Job(trial.number, config, until, seed=training_seed(self.sampler.seed, trial.number), note=note)
        self.history.start(job, len(self.history))
        self.started[trial.number] = job

    def _proposed(self, trial: FrozenTrial, noted: Mapping[str, Any]) -> dict[str, Any]:
        """Values that were proposed for a running trial and have not been asked for yet."""
        if trial.state != TrialState.RUNNING:
            return {}
        proposed: Mapping[str, Any] = noted.get("internal", {})
        known = {name: found for name, found in self.distributions.items() if name in proposed and name not in trial.params}
        return {name: found.to_external_repr(proposed[name]) for name, found in known.items()}


def read_outcome(trial: FrozenTrial, objectives: Mapping[str, str]) -> Result:
    """The result of a finished trial."""
    values = trial.values
    if trial.state == TrialState.PRUNED and trial.last_step is not None and len(objectives) == 1:
        values = [trial.intermediate_values[trial.last_step]]
    curve = tuple(sorted(trial.intermediate_values.items()))
    if trial.state == TrialState.FAIL or values is None:
        reason = trial.system_attrs.get("fail_reason")
        return Result(error=str(reason) if reason else f"the trial is {trial.state.name}", curve=curve)
    metrics = dict(zip(objectives, values, strict=True))
    excess = trial.system_attrs.get(CONSTRAINTS) or ()
    return Result({**metrics, **{f"constraint{i}": value for i, value in enumerate(excess)}}, curve)


def record_proposal(study: Study, trial: FrozenTrial, replica: Replica, params: Mapping[str, Any], note: Note) -> None:
    """Keeps with the trial what was proposed and recorded."""
    internal = {name: float(found.to_internal_repr(params[name])) for name, found in replica.distributions.items()}
    body: Any = {"by": replica.by, "note": note.to_json(), "internal": internal}
    study._storage.set_trial_system_attr(trial._trial_id, ATTRIBUTE, body)
