"""Median pruning at 100, 500 and 2000 steps, 30 trials of TPE, written for Optuna (guide A, 9).

The last rung is the end. What the guide's pruner says by `should_prune`, ours does within `report`, from which a trial that is
worse than the median does not come back. Beside the default, and random search of as many steps in all, trained to the end.
"""

from __future__ import annotations

from typing import Any

import hpo
from experiments.cookbook.gpt import count_spent_steps, default_loss, search_randomly, train_by_rungs
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import suggest_shape, suggest_training
from hpo.integrations.optuna import minimize

RUNGS = (100, 500, 2000)
END = RUNGS[-1]


def median_pruning(scale: Reduction) -> Outcome:
    def objective(trial: Any) -> float:
        return train_by_rungs({**suggest_shape(trial), **suggest_training(trial)}, scale, RUNGS, trial)

    def make(space: hpo.Space, seed: int) -> hpo.MedianStopping:
        return hpo.MedianStopping(hpo.TPE(space, seed=seed), rungs=RUNGS, max_resource=END)

    study = minimize(objective, make, scale.count_trials(30), seed=scale.seed)
    whole = max(count_spent_steps(study) // END, 1)
    beside = {"default": default_loss(scale, END), "random": search_randomly(scale, END, whole)}
    facts = {"trials to the end": len(study.successes()), "as many steps as": f"{whole} whole trainings"}
    return Outcome("loss", study.best.value, beside, facts={**facts, "best": format_config(study.best.config)})
