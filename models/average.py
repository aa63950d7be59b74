"""An exponential moving average of the weights, and evaluation with it (Polyak & Juditsky 1992; Karras et al. 2018)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """`values` (size,) follow the weights. Early on the average is shorter: decay_t = min(decay, (1 + t) / (10 + t))."""

    def __init__(self, weights: Tensor) -> None:
        self.values = weights.clone()

    @torch.no_grad()
    def follow(self, weights: Tensor, updates: int, decay: float) -> None:
        """After update number `updates` (1 is the first)."""
        self.values.lerp_(weights, 1 - min(decay, (1 + updates) / (10 + updates)))

    @contextmanager
    def instead_of(self, weights: Tensor, changed: Callable[[], None]) -> Iterator[None]:
        """The weights are the average's within, and their own afterwards; `changed` is called whenever they changed."""
        own = weights.clone()
        weights.copy_(self.values)
        changed()
        try:
            yield
        finally:
            weights.copy_(own)
            changed()
