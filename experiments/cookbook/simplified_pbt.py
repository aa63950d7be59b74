"""Population-based training as tutorials have it: fresh models in each generation, no weights copied (guide A, 7).

Four individuals, five generations, three epochs each. The lower half becomes mutated copies of the upper half. A mutation changes
one hyperparameter: a choice is drawn anew, the rate is multiplied by U(0.8, 1.2), weight decay moves by U(-0.05, 0.05) within
[0, 0.2]. Beside the default, and random search of as many trainings.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, NINE, build_space
from experiments.cookbook.trainer import train_and_evaluate


def simplified_pbt(scale: Reduction) -> Outcome:
    train = partial(train_and_evaluate, scale=scale)  # a configuration without epochs is trained for three
    ranges = {name: spec for name, spec in NINE.items() if name not in ("epochs", "warmup_steps")}
    space, generations = build_space(ranges, scale.seed), max(scale.count_trials(20) // 4, 1)
    config, loss = hpo.simple_pbt(train, space, population=4, generations=generations, seed=scale.seed)
    drawn = hpo.minimize(train, space, "random", 4 * generations, seed=scale.seed, quiet=True)
    beside = {"default": train(DEFAULT), "random": drawn.best.value}
    return Outcome("loss", loss, beside, facts={"best": format_config(config), "generations": generations})
