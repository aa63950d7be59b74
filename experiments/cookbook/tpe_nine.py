"""TPE over nine hyperparameters with the Trainer, 20 trials, written for Optuna with `trial.suggest_*` (guide A, 6).

A shape that cannot be built is a failed trial, as in Optuna. Beside the default, and random search of as many trials, which draws
only shapes that can be built.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, NINE, build_space, suggest_shape, suggest_training
from experiments.cookbook.trainer import train_and_evaluate
from hpo.integrations.optuna import minimize


def tpe_nine(scale: Reduction) -> Outcome:
    def objective(trial: Any) -> float:
        epochs = trial.suggest_int("epochs", 2, 5)
        return train_and_evaluate({**suggest_shape(trial), **suggest_training(trial), "epochs": epochs}, scale)

    trials = scale.count_trials(20)
    study = minimize(objective, "tpe", trials, seed=scale.seed)
    train, space = partial(train_and_evaluate, scale=scale), build_space(NINE, scale.seed)
    drawn = hpo.minimize(train, space, "random", trials, seed=scale.seed, quiet=True)
    beside = {"default": train(DEFAULT), "random": drawn.best.value}
    return Outcome("loss", study.best.value, beside, facts={"best": format_config(study.best.config)})
