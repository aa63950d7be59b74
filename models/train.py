"""A training run in memory: one learning curve that advances, pauses, resumes and is cloned.

Everything random (first weights, batches, dropout) is a function of (seed, position). Hyperparameters are read from the config
at every step. So a checkpoint is weights, moments, averages, loss scale and position, and on CPU

    advance(2n)  ==  advance(n), save, load in a new run, advance(n)        bit for bit
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import isfinite, nan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import checkpoint as checkpoints
from models.average import Average
from models.budget import Budget
from models.config import split
from models.data.batches import Corpus, check_length, epoch_sequences, epoch_starts, sampled_starts, sequences
from models.device import open_device, use_device
from models.engines.choice import choose_engine
from models.engines.cpu.kernels import keep_memory
from models.engines.distributed.group import ALONE, Group
from models.engines.engine import Engine
from models.evaluate import Evaluation, Validation
from models.flat import layout
from models.gpt import GPT
from models.guard import Guard
from models.mup import rates
from models.norms import length
from models.optimizers.base import make_optimizer
from models.precision import without_denormals
from models.predict.cost import flops_per_token, parameters
from models.scaling import NoiseScale
from models.schedule import lr_at
from models.seeds import mix
from models.snapshots import Snapshots
from models.stopping import Stopping
from models.trial import owner
from models.weights import AVERAGE, checkpoint_weights, fit_vocabulary

METRICS = ("loss", "perplexity", "accuracy")  # by which a training may end early
CHECK_EVERY = 16  # steps between checks that the loss is finite, which wait for the device on CUDA
SMOOTHING = 0.05  # weight of the newest step in train_loss, an exponential average over about 20 steps
FIRST_WEIGHTS, DROPOUT = 2, 3  # roles of the seed; data/batches.py has 0 and 1


class TrainRun:
    """Trains a GPT on a corpus by a flat config; a Run of the protocol (advance, save, load, adopt).

    `horizon` is the study's, in `unit` ("tokens", "steps", "epochs", "flops"), and gives the schedule its length.
    `threads` is the number of CPU threads; results are equal bit for bit only with the same number. `engine` names how a step is
    carried out (engines/engine.py); `folder` is where `save_every` saves (snapshots.py). Raises ValueError in one sentence for a
    config that cannot be trained.
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
        engine: str = "eager",
        folder: str | Path | None = None,
    ) -> None:
        model, self.config = split(config)
        self.size, self.corpus, self.seed = fit_vocabulary(model, corpus), corpus, seed
        self.device, self.threads, self.group = open_device(device), threads, Group.current()
        self.accumulation = self.config.accumulation(self.group.size)
        if self.config.noise_every and self.config.batch // self.group.size < 2:
            raise ValueError(f"batch is {self.config.batch}, but noise_every needs two sequences for each of {self.group.size}")
        self._text = corpus.train[: round(self.config.data_fraction * len(corpus.train))]
        check_length("training", self._text, model.context, corpus.name)
        check_length("validation", corpus.valid, model.context, corpus.name)
        self.budget = Budget(
            unit,
            horizon,
            step_tokens=self.config.batch * model.context,
            epoch_tokens=epoch_sequences(len(self._text), model.context) * model.context,
            flops_per_token=flops_per_token(self.size),
            epochs=self.config.epochs,
        )
        self._starts = epoch_starts if unit == "epochs" or self.config.epochs is not None else sampled_starts
        if self.config.stop_metric not in METRICS:
            raise ValueError(f"stop_metric is {self.config.stop_metric!r}, but a language model has {', '.join(METRICS)}")
        if self.config.save_every and folder is None:
            raise ValueError(f"save_every is {self.config.save_every}, but no folder was given to save in")
        keep = self.config.keep if self.group.rank == 0 else 0
        self.snapshots = None if folder is None else Snapshots(Path(folder), keep)
        if threads < 1:
            raise ValueError(f"threads is {threads}, but must be at least 1")
        kind = choose_engine(engine, self.device, threads, self.group.size, self.size, self.config)
        with use_device(self.device):
            self._build(kind)

    def _build(self, kind: type[Engine]) -> None:
        """Model, flat buffers and optimizer at position 0."""
        if self.device.type == "cpu":
            keep_memory()
        self.model = GPT(self.size, mix(self.seed, FIRST_WEIGHTS)).to(self.device)
        self.model.again = self.config.activation_checkpointing
        self.flat = kind.flat_buffers(self.model, rates(self.size, self.config.optimizer), self.config)
        self.optimizer = make_optimizer(self.flat, self.config)
        self.engine = kind(self.model, self.flat, self.optimizer, self.config)
        self.guard, self.stopping, self.noise = Guard(self.config), Stopping(), NoiseScale()
        self.average = Average(self.flat.weights) if self.config.ema else None
        shared = self.group if self.config.sharding == "none" else ALONE  # a pass of a sharded model needs every process
        self.validation = Validation(self.corpus, self.model, self.config, self.device, shared)
        self._train_loss = torch.zeros((), device=self.device)
        self.steps = self.tokens = 0
        self.diverged = self._has_loss = False  # `_has_loss`: whether _train_loss holds anything
        self._validated: tuple[int, Evaluation] | None = None  # at which step, and what was found there
        self._curve: dict[int, float] = {}  # of the advance that is under way; empty between two of them

    @property
    def skipped_steps(self) -> int:
        """Steps that were not taken: an overflow of fp16, a spike, a gradient that was not finite."""
        return self.guard.skipped

    @property
    def has_stopped(self) -> bool:
        """Whether early stopping has ended the run."""
        return self.stopping.is_over(self.config.patience)

    def advance(
        self, until: int, checkpoint: Callable[[], None] | None = None
    ) -> tuple[dict[str, float], list[tuple[int, float]]]:
        """Train until the absolute, nominal budget `until`; returns (metrics, curve). `checkpoint` is called between steps, and
        may save: who loads that and advances to the same budget returns what this run does.

        The curve has (position in the study's unit, validation loss) at every `eval_every`-th step and at the end.
        Metrics: loss (validation, nats per token, of the average where `ema` keeps one), perplexity (exp of it), accuracy (of
        the next token), train_loss (average over about 20 steps, with label smoothing and z-loss), seconds (wall, of this
        advance), tokens_per_second (while training), in total tokens, steps, skipped, flops, parameters, and noise_scale
        (tokens) where it is measured. A loss that is not finite ends the run for good: the metrics loss, perplexity and
        accuracy are then nan, now and in every later advance.
        Raises ValueError if `until` is below what the run has trained, or above the horizon.
        """
        self.budget.check(until, self.steps, self.tokens)
        torch.set_num_threads(self.threads)
        before, started, evaluating = self.tokens, perf_counter(), 0.0
        left, every = self.budget.steps_left(until, self.steps, self.tokens), self.config.eval_every
        with use_device(self.device), without_denormals(self.device):
            while left > 0 and not self.diverged and not self.has_stopped:
                self._step()
                left -= 1
                regular = bool(every) and self.steps % every == 0
                if left == 0 or regular:
                    evaluating += self._evaluate(regular)
                evaluating += self._save_between(checkpoint if left > 0 else None)
            evaluating += self._evaluate(False)  # in case there was nothing to train; else it costs nothing
            seconds = perf_counter() - started
            metrics = self._metrics(seconds, (self.tokens - before) / max(seconds - evaluating, 1e-9))
        curve, self._curve = sorted(self._curve.items()), {}
        return metrics, curve

    def _evaluate(self, regular: bool) -> float:
        """Append the validation loss at this position to the curve, or note a divergence; returns the seconds that it took."""
        self._look()  # waits for the device, so that training is not timed as evaluation
        started = perf_counter()
        if not self.diverged and (self._validated is None or self._validated[0] != self.steps):
            self._validated = (self.steps, self._validate())
            self.diverged = not isfinite(self._validated[1].loss)
        if not self.diverged and self._validated is not None:
            self._curve[self.budget.unit_position(self.steps, self.tokens)] = self._validated[1].loss
            if regular:
                self.stopping.observe(self._validated[1].negate_rising(self.config.stop_metric), self.config.min_delta)
        return perf_counter() - started

    def _save_between(self, checkpoint: Callable[[], None] | None) -> float:
        """Saves at every `save_every`-th step, and where a caller may want to; returns the seconds that it took."""
        started = perf_counter()
        if self.config.save_every and self.steps % self.config.save_every == 0 and self.snapshots is not None:
            known = self._validated is not None and self._validated[0] == self.steps and not self.diverged
            value = getattr(self._validated[1], self.config.stop_metric) if known and self._validated else None
            self.snapshots.add(self.steps, self.config.stop_metric, value, self.save)
        if checkpoint is not None:
            checkpoint()
        return perf_counter() - started

    def _validate(self) -> Evaluation:
        if self.average is None:
            return self.validation.measure()
        with self.average.swap_into(self.flat.weights, self.engine.publish):
            return self.validation.measure()

    def _metrics(self, seconds: float, tokens_per_second: float) -> dict[str, float]:
        found = Evaluation(nan, nan) if self.diverged or self._validated is None else self._validated[1]
        measured = {"noise_scale": self.noise.scale * self.size.context} if self.config.noise_every else {}
        return {
            "loss": found.loss,
            "perplexity": found.perplexity,
            "accuracy": found.accuracy,
            "train_loss": self._train_loss.item() if self._has_loss else nan,
            "seconds": seconds,
            "tokens": self.tokens,
            "steps": self.steps,
            "skipped": self.skipped_steps,
            "tokens_per_second": tokens_per_second,
            "parameters": parameters(self.size),
            "flops": self.tokens * self.budget.flops_per_token,
            **measured,
        }

    def _look(self) -> None:
        """Note a divergence. Once the average is not finite it stays so, so no step since the last check is missed."""
        self.diverged = self.diverged or self.guard.is_hopeless or not isfinite(self._train_loss.item())

    @property
    def _first(self) -> int:
        """The number of this process's first sequence of the step at this position."""
        return self.tokens // self.size.context + self.group.rank * self._each

    @property
    def _each(self) -> int:
        """The number of sequences in a step of each process."""
        return self.config.batch // self.group.size

    def _batch(self) -> Tensor:
        """This process's sequences of the step at this position, each with its next token: int64 (_each, context + 1)."""
        length = self.size.context
        starts = self._starts(len(self._text), length, self.seed, self._first, self._each)
        return self._to_device(sequences(self._text, starts, length))

    def _to_device(self, ids: np.ndarray) -> Tensor:
        on_cpu = torch.from_numpy(ids)
        return on_cpu if self.device.type == "cpu" else on_cpu.pin_memory().to(self.device, non_blocking=True)

    def _step(self) -> None:
        """One update from one effective batch."""
        config, ids = self.config, self._batch()
        self._measure_noise(ids)
        self.engine.clear()
        micro = self._each // self.accumulation
        losses = [self._gradient(ids, place, micro, place + micro == self._each) for place in range(0, self._each, micro)]
        loss = self.group.sum(losses[0] if len(losses) == 1 else torch.stack(losses).sum())
        self._finish_noise()
        if self.guard.check_step(self.flat.grads, config, self._norm):
            position = self.budget.schedule_step(self.steps, self.tokens) - self.skipped_steps
            self.engine.update(lr_at(position, self.budget.total_steps, config))
            if self.average is not None:
                self.average.update(self.flat.weights, self.steps + 1 - self.skipped_steps, config.ema)
        self._remember(loss)
        self.steps += 1
        self.tokens += self.budget.step_tokens
        if self.steps % CHECK_EVERY == 0:
            self._look()

    def _remember(self, loss: Tensor) -> None:
        """Add the loss of a step to the average, unless it is not finite and such steps are skipped."""
        if self.config.nonfinite == "skip":
            loss = torch.where(loss.isfinite(), loss, self._train_loss)
        self._train_loss.lerp_(loss, SMOOTHING if self._has_loss else 1.0)
        self._has_loss = True

    def _gradient(self, ids: Tensor, place: int, count: int, last: bool) -> Tensor:
        """Add the gradient of `count` sequences from `place` on; `last` says that they are the last of the step. Returns their
        share of the loss."""
        seed = mix(self.seed, DROPOUT, self._first + place)
        scale = 1.0 if self.guard.scaler is None else self.guard.scaler.scale
        return self.engine.gradient(ids[place : place + count], count / self.config.batch, scale, seed, last)

    def _norm(self, grads: Tensor) -> Tensor:
        """The norm of the gradient, over all devices that hold a part of it."""
        return length(grads) if self.config.sharding == "none" else self.group.norm(grads)

    # -- the gradient noise scale --------------------------------------------------------------------------------------

    def _measure_noise(self, ids: Tensor) -> None:
        """At every `noise_every`-th step, note the squared norm of the gradient of half the batch (or a micro-batch).

        It takes an extra pass, so that measuring changes no bit of the training, and it waits for the device.
        """
        self._half: tuple[int, float] | None = None
        if not self.config.noise_every or self.steps % self.config.noise_every:
            return
        count = min(self._each // self.accumulation, self._each // 2)  # in each process
        self.engine.clear()
        self._gradient(ids, 0, count, True)
        small = count * self.group.size
        self._half = small, self._squared_norm() * (self.config.batch / small) ** 2

    def _finish_noise(self) -> None:
        """Update the estimate, now that the gradient of the whole batch is there."""
        if self._half is not None:
            count, squared = self._half
            self.noise = self.noise.update(squared, self._squared_norm(), count, self.config.batch)

    def _squared_norm(self) -> float:
        """The squared norm of the gradient in the buffer, without the loss scale of fp16."""
        scale = 1.0 if self.guard.scaler is None else self.guard.scaler.scale
        return float(self._norm(self.flat.grads)) ** 2 / scale**2

    def __reduce_ex__(self, protocol: object) -> str | tuple[Any, ...]:
        """Raises TypeError: parameters are views into flat buffers, but copies of them would not be."""
        raise TypeError("a TrainRun cannot be copied or pickled: save it, and load it in another one")

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write weights, moments, averages, loss scale and position, atomically and durably; no hyperparameters."""
        with use_device(self.device):
            saved = self._checkpoint()
        try:
            if self.group.rank == 0:
                checkpoints.write(path, saved)
        finally:
            self.group.wait()  # the others wait here, and would for ever for one that a full disk has stopped

    def _checkpoint(self) -> checkpoints.Checkpoint:
        weights = {name: weight.cpu().numpy() for name, weight in self.engine.named_tensors(self.flat.weights).items()}
        state = {name: self._on_host(moment) for name, moment in self.optimizer.state.items()}
        if self.average is not None:
            state[AVERAGE] = self._on_host(self.average.values)
        position = {
            "steps": self.steps,
            "tokens": self.tokens,
            "updates": self.optimizer.updates.item(),
            "diverged": self.diverged,
            "train_loss": self._train_loss.item() if self._has_loss else None,
            "stopping": asdict(self.stopping) if isfinite(self.stopping.best) else None,
            "noise": self.noise.state(),
            "optimizer": self.config.optimizer,
            "owner": self._owner,
            **({"curve": sorted(self._curve.items())} if self._curve else {}),
            **self.guard.state(),
        }
        return checkpoints.Checkpoint(weights, state, position)

    @property
    def _owner(self) -> str:
        return owner(self.size, self.config, self.seed)

    def _on_host(self, moment: Tensor) -> np.ndarray:
        """An array as long as the weights on the host, joined from all devices that hold a part of it."""
        return (self.engine.gather(moment) if moment.shape == self.flat.weights.shape else moment).cpu().numpy()

    def load(self, path: str | Path) -> None:
        """Go on from a checkpoint of this trial (config and seed); a checkpoint of another trial is adopted.

        A checkpoint that does not name its trial, as earlier versions wrote them, counts as this trial's. If the moments are
        those of another optimizer, they start from zero; if an average is missing, it starts from the weights. ValueError that
        names the file (and the parameter) if it is damaged or does not fit; this run is then unchanged.
        """
        saved = checkpoints.read(path)
        self._take(saved, path, own=saved.position.get("owner", self._owner) == self._owner)

    def adopt(self, path: str | Path) -> None:
        """Clone: take over what another trial has trained, but nothing about how that trial was judged.

        Weights, moments, averages, loss scale and position come from the checkpoint. Early stopping, the guard's usual norm of
        the gradient, the noise scale and a learned rate start anew. A training that was given up goes on, unless its weights are
        not finite. Raises as `load` does.
        """
        self._take(checkpoints.read(path), path, own=False)

    def _take(self, saved: checkpoints.Checkpoint, path: str | Path, own: bool) -> None:
        weights = checkpoint_weights(self.model, saved, path)
        with use_device(self.device):
            self.engine.load_weights(weights)
            whole = layout(weights).size  # the length of the whole weights; this process may hold a part
            arrays = {name: torch.from_numpy(array) for name, array in saved.state.items()}
            state = {name: self.engine.scatter(one) if one.shape == (whole,) else one for name, one in arrays.items()}
            average = state.pop(AVERAGE, self.flat.weights)
            if saved.position.get("optimizer", self.config.optimizer) == self.config.optimizer:
                self.optimizer.restore(state, saved.position["updates"], learned=own)
            else:
                self.optimizer.reset()
            if self.average is not None:
                self.average.values.copy_(average)
            self._restore(saved.position, own)
        if not own:
            self.diverged = not all(bool(weight.isfinite().all()) for weight in weights.values())

    def _restore(self, position: Mapping[str, Any], own: bool) -> None:
        self.steps, self.tokens, self.diverged = position["steps"], position["tokens"], position["diverged"]
        loss = position["train_loss"]
        self._has_loss = self.steps > 0 and loss is not None and (own or isfinite(loss))
        self._train_loss.fill_(loss if self._has_loss else 0.0)
        self._validated = None
        self._curve = {int(place): loss for place, loss in position.get("curve", ())} if own else {}
        self.guard.restore(position, own)
        self.stopping = Stopping(**((own and position.get("stopping")) or {}))
        self.noise = NoiseScale(**position.get("noise", {})) if own else NoiseScale()
