"""Random search of ten shapes with the Trainer, three epochs each, batch 8 (guide A, 3).

Beside GPT-2's own shape, trained as long and from the same seed.
"""

from __future__ import annotations

from functools import partial

from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, SHAPES, build_space
from experiments.cookbook.trainer import count_trainer_steps, make_trainer, train_steps
from hpo.integrations.transformers import tune


def random_search(scale: Reduction) -> Outcome:
    space, steps = build_space(SHAPES, scale.seed), count_trainer_steps(scale)
    trials = scale.count_trials(10)
    study = tune(partial(make_trainer, scale=scale), space, "random", trials, steps=steps, seed=scale.seed, quiet=True)
    shape = {name: DEFAULT[name] for name in SHAPES}
    default = train_steps({**shape, "seed": scale.seed}, scale, steps)
    return Outcome("loss", study.best.value, {"GPT-2's shape": default}, facts={"best": format_config(study.best.config)})
