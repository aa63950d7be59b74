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

LONGEST = 2**31  # steps, of a study that does not say how long its trials are


class Pruner(BasePruner):
    """A rule by which a trial that reaches a rung goes on or is pruned.

    rule           "asha_stopping", "median", "percentile" or "patience"
    max_resource   the last step of a whole trial, where nobody is judged
    options        of the rule: min_resource and reduction_factor, rungs, percentile, patience, min_delta, ...

    A trial is judged once at each rung, by the first value that it reports there or beyond, beside all others that have come
    as far. Steps count from 1, as epochs do; a step 0 is below every rung.

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
        if not steps:
            return False
        before = steps[-2] if len(steps) > 1 else 0
        reached = [rung for rung in self.scheduler._judged if before < rung <= steps[-1]]
        return bool(reached) and not self._is_promising(study, trial, reached[-1])

    def _is_promising(self, study: Study, trial: FrozenTrial, rung: int) -> bool:
        """Whether a trial goes on from a rung that it has just reached."""
        history = History(self.scheduler.header(name_objectives(study.directions), horizon=self.scheduler.horizon))
        job = None
        for other in study._get_trials(deepcopy=False, use_cache=False):
            values = trial.intermediate_values if other.number == trial.number else other.intermediate_values
            at = min((step for step in values if step >= rung), default=None)
            if at is None:
                continue
            curve = tuple((max(step, 0), value) for step, value in sorted(values.items()) if step <= at)
            made = hpo.Job(other.number, {"x": 0.0}, rung)
            history.add(made, Result({"value": values[at]}, curve))
            job = made if other.number == trial.number else job
        assert job is not None
        members = sorted((history.losses(key), key) for key in history.at(rung))
        return not history.is_failure(job.key) and self.scheduler.is_promising(history, job.key, members)
