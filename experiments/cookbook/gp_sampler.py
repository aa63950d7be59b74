"""A Gaussian process as the sampler, 50 trials, written for Optuna and run on our study (guide A, 11).

Beside the default, and random search of as many trials. optuna_study.py runs the same objective in a study of Optuna's.
"""

from __future__ import annotations

from typing import Any

from experiments.cookbook.gpt import advance_training, default_loss, search_randomly, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import suggest_shape, suggest_training
from hpo.integrations.optuna import minimize

END = 2000


def gp_sampler(scale: Reduction) -> Outcome:
    def objective(trial: Any) -> float:
        run = start_training({**suggest_shape(trial), **suggest_training(trial)}, scale, END)
        return advance_training(run, scale, END)

    trials = scale.count_trials(50)
    study = minimize(objective, "gp", trials, seed=scale.seed)
    beside = {"default": default_loss(scale, END), "random": search_randomly(scale, END, trials)}
    return Outcome("loss", study.best.value, beside, facts={"best": format_config(study.best.config)})
