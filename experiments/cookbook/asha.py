"""ASHA with min_resource 100, reduction factor 3, min_early_stopping_rate 0, 100 trials, written for Optuna (guide A, 10).

The rungs are 100, 300, 900 and the end, 2000 steps. A trial is paused within `report` and goes on from there when it is promoted.
Beside the default, and random search of as many steps in all, trained to the end.
"""

from __future__ import annotations

from typing import Any

import hpo
from experiments.cookbook.gpt import advance_training, count_spent_steps, default_loss, search_randomly, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import suggest_shape, suggest_training
from hpo.integrations.optuna import minimize

END = 2000


def asha(scale: Reduction) -> Outcome:
    def objective(trial: Any) -> float:
        run = start_training({**suggest_shape(trial), **suggest_training(trial)}, scale, END)
        for steps in range(100, END + 1, 100):
            loss = advance_training(run, scale, steps)
            trial.report(loss, steps)
        return loss

    def make(space: hpo.Space, seed: int) -> hpo.ASHA:
        sampler = hpo.Random(space, seed=seed)
        return hpo.ASHA(sampler, min_resource=100, max_resource=END, reduction_factor=3, min_early_stopping_rate=0)

    study = minimize(objective, make, scale.count_trials(100), seed=scale.seed)
    whole = max(count_spent_steps(study) // END, 1)
    beside = {"default": default_loss(scale, END), "random": search_randomly(scale, END, whole)}
    facts = {"trials to the end": len(study.successes()), "as many steps as": f"{whole} whole trainings"}
    return Outcome("loss", study.best.value, beside, facts={**facts, "best": format_config(study.best.config)})
