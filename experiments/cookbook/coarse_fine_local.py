"""Coarse grid, fine grid, local search: each stage around the best of the one before (guide D, 4).

The guide's lists: rates of 1e-5, 1e-4, 1e-3 with batches of 8, 16, 32; then 5e-5 to 5e-4 with 12 to 24; then a range of 1e-4 to
3e-4 with 14 to 18. Our GPT is trained from scratch, with rates ten times as high. Beside the coarse grid alone, and random search
of as many trainings.
"""

from __future__ import annotations

from typing import Any

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT

STEPS = 1000
SPACE = {"lr": (1e-5, 1e-3, "log"), "batch": (8, 32)}
STAGES: list[dict[str, Any]] = [
    {"lr": [1e-5, 1e-4, 1e-3], "batch": [8, 16, 32]}, {"lr": [5e-5, 1e-4, 2e-4, 5e-4], "batch": [12, 16, 20, 24]},
    {"lr": (1e-4, 3e-4), "batch": [14, 16, 18]},
]  # fmt: skip


def coarse_fine_local(scale: Reduction) -> Outcome:
    def train(config: dict[str, float]) -> float:
        changed = {**DEFAULT, "lr": 10 * config["lr"], "batch_size": config["batch"]}
        return advance_training(start_training(changed, scale, STEPS), scale, STEPS)

    space = hpo.Space.of(SPACE)
    stages = hpo.minimize(train, space, hpo.Narrowing(space, stages=STAGES, points=5, seed=scale.seed), scale.trials, quiet=True)
    losses = [stages.history.losses(key)[0] for key in stages.history.finished_keys]
    drawn = hpo.minimize(train, space, "random", len(losses), seed=scale.seed, quiet=True)
    beside = {"coarse grid": min(losses[:9]), "random": drawn.best.value}
    return Outcome("loss", stages.best.value, beside, facts={"trainings": len(losses), "best": format_config(stages.best.config)})
