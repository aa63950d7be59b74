"""Hypergradient descent of the learning rate (Baydin et al. 2018, ICLR), for any optimizer.

The derivative of this step's loss by the last step's learning rate is - g_t . u, with the gradient g_t and the last
update w_t = w_{t-1} - lr u (eq. 5 and 7 of the paper). Their multiplicative rule, made free of the size of both, is

    lr_t = lr_{t-1} (1 + rate  g_t . u / (|g_t| |u|))

Here lr_t = factor_t x the schedule's, so that a schedule and its warm-up keep their shape. The change of the weights in
the last step, w_{t-1} - w_t = lr u, has the direction of u for every optimizer whose step is linear in lr, its weight
decay and the rates of its segments included; so nothing needs to be known of the optimizer.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from models.flat import Flat, scalar
from models.norms import cosine

FACTOR, CHANGE = NAMES = ("factor", "change")
# If noise dominates, the product is negative on average, and the factor falls without end; if gradients hardly change direction,
# it grows without end. The bounds keep training from ending for good in the first case, and from overflowing in the second.
LOWEST, HIGHEST = 2.0**-10, 2.0**10


def initial_state(flat: Flat) -> dict[str, Tensor]:
    """The state at the start: a factor of 1 () and no last change (size,)."""
    return {FACTOR: torch.ones_like(flat.weights[0]), CHANGE: torch.zeros_like(flat.weights)}


@contextmanager
def learn_rate(state: dict[str, Tensor], flat: Flat, lr: float | Tensor, rate: float) -> Iterator[Tensor]:
    """A context that learns the factor from the gradient and the last change; gives factor x lr for one update within it."""
    factor, change = state[FACTOR], state[CHANGE]
    factor.mul_(1 + scalar(rate) * cosine(flat.grads, change)).clamp_(LOWEST, HIGHEST)
    change.copy_(flat.weights)
    yield factor * (lr if isinstance(lr, Tensor) else scalar(lr))
    change.sub_(flat.weights)
