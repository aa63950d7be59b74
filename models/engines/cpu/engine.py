"""The engine of a CPU: the passes of passes.py instead of autograd's."""

from __future__ import annotations

import torch
from torch import Tensor

from models.config import TrainConfig
from models.engines.cpu.kernels import library
from models.engines.cpu.passes import Passes
from models.engines.engine import Engine
from models.flat import Flat
from models.gpt import GPT
from models.optimizers.base import Optimizer


def suits(config: TrainConfig, device: torch.device, threads: int) -> bool:
    """Whether a training can be carried out by hand: in float32, by one thread of a CPU for which kernels.c compiles."""
    plain = config.precision == "float32" and not config.activation_checkpointing
    return device.type == "cpu" and threads == 1 and plain and library() is not None


class ByHand(Engine):
    """Values are those of the eager engine up to rounding."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self._passes: dict[tuple[int, int], Passes] = {}
        self._fresh = True
        first = flat.segments[0]
        self._blocks = first.stop if first.kind == "hidden" else 0  # the elements that a fresh pass writes over

    def clear(self) -> None:
        self._fresh = True
        self.flat.grads[self._blocks :].zero_()

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        shape = ids.size(0), ids.size(1) - 1
        if shape not in self._passes:
            kernels = library()
            assert kernels is not None
            self._passes[shape] = Passes(kernels, self.model, self.config, shape)
        with self._seeded(seed):
            loss = self._passes[shape].gradient(ids, self._noise(), share * scale, self._fresh)
        self._fresh = False
        return torch.tensor(loss * share)
