"""Random search over nine hyperparameters with the Trainer, 20 trials (guide A, 5).

The shape, a rate of 10^U(-5, -3), batch size, epochs, warm-up steps, weight decay. Beside GPT-2's shape with what the Trainer
takes where nothing is said.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, NINE, build_space
from experiments.cookbook.trainer import train_and_evaluate


def random_nine(scale: Reduction) -> Outcome:
    train, space = partial(train_and_evaluate, scale=scale), build_space(NINE, scale.seed)
    study = hpo.minimize(train, space, "random", scale.count_trials(20), seed=scale.seed, quiet=True)
    return Outcome("loss", study.best.value, {"default": train(DEFAULT)}, facts={"best": format_config(study.best.config)})
