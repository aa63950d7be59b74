"""A training run in memory: one learning curve that advances, pauses, resumes and is cloned.

Everything random is a function of (seed, position): first weights, batches, dropout. Everything tuned is read from the
config at every step. So a checkpoint is weights, moments, loss scale and position, and on CPU

    advance(2n)  ==  advance(n), save, load in a new run, advance(n)        bit for bit
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import checkpoint as checkpoints
from models.budget import Budget
from models.config import GPTConfig, split
from models.cost import flops_per_token, parameters
from models.data import Corpus, check_length, epoch_sequences, epoch_starts, sampled_starts, sequences
from models.evaluate import Validation
from models.gpt import GPT
from models.optim import OPTIMIZERS, clip, flatten
from models.precision import Scaler, context
from models.schedule import lr_at
from models.seeds import mix

CHECK_EVERY = 16  # steps between looks at whether the loss is finite, which on CUDA waits for the device
SMOOTHING = 0.05  # weight of the newest step in train_loss, an exponential average over about 20 steps
FIRST_WEIGHTS, DROPOUT = 2, 3  # roles of the seed; data.py has 0 and 1


def fitted(config: GPTConfig, corpus: Corpus) -> GPTConfig:
    """The config with the vocabulary of the corpus where it has none; ValueError where its own is too small."""
    if config.vocabulary is None:
        return replace(config, vocabulary=corpus.vocabulary)
    if config.vocabulary < corpus.vocabulary:
        raise ValueError(f"vocabulary is {config.vocabulary}, but corpus {corpus.name!r} needs {corpus.vocabulary}")
    return config


def open_device(name: str) -> torch.device:
    """The torch device "cpu", "cuda" or "cuda:N"; ValueError for another name or one that this machine lacks."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdecimal() or name == kind):
        raise ValueError(f"device is {name!r}, but must be cpu, cuda or cuda:N")
    if kind == "cuda":
        if int(number or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise ValueError(
                f"device is {name!r}, but this machine has {count} CUDA devices" + "; use cpu" * (not count)
            )
        torch.set_float32_matmul_precision("high")  # TF32 for float32 products: 8 times the rate
    return torch.device(name)


class TrainRun:
    """Trains a GPT on a corpus by a flat config; a Run of the protocol (advance, save, load).

    `horizon` is the study's, in `unit` ("tokens", "steps", "epochs", "flops"), and gives the schedule its length.
    `threads` is the number of CPU threads; results are equal bit for bit only at an equal number.
    Raises ValueError in one sentence for a config, unit, device or corpus that cannot be trained.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        seed: int,
        horizon: int,
        corpus: Corpus,
        unit: str = "tokens",
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        model, self.config = split(config)
        self.size, self.corpus, self.seed = fitted(model, corpus), corpus, seed
        self.device, self.threads = open_device(device), threads
        check_length("training", corpus.train, model.context, corpus.name)
        check_length("validation", corpus.valid, model.context, corpus.name)
        self.budget = Budget(
            unit,
            horizon,
            step_tokens=self.config.batch * model.context,
            epoch_tokens=epoch_sequences(len(corpus.train), model.context) * model.context,
            flops_per_token=flops_per_token(self.size),
            epochs=self.config.epochs,
        )
        self._starts = epoch_starts if unit == "epochs" or self.config.epochs is not None else sampled_starts
        if threads < 1:
            raise ValueError(f"threads is {threads}, but must be at least 1")
        self._build()

    def _build(self) -> None:
        """Model, flat buffers and optimizer at position 0."""
        self.model = GPT(self.size, mix(self.seed, FIRST_WEIGHTS)).to(self.device)
        self.flat = flatten(self.model)
        self.optimizer = OPTIMIZERS[self.config.optimizer](self.flat)
        self.scaler = Scaler() if self.config.precision == "fp16" else None
        self.validation = Validation(self.corpus, self.model, self.config, self.device)
        drops = self.size.dropout > 0 or self.size.attention_dropout > 0
        self._noise = torch.Generator(self.device) if drops else None
        self._train_loss = torch.zeros((), device=self.device)
        self.steps = self.tokens = self.skipped = 0
        self.diverged = False
        self._validated: tuple[int, float] | None = None  # (steps, validation loss) of the last evaluation

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        """Train until the absolute, nominal budget `until`; returns (metrics, curve).

        The curve has (position in the study's unit, validation loss) at every `eval_every`-th step and at the end.
        Metrics: loss (validation, nats per token), train_loss (average over about 20 steps, with label smoothing),
        seconds (wall, of this advance), tokens_per_second (while training), and in total tokens, steps, flops,
        parameters. A loss that is not finite ends the run for good: loss is nan then, now and in every later advance.
        Raises ValueError if until lies behind the run or beyond the horizon.
        """
        self.budget.check(until, self.steps, self.tokens)
        torch.set_num_threads(self.threads)
        before, started, evaluating = self.tokens, perf_counter(), 0.0
        curve: dict[int, float] = {}
        left, every = self.budget.steps_left(until, self.steps, self.tokens), self.config.eval_every
        while left > 0 and not self.diverged:
            self._step()
            left -= 1
            if left == 0 or (every and self.steps % every == 0):
                evaluating += self._evaluate(curve)
        evaluating += self._evaluate(curve)  # where there was nothing to train; costs nothing elsewhere
        seconds = perf_counter() - started
        return self._metrics(seconds, (self.tokens - before) / max(seconds - evaluating, 1e-9)), sorted(curve.items())

    def _evaluate(self, curve: dict[int, float]) -> float:
        """Put the validation loss here into the curve, or note a divergence; returns the seconds it took."""
        self._look()  # waits for the device, so that training is not timed as evaluation
        started = perf_counter()
        if not self.diverged and (self._validated is None or self._validated[0] != self.steps):
            self._validated = (self.steps, self.validation.loss())
            self.diverged = not isfinite(self._validated[1])
        if not self.diverged and self._validated is not None:
            curve[self.budget.shown(self.steps, self.tokens)] = self._validated[1]
        return perf_counter() - started

    def _metrics(self, seconds: float, tokens_per_second: float) -> dict[str, float]:
        loss = nan if self.diverged or self._validated is None else self._validated[1]
        return {
            "loss": loss,
            "train_loss": self._train_loss.item() if self.steps else nan,
            "seconds": seconds,
            "tokens": self.tokens,
            "steps": self.steps,
            "tokens_per_second": tokens_per_second,
            "parameters": parameters(self.size),
            "flops": self.tokens * self.budget.flops_per_token,
        }

    def _look(self) -> None:
        """Note a divergence. The average cannot become finite again, so that no step in between is missed."""
        self.diverged = self.diverged or not isfinite(self._train_loss.item())

    def _batch(self) -> Tensor:
        """The sequences of the step at this position, each with its next token: int64 (batch, context + 1)."""
        length, tokens = self.size.context, self.corpus.train
        starts = self._starts(len(tokens), length, self.seed, self.tokens // length, self.config.batch)
        return self._to_device(sequences(tokens, starts, length))

    def _to_device(self, ids: np.ndarray) -> Tensor:
        on_cpu = torch.from_numpy(ids)
        return on_cpu if self.device.type == "cpu" else on_cpu.pin_memory().to(self.device, non_blocking=True)

    def _step(self) -> None:
        """One update from one effective batch."""
        config, ids = self.config, self._batch()
        self.flat.grads.zero_()
        losses = [self._backward(ids, place) for place in range(0, config.batch, config.micro)]
        if self.scaler is None or self.scaler.unscale(self.flat.grads):
            clip(self.flat.grads, config.clip)
            position = self.budget.schedule_step(self.steps, self.tokens) - self.skipped
            self.optimizer.step(lr_at(position, self.budget.total_steps, config), config)
        else:
            self.skipped += 1  # an overflow in fp16 advances the data, but neither the weights nor the schedule
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        self._train_loss.lerp_(loss, SMOOTHING if self.steps else 1.0)
        self.steps += 1
        self.tokens += self.budget.step_tokens
        if self.steps % CHECK_EVERY == 0:
            self._look()

    def _backward(self, ids: Tensor, place: int) -> Tensor:
        """Add the gradient of the micro-batch that starts at sequence `place`; returns its share of the loss."""
        config, part = self.config, ids[place : place + self.config.micro]
        self._seed_dropout(self.tokens // self.size.context + place)
        with context(config.precision, self.device):
            logits = self.model(part[:, :-1], self._noise)
        logits, targets = logits.view(-1, logits.size(-1)).float(), part[:, 1:].reshape(-1)
        loss = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
        if config.micro != config.batch:
            loss = loss * (config.micro / config.batch)
        (loss if self.scaler is None else loss * self.scaler.scale).backward()
        return loss.detach()

    def _seed_dropout(self, sequence: int) -> None:
        """Make the dropout of a micro-batch a function of (seed, number of its first sequence)."""
        if self._noise is not None:
            self._noise.manual_seed(mix(self.seed, DROPOUT, sequence))
            if self.device.type == "cuda":  # the fused attention kernel draws from the device's global generator
                torch.cuda.manual_seed(mix(self.seed, DROPOUT, sequence))

    def save(self, path: str | Path) -> None:
        """Write weights, moments, loss scale and position, atomically and durably; no hyperparameters."""
        state = {"weights": self.flat.weights, **self.optimizer.state}
        position = {
            "steps": self.steps,
            "tokens": self.tokens,
            "skipped": self.skipped,
            "updates": self.optimizer.updates,
            "diverged": self.diverged,
            "train_loss": self._train_loss.item(),
            "scaler": None if self.scaler is None else [self.scaler.scale, self.scaler.clean],
        }
        arrays = {name: tensor.cpu().numpy() for name, tensor in state.items()}
        checkpoints.write(path, checkpoints.Checkpoint(self.flat.places, arrays, position))

    def load(self, path: str | Path) -> None:
        """Take over a checkpoint's weights, moments, loss scale and position; hyperparameters stay this run's own.

        Moments of another optimizer start from zero. ValueError that names the file (and the parameter) if it is
        damaged or does not fit, and then this run is unchanged.
        """
        saved = checkpoints.read(path)
        checkpoints.check_fits(path, saved, self.flat.places)
        self.flat.weights.copy_(torch.from_numpy(saved.arrays["weights"]))
        self._load_moments(saved)
        position = saved.position
        self.steps, self.tokens, self.skipped = position["steps"], position["tokens"], position["skipped"]
        self.diverged, self._validated = position["diverged"], None
        self._train_loss.fill_(position["train_loss"])
        if self.scaler is not None:
            self.scaler.scale, self.scaler.clean = position["scaler"] or (Scaler.START, 0)

    def _load_moments(self, saved: checkpoints.Checkpoint) -> None:
        same = all(name in saved.arrays for name in self.optimizer.moments)
        for name, moment in self.optimizer.state.items():
            moment.copy_(torch.from_numpy(saved.arrays[name])) if same else moment.zero_()
        self.optimizer.updates = saved.position["updates"] if same else 0
