"""AdamW: Adam (Kingma & Ba 2015, alg. 1) with decoupled weight decay (Loshchilov & Hutter 2019, alg. 2)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from models.config import TrainConfig
from models.flat import Flat
from models.optimizers.base import Optimizer, Part, Parts, Rate, scale_rate


class AdamW(Optimizer):
    """Reads beta1, beta2, eps and weight_decay. State: the two moments, each as long as the weights."""

    moments = ("first", "second")

    def __init__(self, flat: Flat, config: TrainConfig) -> None:
        super().__init__(flat, config)
        self._parts = Parts(flat.segments, [flat.weights, flat.grads, *(self.state[name] for name in self.moments)])

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        adamw(self._parts.of(config), self.updates, lr, config)


def adamw(parts: Iterable[Part], updates: Tensor, lr: Rate, config: TrainConfig) -> None:
    """One step of AdamW on parts whose views are weights, gradients, first and second moments.

    torch's fused kernel reads and writes every array once. Elementwise passes would read them six times, and on a CPU a step
    spends its time waiting for memory.
    """
    for segment, (weights, grads, first, second) in parts:
        torch._fused_adamw_(
            [weights],
            [grads],
            [first],
            [second],
            [],
            [updates],
            lr=scale_rate(lr, segment.rate),
            beta1=config.beta1,
            beta2=config.beta2,
            eps=config.eps,
            weight_decay=segment.decay(config.weight_decay),
            amsgrad=False,
            maximize=False,
        )
