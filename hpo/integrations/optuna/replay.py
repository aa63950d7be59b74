"""An Optuna study's trials as a History, so that a sampler of ours reads them as it reads its own.

    RUNNING     a pending job, as far as its values are known
    COMPLETE    a result at the horizon, infinite values included
    PRUNED      a result at the step that it reached: its last intermediate value. The largest such step is the horizon
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


def find_horizon(trials: Sequence[FrozenTrial]) -> int:
    """The largest step at which a trial was pruned; 1 where none was."""
    steps = [trial.last_step for trial in trials if trial.state == TrialState.PRUNED]
    return max((step for step in steps if step is not None), default=0) + 1


@dataclass
class Replay:
    """A sampler's history of a study over one space."""

    sampler: hpo.Sampler
    distributions: Mapping[str, BaseDistribution]
    objectives: Mapping[str, str]
    horizon: int
    started: dict[int, Job] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.history = History(self.sampler.header(self.objectives, horizon=self.horizon))
        self.by = self.digest(self.sampler)

    @staticmethod
    def digest(sampler: hpo.Sampler) -> str:
        """A short text for a sampler, its options and its space: what another one recorded is not read."""
        return sha256(canonical([sampler.describe(), sampler.space.describe()]).encode()).hexdigest()[:16]

    def contradicts(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a trial has been pruned elsewhere than where its job was to end."""
        return any(
            trial.state == TrialState.PRUNED and trial.number in self.started
            and self.started[trial.number].until != self._until(trial)
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
                    self.history.finish(self.started[number], self._result(trial))

    def _start(self, trial: FrozenTrial) -> None:
        noted: Mapping[str, Any] = trial.system_attrs.get(ATTRIBUTE) or {}
        config = read_params({**trial.params, **self._proposed(trial, noted)}, self.distributions, self.sampler.space)
        if config is None:
            return
        note = Note(**noted["note"]) if noted.get("by") == self.by else Note()
        until = self._until(trial)
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

    def _until(self, trial: FrozenTrial) -> int:
        """Where the trial's result will stand: at the horizon, or where it was pruned."""
        if trial.state == TrialState.PRUNED and trial.last_step is not None:
            return min(trial.last_step + 1, self.horizon)
        return self.horizon

    def _result(self, trial: FrozenTrial) -> Result:
        values = trial.values
        if trial.state == TrialState.PRUNED and trial.last_step is not None and len(self.objectives) == 1:
            values = [trial.intermediate_values[trial.last_step]]
        if trial.state == TrialState.FAIL or values is None:
            return Result(error=f"the trial is {trial.state.name}")
        metrics = dict(zip(self.objectives, values, strict=True))
        excess = trial.system_attrs.get(CONSTRAINTS) or ()
        return Result({**metrics, **{f"constraint{i}": value for i, value in enumerate(excess)}})


def record_proposal(study: Study, trial: FrozenTrial, replay: Replay, params: Mapping[str, Any], note: Note) -> None:
    """Keeps with the trial what was proposed and recorded."""
    internal = {name: float(found.to_internal_repr(params[name])) for name, found in replay.distributions.items()}
    body: Any = {"by": replay.by, "note": note.to_json(), "internal": internal}
    study._storage.set_trial_system_attr(trial._trial_id, ATTRIBUTE, body)
