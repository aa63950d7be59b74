"""Fine-tuning SmolLM2's first layers by transformers' Trainer, on the text of the programs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import transformers
from transformers import Trainer, TrainingArguments

from experiments.cookbook.scale import LENGTH, Reduction
from experiments.cookbook.text import find_text, load_parts
from hpo.integrations.transformers import set_arguments
from models.pretrained.load import load_tokenizer
from models.pretrained.recipe import Recipe

TOKENS = 8 * 4 * LENGTH  # that a training sees
EVALUATED = 8  # texts


@lru_cache(maxsize=1)
def load_pieces(model_name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Pieces of LENGTH tokens to train on and to evaluate."""
    tokenizer = load_tokenizer(model_name)
    train, valid, _ = load_parts(find_text())
    return tuple(cut_pieces(tokenizer("\n".join(part[:400])).input_ids) for part in (train, valid))  # type: ignore[return-value]


def cut_pieces(ids: list[int]) -> list[dict[str, Any]]:
    """Rows of LENGTH tokens, of which each is to be predicted."""
    return [{"input_ids": ids[i : i + LENGTH], "labels": ids[i : i + LENGTH]} for i in range(0, len(ids) - LENGTH + 1, LENGTH)]


def train_pretrained(config: Mapping[str, Any], scale: Reduction) -> float:
    """The loss, in nats a token of the model's own, after a training that sees as many tokens at any batch size."""
    transformers.logging.set_verbosity_error()
    recipe, rest = Recipe.split(config)
    train, valid = load_pieces(recipe.model_name)
    steps = max(TOKENS // (rest["batch_size"] * LENGTH), 1)
    args = TrainingArguments(
        tempfile.gettempdir(), report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no", save_strategy="no",
        per_device_eval_batch_size=EVALUATED, max_steps=steps, seed=scale.seed,
    )  # fmt: skip
    set_arguments(args, rest)
    transformers.set_seed(scale.seed)
    trainer = Trainer(model=recipe.make_causal(), args=args, train_dataset=train, eval_dataset=valid[:EVALUATED])  # type: ignore[arg-type]
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return float(trainer.evaluate()["eval_loss"])
