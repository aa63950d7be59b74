"""The rate tuned by its own gradient while it trains: `hypergradient` (Baydin et al. 2018), beside random search over rates.

One training that begins at the default's rate and learns it, beside the same without, and beside the best of eight rates drawn
at random, at eight times the cost.
"""

from __future__ import annotations

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT

STEPS, LEARNS = 2000, 0.05


def learned_rate(scale: Reduction) -> Outcome:
    def train(config: dict[str, float], hypergradient: float = 0.0) -> float:
        run = start_training({**DEFAULT, **config}, scale, STEPS, hypergradient=hypergradient)
        return advance_training(run, scale, STEPS)

    drawn = hpo.minimize(train, {"lr": (1e-5, 1e-1, "log")}, "random", scale.count_trials(8), seed=scale.seed, quiet=True)
    beside = {"default": train({}), "random": drawn.best.value}
    return Outcome("loss", train({}, LEARNS), beside, facts={"random's best": format_config(drawn.best.config)})
