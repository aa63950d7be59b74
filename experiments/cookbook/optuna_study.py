"""Optuna's own study with our Gaussian process as its sampler and our median rule as its pruner, 50 trials (guide A, 9 and 11).

Nothing but the two arguments of `create_study` is ours: the objective reports and asks `should_prune`, as Optuna has it. Beside
the default, and random search of as many steps in all, trained to the end.
"""

from __future__ import annotations

from typing import Any

import optuna

from experiments.cookbook.gpt import default_loss, search_randomly, train_by_rungs
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import suggest_shape, suggest_training
from hpo.integrations.optuna import Pruner, Sampler

RUNGS = (100, 500, 2000)
END = RUNGS[-1]


def optuna_study(scale: Reduction) -> Outcome:
    def objective(trial: Any) -> float:
        return train_by_rungs({**suggest_shape(trial), **suggest_training(trial)}, scale, RUNGS, trial)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = Pruner("median", rungs=RUNGS, max_resource=END)
    study = optuna.create_study(sampler=Sampler("gp", seed=scale.seed), pruner=pruner)
    study.optimize(objective, n_trials=scale.count_trials(50))
    whole = max(sum(trial.last_step or 0 for trial in study.trials) // END, 1)
    beside = {"default": default_loss(scale, END), "random": search_randomly(scale, END, whole)}
    ended = len([trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE])
    facts = {"trials to the end": ended, "as many steps as": f"{whole} whole trainings"}
    return Outcome("loss", study.best_value, beside, facts={**facts, "best": format_config(study.best_params)})
