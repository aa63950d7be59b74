"""Muon: orthogonalised momentum for the matrices of blocks, AdamW for the rest (Jordan et al. 2024).

The published method is the blog post at kellerjordan.github.io/posts/muon; the size of the update is that of Liu et al.
2025 ("Muon is scalable for LLM training", eq. 4), so that one learning rate and one weight decay serve both parts.
"""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from models.config import TrainConfig
from models.flat import Flat
from models.norms import normalise
from models.optimizers.adamw import adamw
from models.optimizers.base import Optimizer, Parts, Rate, descend, scale_rate, shrink
from models.optimizers.matrices import Stack, stacks

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic a x + b x^3 + c x^5: steep at 0, and near 1 from 0.7 to 1.2
ITERATIONS = 5
TINY = 1e-7  # a matrix whose norm is below it is not normalised
SIZE = 0.2  # root mean square of an update's elements; Adam's usual


class Muon(Optimizer):
    """Reads momentum (matrices of blocks; 0.95 as published), beta1, beta2, eps (the rest) and weight_decay (both).

    Nesterov momentum as published, whatever `nesterov` says. If a parameter consists of several matrices (queries, keys,
    values), each is orthogonalised separately. State: the momentum of the matrices of blocks, and AdamW's two moments of the
    rest, each as long as its weights.
    """

    moments = ("momentum", "first", "second")

    def __init__(self, flat: Flat, config: TrainConfig) -> None:
        super().__init__(flat, config)
        hidden, rest = _border(flat), [one for one in flat.segments if one.kind != "hidden"]
        buffers = [flat.weights[hidden:], flat.grads[hidden:], self.state["first"], self.state["second"]]
        self._rest = Parts(rest, buffers)
        found = [stack for one in flat.segments if one.kind == "hidden" for stack in stacks(flat, one)]
        self._groups = _of_one_shape(found)
        self._hidden = flat.segments[0] if found else None

    def _zeros(self, config: TrainConfig) -> dict[str, Tensor]:
        hidden, weights = _border(self.flat), self.flat.weights
        lengths = {"momentum": weights[:hidden], "first": weights[hidden:], "second": weights[hidden:]}
        return {name: torch.zeros_like(part) for name, part in lengths.items()}

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        adamw(self._rest.of(config), self.updates, lr, config)
        if self._hidden is None:
            return
        grads, momentum = self.flat.grads[: self._hidden.stop], self.state["momentum"]
        momentum.lerp_(grads, 1 - config.momentum)
        direction = torch.lerp(grads, momentum, config.momentum)  # Nesterov
        lr = scale_rate(lr, self._hidden.rate)
        if config.weight_decay > 0:
            shrink(self.flat.weights[: self._hidden.stop], lr, self._hidden.decay(config.weight_decay))
        for group in self._groups:
            self._descend(group, direction, lr)

    def _descend(self, group: Sequence[Stack], direction: Tensor, lr: Rate) -> None:
        """Subtract the orthogonalised direction from the matrices of one shape; all of them are orthogonalised together."""
        batch = torch.cat([_wide(stack.of(direction)) for stack in group])
        dtype = torch.bfloat16 if batch.is_cuda else batch.dtype  # on a CPU bfloat16 is slower, even if it is not emulated
        updates = orthogonalise(batch.to(dtype)).to(batch.dtype)
        lr = scale_rate(lr, SIZE * sqrt(max(group[0].rows, group[0].columns)))
        for stack, update in zip(group, updates.split([stack.count for stack in group]), strict=True):
            tall = stack.rows > stack.columns
            descend(stack.of(self.flat.weights), update.mT if tall else update, lr, decay=0.0)


def orthogonalise(x: Tensor) -> Tensor:
    """Nearly U V^T for each matrix U S V^T in x (count, rows <= columns): singular values become about 0.7 to 1.2.

    Five Newton-Schulz steps of a quintic, X <- a X + (b X X^T + c (X X^T)^2) X, from X / |X|. Singular values below about a
    thousandth of |X| stay smaller.
    """
    x = normalise(x, (-2, -1), TINY)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x


def _wide(x: Tensor) -> Tensor:
    """x or its transpose, whichever has fewer rows: products are over rows, and a shape and its transpose count as one."""
    return x.mT if x.size(-2) > x.size(-1) else x


def _border(flat: Flat) -> int:
    """The element at which the matrices of blocks end."""
    return flat.segments[0].stop if flat.segments[0].kind == "hidden" else 0


def _of_one_shape(found: Sequence[Stack]) -> list[list[Stack]]:
    groups: dict[tuple[int, int], list[Stack]] = {}
    for stack in found:
        shape = (min(stack.rows, stack.columns), max(stack.rows, stack.columns))
        groups.setdefault(shape, []).append(stack)
    return list(groups.values())
