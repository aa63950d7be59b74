"""An exponential moving average of the weights, and evaluation with it (Polyak & Juditsky 1992; Karras et al. 2018)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """`values` (size,) follow the weights. At first the average is over fewer steps: decay_t = min(decay, (1 + t) / (10 + t))."""

    def __init__(self, weights: Tensor) -> None:
        self.values = weights.clone()

    @torch.no_grad()
    def update(self, weights: Tensor, updates: int, decay: float) -> None:
        """Take in the weights after update number `updates`; the first update is number 1."""
        self.values.lerp_(weights, 1 - min(decay, (1 + updates) / (10 + updates)))

    @contextmanager
    def swap_into(self, weights: Tensor, publish: Callable[[], None]) -> Iterator[None]:
        """A context in which `weights` hold the average; afterwards they are as before. `publish` is called after each swap."""
        own = weights.clone()
        weights.copy_(self.values)
        publish()
        try:
            yield
        finally:
            weights.copy_(own)
            publish()
