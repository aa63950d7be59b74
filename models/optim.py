"""AdamW and SGD with momentum on one flat buffer.

A small model has dozens of small tensors, and a step over each costs more in calls than in arithmetic. So all weights
live in one flat tensor, and so do all gradients; the parameters of the model are views into them. An update, the norm
of the gradient and clearing the gradient are then a handful of elementwise passes, whatever the number of layers.

Matrices come first in the buffer: weight decay acts on that part alone (norms and biases have none, as in nanoGPT).
Hyperparameters are arguments of every step and never state: a clone trains with its own, not with its parent's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from models.config import TrainConfig

ALIGN = 16  # floats; every parameter starts on a 64-byte boundary, as the fast matrix kernels want


@dataclass(frozen=True)
class Flat:
    """Weights and gradients of a model in two flat float32 tensors (size,), the first `matrices` elements decayed.

    `places` maps the name of a parameter to its (offset, shape). Padding between parameters is zero and stays zero.
    """

    weights: Tensor
    grads: Tensor
    matrices: int
    places: Mapping[str, tuple[int, tuple[int, ...]]]


def flatten(model: nn.Module) -> Flat:
    """Move the weights of a model into one flat buffer; its parameters and their gradients become views into it."""
    named = sorted(model.named_parameters(), key=lambda pair: pair[1].dim() < 2)  # stable: matrices first
    places, end, matrices = {}, 0, 0
    for name, weight in named:
        places[name] = (end, tuple(weight.shape))
        end += -(-weight.numel() // ALIGN) * ALIGN
        matrices = end if weight.dim() >= 2 else matrices
    weights, grads = torch.zeros(2, end, device=named[0][1].device).unbind(0)
    for name, weight in named:
        part = slice(places[name][0], places[name][0] + weight.numel())
        weights[part].copy_(weight.detach().reshape(-1))
        weight.data = weights[part].view(weight.shape)
        weight.grad = grads[part].view(weight.shape)
    return Flat(weights, grads, matrices, places)


def scalar(value: float) -> float:
    """value within float32: torch raises on a factor beyond it, where a rate that is absurd should diverge instead."""
    return max(-3e38, min(3e38, value))


def clip(grads: Tensor, bound: float) -> None:
    """Scale the gradient so that its norm is at most `bound`; 0 is off. As torch's clip_grad_norm_, without a sync."""
    if bound > 0:
        grads.mul_((bound / (torch.linalg.vector_norm(grads) + 1e-6)).clamp(max=1.0))


class AdamW:
    """Adam (Kingma & Ba 2015, alg. 1) with decoupled weight decay (Loshchilov & Hutter 2019, alg. 2).

    Reads beta1, beta2, eps and weight_decay. `updates` counts the steps since
    the moments were zero, for the correction of their bias.
    """

    moments = ("first", "second")

    def __init__(self, flat: Flat) -> None:
        self.flat, self.updates = flat, 0
        self.state = {name: torch.zeros_like(flat.weights) for name in self.moments}
        self._scratch = torch.empty_like(flat.weights)

    def step(self, lr: float, config: TrainConfig) -> None:
        """One update of all weights at learning rate lr, in place."""
        self.updates += 1
        weights, grads = self.flat.weights, self.flat.grads
        first, second = self.state["first"], self.state["second"]
        if config.weight_decay > 0:
            weights[: self.flat.matrices].mul_(scalar(1 - lr * config.weight_decay))
        first.lerp_(grads, 1 - config.beta1)
        second.mul_(config.beta2).addcmul_(grads, grads, value=1 - config.beta2)
        torch.sqrt(second, out=self._scratch).div_(sqrt(1 - config.beta2**self.updates)).add_(config.eps)
        weights.addcdiv_(first, self._scratch, value=scalar(-lr / (1 - config.beta1**self.updates)))


class SGD:
    """Stochastic gradient descent with heavy-ball momentum (Polyak 1964; torch's form, without Nesterov or dampening).

    Reads momentum and weight_decay, which is added to the gradient as L2 of the matrices (not decoupled).
    """

    moments = ("velocity",)

    def __init__(self, flat: Flat) -> None:
        self.flat, self.updates = flat, 0
        self.state = {name: torch.zeros_like(flat.weights) for name in self.moments}

    def step(self, lr: float, config: TrainConfig) -> None:
        """One update of all weights at learning rate lr, in place; the gradient gets the decay added to it."""
        self.updates += 1
        weights, grads, matrices = self.flat.weights, self.flat.grads, self.flat.matrices
        if config.weight_decay > 0:
            grads[:matrices].add_(weights[:matrices], alpha=scalar(config.weight_decay))
        velocity = self.state["velocity"].mul_(config.momentum).add_(grads)
        weights.add_(velocity, alpha=scalar(-lr))


OPTIMIZERS: Mapping[str, type[AdamW] | type[SGD]] = {"adamw": AdamW, "sgd": SGD}
