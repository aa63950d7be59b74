"""One hyperparameter from 2 to 26 with four jobs, by random search and by a grid (guide B, 1).

The grid of four is 8, 14, 20 and 26, as in the guide; what is searched is the number of layers, at the default's other
hyperparameters and a rate of 1e-3. Beside the default's 12 layers.
"""

from __future__ import annotations

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT

STEPS, JOBS = 2000, 4
GRID = [8, 14, 20, 26]


def four_jobs(scale: Reduction) -> Outcome:
    def train(config: dict[str, int]) -> float:
        run = start_training({**DEFAULT, "lr": 1e-3, "layers": config["layers"]}, scale, STEPS)
        return advance_training(run, scale, STEPS)

    drawn = hpo.minimize(train, {"layers": (2, 26)}, "random", JOBS, seed=scale.seed, quiet=True)
    grid = hpo.minimize(train, {"layers": GRID}, "grid", quiet=True)
    facts = {"grid": f"{grid.best.config['layers']} layers", "random": f"{drawn.best.config['layers']} layers"}
    beside = {"default": train({"layers": DEFAULT["layers"]}), "random": drawn.best.value}
    return Outcome("loss", grid.best.value, beside, facts=facts)
