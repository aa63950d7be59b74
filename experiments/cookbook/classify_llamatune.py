"""Text classification tuned in three lines by `llamatune`: 50 evaluations, accuracy, a line each (guide C, 1).

Ranges are the guide's: a rate of 1e-5 to 5e-5, batches of 8 to 32, 3 to 10 epochs, weight decay to 0.1. The model is our GPT with
a head from scratch where the guide fine-tunes GPT-2, with rates a hundred times as high. Beside the middle of the ranges.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.classification import classify_reviews
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction

SPACE = {
    "learning_rate": hpo.Real(1e-5, 5e-5, prior="log-uniform"), "batch_size": hpo.Integer(8, 32),
    "num_epochs": hpo.Integer(3, 10), "weight_decay": hpo.Real(0.0, 0.1, prior="uniform"),
}  # fmt: skip
MIDDLE = {"learning_rate": 2e-5, "batch_size": 20, "num_epochs": 6, "weight_decay": 0.05}


def classify_llamatune(scale: Reduction) -> Outcome:
    evaluate = partial(classify_reviews, scale=scale)
    best_params, best_score = hpo.llamatune(SPACE, evaluate, max_evals=scale.count_trials(50), direction="max", seed=scale.seed)
    facts = {"best": format_config(best_params)}
    return Outcome("accuracy", best_score, {"middle": evaluate(MIDDLE)}, is_higher_better=True, facts=facts)
