"""A small Trainer that the tests of the integration share; importable from spawned workers."""

from __future__ import annotations

import gc
import tempfile
from typing import Any

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from hpo.integrations.transformers import set_arguments

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
gc.freeze()  # all of these libraries, through which every collection that a Trainer asks for would look
WORDS, CONTEXT = 24, 12


class Lines(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Lines in which every word is the one before plus a step of the line's own."""

    def __init__(self, count: int, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        starts, steps = torch.randint(WORDS, (count, 1), generator=rng), torch.randint(1, 3, (count, 1), generator=rng)
        self.rows = (starts + steps * torch.arange(CONTEXT)) % WORDS

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[place], "labels": self.rows[place]}


def make_model(width: int = 16) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS, n_positions=CONTEXT, n_embd=width, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
                   loss_type="ForCausalLMLoss")
    )  # fmt: skip


def make_trainer(config: dict[str, Any]) -> Trainer:
    """A GPT-2 of a few thousand weights, with dropout."""
    args = TrainingArguments(
        tempfile.gettempdir(), per_device_train_batch_size=4, report_to=[], disable_tqdm=True, use_cpu=True,
        logging_strategy="no", learning_rate=1e-2, lr_scheduler_type="cosine",
    )  # fmt: skip
    width = config.get("width", 16)
    set_arguments(args, {name: value for name, value in config.items() if name != "width"})
    return Trainer(model_init=lambda: make_model(width), args=args, train_dataset=Lines(40, 0), eval_dataset=Lines(16, 1))
