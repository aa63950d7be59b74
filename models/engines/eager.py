"""The eager engine: one operation after the other, with gradients by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from models.config import TrainConfig
from models.dropout import GLOBAL, Noise
from models.engines.engine import Engine
from models.flat import Flat, clip, flatten, view
from models.gpt import GPT
from models.loss import token_loss
from models.optimizers.base import Optimizer
from models.precision import context


class EagerEngine(Engine):
    """The engine by autograd. `copies` is the number of processes whose gradients are averaged (distributed/)."""

    copies = 1

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        self.model, self.flat, self.optimizer, self.config = model, flat, optimizer, config
        self.device = flat.weights.device
        self._own = torch.Generator() if model.config.has_dropout and self._private else None

    @classmethod
    def flat_buffers(cls, model: GPT, rates: Mapping[str, float], config: TrainConfig) -> Flat:
        return flatten(model, rates)

    @property
    def _private(self) -> bool:
        """Whether dropout draws from a generator that belongs to this run alone."""
        return self.device.type == "cpu"

    def clear(self) -> None:
        self.flat.grads.zero_()

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        with self._seed_dropout(seed), self._exchange(last):
            loss = self._loss(ids, self._noise()) * share
            (loss if scale * self.copies == 1 else loss * (scale * self.copies)).backward()
        if last:
            self._collect()
        return loss.detach()

    @torch.no_grad()
    def update(self, lr: float) -> None:
        clip(self.flat.grads, self.config.clip)
        self.optimizer.step(lr, self.config)

    def publish(self) -> None:
        """Does nothing: the parameters of the model are views into `flat.weights`."""

    def named_tensors(self, buffer: Tensor) -> dict[str, Tensor]:
        return {name: view(buffer, place) for name, place in self.flat.places.items()}

    def gather(self, buffer: Tensor) -> Tensor:
        return buffer

    def scatter(self, buffer: Tensor) -> Tensor:
        return buffer

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        for name, place in self.named_tensors(self.flat.weights).items():
            place.copy_(weights[name])

    def _exchange(self, last: bool) -> AbstractContextManager[object]:
        """A context in which a backward pass exchanges gradients with other processes if it is the last of a step."""
        return nullcontext()

    def _collect(self) -> None:
        """After the last backward pass of a step: copy gradients that are not in `flat.grads` there."""

    def _noise(self) -> Noise:
        return (self._own or GLOBAL) if self.model.config.has_dropout else None

    def _seed_dropout(self, seed: int) -> AbstractContextManager[object]:
        """Seed dropout. Some generators are seeded at once, others only in the context that is returned."""
        if self._own is not None:
            self._own.manual_seed(seed)
        elif self.model.config.has_dropout and self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.model.config.has_dropout:
            return _GlobalSeed(seed)
        return nullcontext()

    def _loss(self, ids: Tensor, noise: Noise) -> Tensor:
        with context(self.config.precision, self.device):
            logits = self._forward(ids[:, :-1], noise)
        return token_loss(logits, ids[:, 1:], self.config)

    def _forward(self, ids: Tensor, noise: Noise) -> Tensor:
        return self.model(ids, noise)  # type: ignore[no-any-return]


class _GlobalSeed:
    """A context in which the global generator of the CPU is seeded; afterwards it is as before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.before = torch.get_rng_state()
        torch.default_generator.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.before)
