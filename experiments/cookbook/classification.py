"""Reviews classified by our GPT with a head, for hyperparameters under the names of guides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from experiments.cookbook.reviews import MORE, find_labelled
from experiments.cookbook.scale import Reduction
from models.classify.run import ClassifyRun, EncodedTexts
from models.classify.texts import split_texts

LENGTH = 32  # characters
SCRATCH = 100.0  # times as high are rates of a model that has nothing to forget
SHAPE = {"layers": 1, "hidden": 32, "heads": 2, "context": LENGTH, "dropout": 0.1}


@lru_cache(maxsize=2)
def load_reviews(texts: int) -> EncodedTexts:
    """MORE times as many reviews to train on, and a half of that to choose by."""
    sizes = (MORE * texts, MORE * texts // 2, MORE * texts // 2)
    return EncodedTexts(split_texts(find_labelled(), ("negative", "positive"), sizes), LENGTH)


def start_classifier(config: Mapping[str, Any], scale: Reduction, **more: Any) -> ClassifyRun:
    """A training of a configuration: learning_rate, batch_size, num_epochs, weight_decay."""
    training = {
        "lr": SCRATCH * config["learning_rate"], "batch": config["batch_size"], "epochs": float(config["num_epochs"]),
        "weight_decay": config["weight_decay"], "warmup": 0.0, "schedule": "linear", "final_lr": 0.0,
    }  # fmt: skip
    return ClassifyRun({**SHAPE, **training, **more}, scale.seed, 2**31, load_reviews(scale.texts))


def classify_reviews(config: Mapping[str, Any], scale: Reduction, metric: str = "accuracy") -> float:
    """What a classifier scores on the validation texts at the end of its training."""
    run = start_classifier(config, scale)
    return run.advance(run.whole)[0][metric]
