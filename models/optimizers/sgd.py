"""Stochastic gradient descent with momentum."""

import torch

from models.config import TrainConfig
from models.flat import Flat
from models.optimizers.base import Optimizer, Parts, Rate, scale_rate


class SGD(Optimizer):
    """Heavy-ball momentum (Polyak 1964), or Nesterov's in the form of Sutskever et al. 2013; as in torch, without dampening.

    Reads momentum, nesterov and weight_decay, which is added to the gradient as L2 of the matrices (not decoupled).
    State: the velocity, as long as the weights.
    """

    moments = ("velocity",)

    def __init__(self, flat: Flat, config: TrainConfig) -> None:
        super().__init__(flat, config)
        self._parts = Parts(flat.segments, [flat.weights, flat.grads, self.state["velocity"]])

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        for segment, (weights, grads, velocity) in self._parts.of(config):
            torch._fused_sgd_(
                [weights],
                [grads],
                [velocity] if config.momentum > 0 else [],  # the kernel refuses a velocity that it does not need
                lr=scale_rate(lr, segment.rate),
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=segment.decay(config.weight_decay),
                dampening=0.0,
                maximize=False,
                is_first_step=False,
            )
        if config.momentum == 0:  # a clone with momentum goes on from the last gradient, not from an old velocity
            self.state["velocity"].copy_(self.flat.grads)
