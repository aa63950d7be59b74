"""torch.compile: the first step waits for the compiler, less where another trial of the same shapes filled its cache on disk.

Sizes are compiled in; the learning rate is not.
"""

from importlib import import_module

import torch
from torch import Tensor

from models.config import TrainConfig
from models.dropout import Noise
from models.engines.eager import EagerEngine
from models.flat import Flat
from models.gpt import GPT
from models.optimizers.base import Optimizer

SHAPES = 1 << 20  # that may be compiled in a process: more than any trains


class CompileEngine(EagerEngine):
    """The loss is compiled, and with it its gradient; the update is a few kernels as it is.

    Every shape is compiled, however many a process has trained. Otherwise torch goes on without its compiler from the ninth
    on, and does not say so.
    """

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        limits = import_module("torch._dynamo.config")
        for name in ("recompile_limit", "accumulated_recompile_limit"):
            setattr(limits, name, max(SHAPES, getattr(limits, name)))
        self._compiled = torch.compile(super()._loss, dynamic=False)

    @property
    def _private(self) -> bool:
        return False  # a generator cannot be passed into what is compiled

    def _loss(self, ids: Tensor, noise: Noise) -> Tensor:
        return self._compiled(ids, noise)
