"""Real population-based training with the Trainer: clones go on from the checkpoints of better ones (beside guide A, 7).

Four slots, five generations of three epochs: as many steps as simplified_pbt.py takes, but what is handed over was trained for
all fifteen epochs. Each slot keeps the shape that it was given, or that of the checkpoint which it copies; the rate is multiplied
by 0.8 or 1.25, weight decay moves by 0.05. Beside the default, and the best of four random configurations, trained as long.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, NINE, SHAPES, build_space
from experiments.cookbook.trainer import count_trainer_steps, make_trainer, train_steps
from hpo.integrations.transformers import tune


def pbt(scale: Reduction) -> Outcome:
    space = build_space({name: NINE[name] for name in (*SHAPES, "lr", "weight_decay")}, scale.seed)
    generations = max(scale.count_trials(20) // 4, 1)
    rules: dict[str, Any] = {"lr": hpo.Factors(0.8, 1.25), "weight_decay": hpo.Steps(-0.05, 0.05)}
    rules |= dict.fromkeys(SHAPES, "fixed")
    search = hpo.PBT(hpo.Random(space, seed=scale.seed), population=4, generations=generations, explore=rules)
    make, steps = partial(make_trainer, scale=scale), count_trainer_steps(scale, epochs=3 * generations)
    study = tune(make, space, search, steps=steps, quiet=True)
    drawn = tune(make, space, "random", 4, steps=steps, seed=scale.seed, quiet=True)
    default = {name: DEFAULT[name] for name in space.parameters if name in DEFAULT}
    beside = {"default": train_steps({**default, "seed": scale.seed}, scale, steps), "random": drawn.best.value}
    clones = sum(job.source is not None and job.source[0] != key[0] for key, job in study.history.jobs.items())
    return Outcome("loss", study.best.value, beside, facts={"best": format_config(study.best.config), "clones": clones})
