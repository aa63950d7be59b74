"""Manual search with the Trainer: three shapes, three epochs each, batch 8 (guide A, 2).

Beside GPT-2's own shape, which is the second of the three: so the best is never worse.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import SHAPES, build_space
from experiments.cookbook.trainer import count_trainer_steps, make_trainer
from hpo.integrations.transformers import tune


def manual_search(scale: Reduction) -> Outcome:
    rows = [(6, 512, 8, 2048), (12, 768, 12, 3072), (24, 1024, 16, 4096)]
    configs = [{**dict(zip(SHAPES, row, strict=True)), "seed": scale.seed} for row in rows]
    search = hpo.Manual(build_space(SHAPES, scale.seed), configs=configs)
    study = tune(partial(make_trainer, scale=scale), search.space, search, steps=count_trainer_steps(scale), quiet=True)
    losses = [study.history.losses(key)[0] for key in sorted(study.history.results)]
    facts = {format_config(config): f"{loss:.4f}" for config, loss in zip(configs, losses, strict=True)}
    return Outcome("loss", study.best.value, {"GPT-2's shape": losses[1]}, facts=facts)
