"""Pruner: our early-stopping rules as one of Optuna's pruners."""

from __future__ import annotations

from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

import hpo
from hpo.history import History
from hpo.integrations.optuna.replica import name_objectives
from hpo.job import Result
from hpo.optimizers import OPTIMIZERS
from hpo.optimizers.early_stopping import EarlyStopping
from hpo.values import whole

JUDGED = "hpo:rung"  # a trial's last rung, and whether it went on from there
LONGEST = 2**31  # steps, of a study that does not say how long its trials are


class Pruner(BasePruner):
    """A rule by which a trial that reaches a rung goes on or is pruned.

    rule           "asha_stopping", "median", "percentile" or "patience"
    max_resource   the last step of a whole trial, where nobody is judged
    options        of the rule: min_resource and reduction_factor, rungs, percentile, patience, min_delta, ...

    A trial is judged once at each rung, by the first value that it has reported there or beyond, beside all others that have
    come as far; the verdict stands in its system attributes. Steps count from 1, as epochs do; a step 0 is below every rung.

        import optuna
        from hpo.integrations.optuna import Pruner, Sampler
        study = optuna.create_study(sampler=Sampler("gp", seed=0), pruner=Pruner("asha_stopping", max_resource=27))
    """

    def __init__(self, rule: str = "asha_stopping", *, max_resource: int | None = None, **options: Any) -> None:
        rules = [name for name, cls in OPTIMIZERS.items() if issubclass(cls, EarlyStopping)]
        if rule not in rules:
            raise ValueError(f"rule is {rule!r}; allowed are {rules}")
        top = LONGEST if max_resource is None else whole("max_resource", max_resource)
        made = hpo.make(rule, {"x": (0.0, 1.0)}, 0, max_resource=top, **options)
        assert isinstance(made, EarlyStopping)
        self.rule, self.scheduler = rule, made

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        steps = sorted(trial.intermediate_values)
        judged, goes_on = trial.system_attrs.get(JUDGED, (0, True))
        for rung in [rung for rung in self.scheduler._judged if steps and judged < rung <= steps[-1]] if goes_on else []:
            goes_on = self._is_promising(study, trial, rung)
            study._storage.set_trial_system_attr(trial._trial_id, JUDGED, [rung, goes_on])
            if not goes_on:
                break
        return not goes_on

    def _is_promising(self, study: Study, trial: FrozenTrial, rung: int) -> bool:
        """Whether a trial goes on from a rung that it has reached."""
        history = History(self.scheduler.header(name_objectives(study.directions), horizon=self.scheduler.horizon))
        for other in study._get_trials(deepcopy=False, use_cache=False):
            values = trial.intermediate_values if other.number == trial.number else other.intermediate_values
            at = min((step for step in values if step >= rung), default=None)
            if at is not None:
                curve = [(step, value) for step, value in sorted(values.items()) if 0 <= step <= at]
                whole = curve if other.number == trial.number else ()  # rules read no other's
                history.add(hpo.Job(other.number, {"x": 0.0}, rung), Result({"value": values[at]}, whole))
        members = sorted((history.losses(key), key) for key in history.at(rung))
        mine = trial.number, rung
        return not history.is_failure(mine) and self.scheduler.is_promising(history, mine, members)
