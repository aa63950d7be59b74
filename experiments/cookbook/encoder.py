"""MiniLM's first layers with a fresh head, fine-tuned by transformers' Trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import transformers
from transformers import DataCollatorWithPadding, EvalPrediction, Trainer, TrainingArguments

from experiments.cookbook.reviews import find_tweets
from experiments.cookbook.scale import Reduction
from hpo.integrations.transformers import set_arguments
from models.classify.texts import LabelledTexts, split_texts
from models.pretrained.load import load_tokenizer
from models.pretrained.recipe import Recipe

NAME, LAYERS, LENGTH = "minilm", 2, 32


@lru_cache(maxsize=2)
def load_tweets(texts: int) -> LabelledTexts:
    """Positive ones or not, twice as many as a language model has texts, and as many to evaluate."""
    return split_texts(find_tweets(), ("negative", "positive"), (2 * texts, 2 * texts, 0))


def encode_rows(part: Any) -> list[dict[str, Any]]:
    tokenizer = load_tokenizer(NAME)
    return [{**tokenizer(text, truncation=True, max_length=LENGTH), "labels": label} for text, label in part]


def finetune_encoder(config: Mapping[str, Any], scale: Reduction) -> float:
    """Its accuracy on the validation texts."""
    transformers.logging.set_verbosity_error()
    corpus = load_tweets(scale.texts)
    args = TrainingArguments(
        tempfile.gettempdir(), report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no", save_strategy="no",
        per_device_eval_batch_size=64, seed=scale.seed, dataloader_pin_memory=False,
    )  # fmt: skip
    recipe, rest = Recipe.split({"model_name": NAME, "num_layers": LAYERS, **config})
    set_arguments(args, rest)
    transformers.set_seed(scale.seed)
    train, valid = encode_rows(corpus.train), encode_rows(corpus.valid)
    trainer = Trainer(
        model=recipe.make_classifier(2), args=args, train_dataset=train, eval_dataset=valid,
        data_collator=DataCollatorWithPadding(load_tokenizer(NAME)), compute_metrics=compute_accuracy,
    )  # type: ignore[arg-type]  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return float(trainer.evaluate()["eval_accuracy"])


def compute_accuracy(found: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((np.asarray(found.predictions).argmax(-1) == found.label_ids).mean())}
