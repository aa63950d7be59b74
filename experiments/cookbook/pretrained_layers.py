"""A pretrained causal LM of which the first layers are kept, with rate, batch size and weight decay, ten trials (guide A, 13).

SmolLM2's first 2 to 6 layers, of 30, stand for GPT-2's first 6 to 24, of 12 to 36; its texts have 64 tokens, and a training has
the tokens of eight batches of four. Beside the same weights with what the Trainer takes where nothing is said.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.pretrained import train_pretrained
from experiments.cookbook.scale import Reduction

RANGES = {
    "model_name": ["smollm2"], "num_layers": (2, 6), "learning_rate": (1e-5, 1e-3, "log"), "batch_size": [2, 4, 8],
    "weight_decay": (0.0, 0.2),
}  # fmt: skip
DEFAULT = {"model_name": "smollm2", "num_layers": 6, "learning_rate": 5e-5, "batch_size": 8, "weight_decay": 0.0}


def pretrained_layers(scale: Reduction) -> Outcome:
    train = partial(train_pretrained, scale=scale)
    study = hpo.minimize(train, RANGES, "gp", scale.count_trials(10), seed=scale.seed, quiet=True)
    return Outcome("loss", study.best.value, {"default": train(DEFAULT)}, facts={"best": format_config(study.best.config)})
