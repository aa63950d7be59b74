"""A causal LM under Hugging Face's Trainer, for a configuration of a guide."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import transformers
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from experiments.cookbook.scale import LENGTH, VOCABULARY, Reduction
from experiments.cookbook.space import DEFAULT, SHAPES
from experiments.cookbook.text import load_rows
from hpo.integrations.transformers import TrainerRun, set_arguments


def make_trainer(config: Mapping[str, Any], scale: Reduction) -> Trainer:
    """A new Trainer; what the configuration does not have is the default's."""
    transformers.logging.set_verbosity_error()
    config = {**DEFAULT, **config}
    shape = scale.build_shape(config)
    model = GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_layer=shape["layers"], n_embd=shape["hidden"], n_head=shape["heads"],
        n_inner=shape["ff"], bos_token_id=0, eos_token_id=0, loss_type="ForCausalLMLoss",  # type: ignore[call-arg]
    )  # fmt: skip
    args = TrainingArguments(
        tempfile.gettempdir(), report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no", save_strategy="no",
        per_device_eval_batch_size=16,
    )  # fmt: skip
    chosen = {name: value for name, value in config.items() if name not in SHAPES}
    set_arguments(args, {**chosen, "warmup_steps": scale.count_warmup(config["warmup_steps"])})
    train, valid = load_rows(scale.texts)
    return Trainer(model_init=lambda: GPT2LMHeadModel(model), args=args, train_dataset=train, eval_dataset=valid)  # type: ignore[arg-type]


def count_trainer_steps(scale: Reduction, epochs: int = 3, batch: int = 8) -> int:
    """The optimizer steps of so many epochs."""
    return epochs * -(-scale.texts // batch)


def train_and_evaluate(config: Mapping[str, Any], scale: Reduction) -> float:
    """The loss that a Trainer has after all epochs of a configuration, in nats a token."""
    transformers.set_seed(scale.seed)
    trainer = make_trainer({**config, "seed": scale.seed}, scale)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return float(trainer.evaluate()["eval_loss"])


def train_steps(config: Mapping[str, Any], scale: Reduction, steps: int) -> float:
    """The same after so many steps, as `tune` trains it."""
    run = TrainerRun(partial(make_trainer, scale=scale), config, scale.seed, steps)
    loss = run.advance(steps)[0]["eval_loss"]
    run.close()
    return loss
