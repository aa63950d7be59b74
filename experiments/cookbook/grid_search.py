"""Grid search over the same shapes with the Trainer: 81 are listed, of which 63 can be built (guide A, 4).

A hidden width of 512 or 1024 has no 12 heads: a constraint of the space leaves those shapes out. Beside GPT-2's own shape, which
is in the grid: so the best of the whole grid is never worse.
"""

from __future__ import annotations

from functools import partial
from math import prod

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT, SHAPES, build_space
from experiments.cookbook.trainer import count_trainer_steps, make_trainer, train_steps
from hpo.integrations.transformers import tune


def grid_search(scale: Reduction) -> Outcome:
    search, steps = hpo.Grid(build_space(SHAPES, scale.seed)), count_trainer_steps(scale)
    trials = scale.count_trials(prod(map(len, SHAPES.values())))  # it ends by itself where no more can be built
    study = tune(partial(make_trainer, scale=scale), search.space, search, trials, steps=steps, quiet=True)
    shape = {name: DEFAULT[name] for name in SHAPES}
    default = train_steps({**shape, "seed": scale.seed}, scale, steps)
    facts = {"listed": trials, "built": len(study.history.trials), "best": format_config(study.best.config)}
    return Outcome("loss", study.best.value, {"GPT-2's shape": default}, facts=facts)
