"""Whole studies from Optuna and to it, with equal values and states.

    COMPLETE    a result at the horizon
    PRUNED      a result at the step that was reached, below the horizon, which is the last step of all trials
    FAIL        a failure
    RUNNING, WAITING    left out on the way from Optuna; what is pending here is RUNNING there
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

import hpo
from hpo.history import History
from hpo.integrations.optuna.replica import Budgets, name_objectives, read_outcome
from hpo.integrations.optuna.searching import take_optimizer
from hpo.integrations.optuna.spaces import draw_value, extend_by, make_distribution, read_distributions, read_params
from hpo.integrations.optuna.trial import list_numbers
from hpo.job import Key
from hpo.logs import Log


def import_study(
    found: optuna.Study, optimizer: Any = "gp", *, seed: int = 0, log: str | Path | Log | None = None
) -> hpo.Study:
    """A study of ours with the finished trials of one of Optuna's; ask it for what comes next.

    optimizer    a name of hpo.OPTIMIZERS or a function of (space, seed), over all parameters that some trial has
    log          where the study is kept, a file that does not exist yet

    A parameter that a trial does not have gets a random value: its result does not hang on it. Of ranges that differ from trial
    to trial the space holds all. User attributes that are numbers are metrics. ValueError where no trial has a parameter.
    """
    trials = [trial for trial in found.get_trials(deepcopy=False) if trial.state.is_finished()]
    known: dict[str, BaseDistribution] = {}
    for trial in trials:
        known = extend_by(known, trial.distributions)
    if not known:
        raise ValueError(f"none of the {len(trials)} finished trials of {found.study_name!r} has a parameter")
    space, budgets = read_distributions(known), Budgets.of(trials)
    objectives, chosen = name_objectives(found.directions), take_optimizer(optimizer, space, seed)
    horizon = budgets.horizon if budgets.horizon > 1 else None  # nothing was pruned: that of the optimizer
    study = hpo.Study(chosen, objectives=objectives, horizon=horizon, log=log)
    if len(study.history):
        raise ValueError(f"the log {study.history.log.place!r} holds a study already; a study is imported into a new one")
    for trial in trials:
        params = {name: trial.params.get(name, draw_value(seed, trial.number, name, one)) for name, one in known.items()}
        config = read_params(params, known, space)
        assert config is not None
        until = None if horizon is None else budgets.find_until(trial)
        result = read_outcome(trial, objectives, budgets)
        study.optimizer.add(config, replace(result, metrics={**list_numbers(trial.user_attrs), **result.metrics}), until)
    return study


def export_study(study: hpo.Study, name: str | None = None, storage: Any = None) -> optuna.Study:
    """A study of Optuna's with all trials of one of ours: in memory, or in an Optuna storage (for its dashboard, say).

    Values on the way are intermediate values; metrics that are no objectives, and the seed, are user attributes.
    """
    objectives, history = study.header.objectives, study.history
    words = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
    made = optuna.create_study(directions=[words[one] for one in objectives.values()], study_name=name, storage=storage)
    for keys in history.trials.values():
        made.add_trial(_export_trial(study, keys))
    return made


def _export_trial(study: hpo.Study, keys: list[Key]) -> FrozenTrial:
    history, objectives, space = study.history, study.header.objectives, study.optimizer.space
    job, told = history.jobs[keys[-1]], [key for key in keys if key in history.results]
    result = history.results[told[-1]] if told else None
    state, values = TrialState.RUNNING, None
    if result is not None and told[-1] == keys[-1]:
        state = _state(history, told[-1])
        values = None if state == TrialState.FAIL else [result.metrics[name] for name in objectives]  # of a pruned one the last
    specs = {name: space.parameters[name] for name in job.config}
    first = next(iter(objectives))
    steps = {key[1]: history.results[key].metrics[first] for key in told if first in history.results[key].metrics}
    single = len(objectives) == 1
    steps |= {step: value for key in told for step, value in history.results[key].curve}  # what was reported counts
    attributes = {"seed": job.seed, **({} if result is None else _list_others(result.metrics, objectives))}
    return optuna.create_trial(
        state=state, values=values, params=dict(job.config), user_attrs=attributes,
        distributions={one: make_distribution(one, spec) for one, spec in specs.items()},
        intermediate_values=steps if single and study.header.horizon > 1 else None,
        system_attrs={} if result is None or result.error is None else {"fail_reason": result.error},
    )  # fmt: skip


def _state(history: History, key: Key) -> TrialState:
    if history.is_failure(key):
        return TrialState.FAIL
    return TrialState.COMPLETE if key[1] == history.header.horizon else TrialState.PRUNED


def _list_others(metrics: Mapping[str, float], objectives: Mapping[str, str]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in objectives}
