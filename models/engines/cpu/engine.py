"""The engine of a CPU: the passes of passes.py instead of autograd's."""

from __future__ import annotations

import logging
from functools import cache

import torch
from torch import Tensor

from models.config import GPTConfig, TrainConfig
from models.engines.cpu.kernels import library
from models.engines.cpu.passes import Passes
from models.engines.eager import EagerEngine
from models.flat import Flat
from models.gpt import GPT
from models.optimizers.base import Optimizer
from models.predict.support import has_passes, unknown_option

_log = logging.getLogger(__name__)


def is_supported(size: GPTConfig, training: TrainConfig, device: torch.device, threads: int) -> bool:
    """Whether this engine can train a configuration. It trains in float32, in one thread of a CPU for which kernels.c compiles.

    An option that its passes do not know is logged once in a process.
    """
    if device.type != "cpu" or threads != 1:
        return False
    option = unknown_option(size, training)
    if option is not None:
        _warn(option)
    return has_passes(size, training) and library() is not None


@cache
def _warn(option: str) -> None:
    _log.warning("training goes through autograd, slower: the engine of a CPU does not know %s", option)


class CPUEngine(EagerEngine):
    """Gives the values of the eager engine up to rounding. ValueError for a configuration that its passes cannot train."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        if not has_passes(model.config, config):
            option = unknown_option(model.config, config) or f"precision {config.precision!r} or activation checkpointing"
            raise ValueError(f"the engine of a CPU does not know {option}, and the eager one does")
        self._passes: dict[tuple[int, int], Passes] = {}
        self._fresh = True
        first = flat.segments[0]
        self._blocks = first.stop if first.kind == "hidden" else 0  # how many elements a fresh pass overwrites

    def clear(self) -> None:
        self._fresh = True
        self.flat.grads[self._blocks :].zero_()

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        shape = ids.size(0), ids.size(1) - 1
        if shape not in self._passes:
            kernels = library()
            assert kernels is not None
            self._passes[shape] = Passes(kernels, self.model, self.config, shape)
        with self._seed_dropout(seed):
            loss = self._passes[shape].gradient(ids, self._noise(), share * scale, self._fresh)
        self._fresh = False
        return torch.tensor(loss * share)
