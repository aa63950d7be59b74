"""One hyperparameter from 2 to 26 with four jobs, by random search and by a grid (guide B, 1).

The grid of four is 8, 14, 20 and 26, as in the guide; what is searched is the batch size of a training that sees 2000 x 8
sequences of the guide's. Beside a batch size of 2, the lower end.
"""

from __future__ import annotations

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT

SEQUENCES = 2000 * 8
JOBS = 4
GRID = [8, 14, 20, 26]


def four_jobs(scale: Reduction) -> Outcome:
    def train(config: dict[str, int]) -> float:
        steps = SEQUENCES // config["batch"]
        run = start_training({**DEFAULT, "lr": 1e-3, "batch_size": config["batch"]}, scale, steps)
        return advance_training(run, scale, steps)

    drawn = hpo.minimize(train, {"batch": (2, 26)}, "random", JOBS, seed=scale.seed, quiet=True)
    grid = hpo.minimize(train, {"batch": GRID}, "grid", quiet=True)
    facts = {"grid": f"batch {grid.best.config['batch']}", "random": f"batch {drawn.best.config['batch']}"}
    return Outcome("loss", grid.best.value, {"batch size 2": train({"batch": 2}), "random": drawn.best.value}, facts=facts)
