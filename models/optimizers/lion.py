"""Lion, evolved sign momentum (Chen et al. 2023, "Symbolic discovery of optimization algorithms", alg. 2)."""

import torch

from models.config import TrainConfig
from models.flat import Flat
from models.optimizers.base import Optimizer, Parts, Rate, descend, scale_rate
from models.optimizers.rows import PIECE


class Lion(Optimizer):
    """The sign of a mean of gradient and momentum. Reads beta1 (of that mean), beta2 (of the momentum), weight_decay.

    The published defaults are beta1 0.9, beta2 0.99, a rate 3 to 10 times lower than AdamW's, and a weight decay as many times
    higher. State: the momentum, as long as the weights.
    """

    moments = ("sign_momentum",)

    def __init__(self, flat: Flat, config: TrainConfig) -> None:
        super().__init__(flat, config)
        longest = PIECE if flat.weights.device.type == "cpu" else None
        self._parts = Parts(flat.segments, [flat.weights, flat.grads, self.state["sign_momentum"]], longest)
        size = flat.weights.numel()
        self._scratch = torch.empty_like(flat.weights[: min(size, longest or size)])

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        for segment, (weights, grads, momentum) in self._parts.of(config):
            update = self._scratch[: weights.numel()]
            torch.lerp(momentum, grads, 1 - config.beta1, out=update).sign_()
            descend(weights, update, scale_rate(lr, segment.rate), segment.decay(config.weight_decay))
            momentum.lerp_(grads, 1 - config.beta2)
