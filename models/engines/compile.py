"""torch.compile: the first step waits for the compiler; less, if a trial of the same shapes has filled its cache on disk.

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

SHAPES = 1 << 20  # the most shapes compiled in a process: more than any process trains


class CompileEngine(EagerEngine):
    """The loss and its gradient are compiled; the update is only a few kernels already.

    Every shape is compiled, however many a process has trained. By default torch would stop compiling at the ninth shape
    without a message.
    """

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        limits = import_module("torch._dynamo.config")
        for name in ("recompile_limit", "accumulated_recompile_limit"):
            setattr(limits, name, max(SHAPES, getattr(limits, name)))
        self._compiled = torch.compile(super()._loss, dynamic=False)

    @property
    def _private(self) -> bool:
        return False  # compiled code cannot take a generator

    def _loss(self, ids: Tensor, noise: Noise) -> Tensor:
        return self._compiled(ids, noise)
