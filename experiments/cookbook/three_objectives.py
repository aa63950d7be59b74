"""Three objectives: loss, megabytes in float32 and inference time, 50 trials, written for Optuna as a tuple (guide A, 8).

The guide simulates the time; here it is measured, as the median of repeated passes. The Pareto front is printed with all three.
What is compared is the share that a front dominates of the box between the best and the worst value of each objective that any
trial has: beside the default, and random search of as many trials. Times differ from run to run, and the share with them.
"""

from __future__ import annotations

from math import prod
from typing import Any

from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, suggest_shape, suggest_training
from hpo.integrations.optuna import minimize
from models.inference import measure_inference, weight_bytes

STEPS = 500


def three_objectives(scale: Reduction) -> Outcome:
    def train(config: dict[str, Any]) -> tuple[float, float, float]:
        run = start_training(config, scale, STEPS)
        loss = advance_training(run, scale, STEPS)
        return loss, weight_bytes(run.model) / 1e6, 1e3 * measure_inference(run.model).forward.median

    def objective(trial: Any) -> tuple[float, float, float]:
        return train({**suggest_shape(trial), **suggest_training(trial)})

    trials, directions = scale.count_trials(50), ["minimize"] * 3
    study, drawn = (minimize(objective, name, trials, directions=directions, seed=scale.seed) for name in ("gp", "random"))
    default, several = train(DEFAULT), list(study.header.objectives)
    rows = [[trial.metrics[name] for name in several] for trial in study.pareto]
    every = [default, *(one.history.losses(key) for one in (study, drawn) for key in one.successes())]
    best, worst = [[choose(column) for column in zip(*every, strict=True)] for choose in (min, max)]
    box = prod(high - low for low, high in zip(best, worst, strict=True))
    alone = prod(high - value for high, value in zip(worst, default, strict=True))
    beside = {"default": alone / box, "random": drawn.hypervolume(worst) / box}
    facts = {f"{loss:.4f} nats": f"{size:.3f} MB, {time:.3f} ms" for loss, size, time in sorted(rows)}
    return Outcome("share of the hypervolume", study.hypervolume(worst) / box, beside, is_higher_better=True, facts=facts)
