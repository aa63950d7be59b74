"""transformers.Trainer with GPT2LMHeadModel, trained a few steps at a time."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.speed.judging import CONFIG, count, synchronise, validation_loss
from experiments.speed.sizes import STEPS, Size, text
from models.schedule import lr_at

FOREVER = 10**7  # steps; the Trainer wants a number


class Trainer:
    """transformers.Trainer, which trains in a thread of its own and waits there between two calls of `steps`."""

    def __init__(self, size: Size, device: str, precision: str, compiled: bool, tanh: bool = False) -> None:
        import transformers

        self.size, self.device, self.corpus = size, torch.device(device), text()
        torch.manual_seed(0)
        shape: dict[str, Any] = {"n_layer": size.layers, "n_head": size.heads, "n_embd": size.hidden, "n_positions": size.context}
        drops: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        vocabulary = size.vocabulary or self.corpus.vocabulary
        config = transformers.GPT2Config(
            **shape, **drops, vocab_size=vocabulary, activation_function="gelu_new" if tanh else "gelu",
            use_cache=False, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        self.model = transformers.GPT2LMHeadModel(config)
        arguments = transformers.TrainingArguments(
            output_dir=tempfile.mkdtemp(prefix="speed-"),
            per_device_train_batch_size=size.micro or size.batch,
            gradient_accumulation_steps=size.batch // (size.micro or size.batch),
            max_steps=FOREVER, learning_rate=CONFIG.lr, weight_decay=CONFIG.weight_decay, adam_beta1=CONFIG.beta1,
            adam_beta2=CONFIG.beta2, adam_epsilon=CONFIG.eps, max_grad_norm=CONFIG.clip,
            logging_strategy="no", save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=self.device.type == "cpu", bf16=precision == "bf16", fp16=precision == "fp16", torch_compile=compiled,
            seed=0,
        )  # fmt: skip
        self.wanted: SimpleQueue[int] = SimpleQueue()
        self.done: SimpleQueue[BaseException | None] = SimpleQueue()
        gate = _gate(transformers.TrainerCallback, self.wanted, self.done)
        data = Sequences(self.corpus.train, size)
        self.trainer = _scheduled(transformers.Trainer)(self.model, arguments, train_dataset=data, callbacks=[gate])
        threading.Thread(target=self._train, daemon=True).start()

    def _train(self) -> None:
        torch.set_num_threads(1)
        try:
            self.trainer.train()
            self.done.put(RuntimeError("the Trainer ended by itself"))
        except BaseException as error:
            self.done.put(error)

    def steps(self, n: int) -> None:
        self.wanted.put(n)
        error = self.done.get()
        if error is not None:
            raise error
        synchronise(self.device)

    def loss(self) -> float:
        self.model.eval()
        loss = validation_loss(lambda ids: self.model(ids[:, :-1]).logits, self.corpus, self.size.context, self.device)
        self.model.train()
        return loss

    @property
    def parameters(self) -> int:
        return count(self.model)


def _scheduled(base: type) -> Any:
    """A Trainer with the schedule of all contenders."""

    class Scheduled(base):  # type: ignore[misc]
        def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
            moved = optimizer or self.optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(moved, lambda step: lr_at(step, STEPS, CONFIG) / CONFIG.lr)
            return self.lr_scheduler

    return Scheduled


def _gate(base: type, wanted: SimpleQueue[int], done: SimpleQueue[BaseException | None]) -> Any:
    """A callback that lets as many steps through as are wanted, and says when they are done."""

    class Gate(base):  # type: ignore[misc]
        left = 0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.left == 0:
                self.left = wanted.get()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.left -= 1
            if self.left == 0:
                done.put(None)

    return Gate()


class Sequences(torch.utils.data.Dataset[Mapping[str, Tensor]]):
    """Every place of a text as a sequence; labels are the ids, which the model shifts."""

    def __init__(self, tokens: np.ndarray, size: Size) -> None:
        self.tokens, self.context = tokens, size.context

    def __len__(self) -> int:
        return len(self.tokens) - self.context

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        ids = torch.from_numpy(self.tokens[i : i + self.context].astype(np.int64))
        return {"input_ids": ids, "labels": ids}
