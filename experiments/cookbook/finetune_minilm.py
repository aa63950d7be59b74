"""Six hyperparameters of a fine-tuning, ten initial points and fifty evaluations, accuracy maximised (guide D, 2).

MiniLM with a fresh head on reviews or tweets, its first two layers of six, texts of 32 tokens. Ranges are the guide's. Beside the
usual advice for encoders: a rate of 2e-5, batches of 16, three epochs.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.encoder import finetune_encoder
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction

RANGES = {
    "learning_rate": (1e-6, 1e-3, "log"), "batch_size": [8, 16, 32, 64], "epochs": [2, 3, 5], "warmup_ratio": (0.0, 0.2),
    "weight_decay": (0.0, 0.1), "accumulation": [1, 2, 4, 8],
}  # fmt: skip
USUAL = {"learning_rate": 2e-5, "batch_size": 16, "epochs": 3, "warmup_ratio": 0.0, "weight_decay": 0.0, "accumulation": 1}


def finetune_minilm(scale: Reduction) -> Outcome:
    score, trials = partial(finetune_encoder, scale=scale), scale.count_trials(50)
    first = min(10, trials // 2)
    search = hpo.BayesianSearch(RANGES, n_initial=first, n_iterations=trials - first, seed=scale.seed)
    config, accuracy = search.run(score, quiet=True)
    return Outcome("accuracy", accuracy, {"usual": score(USUAL)}, is_higher_better=True, facts={"best": format_config(config)})
