"""Adafactor: second moments of matrices only by row and by column (Shazeer & Stern 2018).

Algorithms 4 (matrices) and 5 (vectors) with update clipping (section 6, d = 1) and without relative step sizes: the rate comes
from the schedule, and an update has a root mean square of at most 1, so rates are on the scale of AdamW's.

    lr      used directly; the paper's alpha_t = max(eps2, RMS(weights)) rho_t and its rho_t are left out
    beta2   a cap on the paper's 1 - t^-0.8 (section 7.2), as in Zhai et al. 2022 (0.999 there)
    eps     in units of the gradient, like Adam's: the paper's eps1 (1e-30, added to the squares) is eps^2, at least 1e-30
    beta1   for a first moment of the clipped update; with 0 there is none, as in the paper's memory-saving form

With a constant rate these are the steps of transformers.Adafactor(scale_parameter=False, relative_step=False). There the first
moment holds updates times the rates of their steps. Here it holds updates alone, so that a rate acts only on its own step;
otherwise a clone would train with its parent's rate.
"""

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from models.config import TrainConfig
from models.flat import Flat
from models.optimizers.base import Optimizer, Rate, descend, scale_rate
from models.optimizers.matrices import Stack, stacks

DECAY = -0.8  # beta2 of step t is 1 - t^DECAY
LEAST = 1e-30  # the least that is added to squares: the paper's eps1


class Views(NamedTuple):
    """A stack (N, R, C) with its part of the state. `squares` is None for matrices; `rows` and `columns` are None for vectors."""

    stack: Stack
    weights: Tensor  # (N, R, C)
    grads: Tensor  # (N, R, C)
    first: Tensor | None  # (N, R, C)
    rows: Tensor | None  # (N, R)
    columns: Tensor | None  # (N, C)
    squares: Tensor | None  # (N, 1, C)


class Adafactor(Optimizer):
    """Reads beta1, beta2, eps and weight_decay (decoupled), as above.

    State: for matrices, means of the squared gradient over rows and over columns, one after another; for vectors, the squares.
    "first", which is as long as the weights, exists only if the config at the start has beta1 > 0.
    """

    moments = ("rows", "columns", "squares")

    def __init__(self, flat: Flat, config: TrainConfig) -> None:
        super().__init__(flat, config)
        self._views = tuple(self._split())

    def _stacks(self, decayed: bool) -> list[Stack]:
        return [stack for one in self.flat.segments if one.decayed == decayed for stack in stacks(self.flat, one)]

    def _zeros(self, config: TrainConfig) -> dict[str, Tensor]:
        matrices, vectors, weights = self._stacks(True), self._stacks(False), self.flat.weights
        zeros = {
            "rows": weights.new_zeros(sum(stack.count * stack.rows for stack in matrices)),
            "columns": weights.new_zeros(sum(stack.count * stack.columns for stack in matrices)),
            "squares": weights.new_zeros(sum(stack.count * stack.columns for stack in vectors)),
        }
        return zeros | ({"first": torch.zeros_like(weights)} if config.beta1 > 0 else {})

    def _split(self) -> Iterator[Views]:
        matrices, vectors, state = self._stacks(True), self._stacks(False), self.state
        rows = state["rows"].split([stack.count * stack.rows for stack in matrices])
        columns = state["columns"].split([stack.count * stack.columns for stack in matrices])
        squares = state["squares"].split([stack.count * stack.columns for stack in vectors])
        for stack, row, column in zip(matrices, rows, columns, strict=True):
            yield Views(stack, *self._large(stack), row.view(stack.count, -1), column.view(stack.count, -1), None)
        for stack, square in zip(vectors, squares, strict=True):
            yield Views(stack, *self._large(stack), None, None, square.view(stack.count, 1, -1))

    def _large(self, stack: Stack) -> tuple[Tensor, Tensor, Tensor | None]:
        first = self.state.get("first")
        return stack.of(self.flat.weights), stack.of(self.flat.grads), None if first is None else stack.of(first)

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        newest = self.updates.to(self.flat.weights.dtype).pow(DECAY).clamp(min=1 - config.beta2)  # 1 - beta2 of step t
        floor = max(config.eps**2, LEAST)
        for views in self._views:
            update = clip_updates(_normalise(views, newest, floor))
            if views.first is not None:
                update = views.first.lerp_(update, 1 - config.beta1)
            segment = views.stack.segment
            descend(views.weights, update, scale_rate(lr, segment.rate), segment.decay(config.weight_decay))


def _normalise(views: Views, newest: Tensor, floor: float) -> Tensor:
    """The gradients over the root of their second moments, in which the new squares have weight `newest`; (N, R, C)."""
    grads, rows, columns = views.grads, views.rows, views.columns
    if rows is None or columns is None:
        assert views.squares is not None
        return grads * views.squares.lerp_(grads.square().add_(floor), newest).rsqrt()
    rows.lerp_(_mean_square(grads, -1).add_(floor), newest)
    columns.lerp_(_mean_square(grads, -2).add_(floor), newest)
    # The estimate is rows x columns / mean(rows), a matrix of rank one; its root is taken factor by factor.
    by_row = (rows / rows.mean(-1, keepdim=True)).rsqrt_()
    return (grads * by_row.unsqueeze(-1)).mul_(columns.rsqrt().unsqueeze(-2))


def _mean_square(x: Tensor, dim: int) -> Tensor:
    """The mean of squares along a dimension, without an array of squares."""
    return torch.linalg.vector_norm(x, dim=dim).square_().div_(x.size(dim))


def clip_updates(update: Tensor, bound: float = 1.0) -> Tensor:
    """Scales each matrix of update (N, R, C) in place to a root mean square of at most `bound`."""
    dims: Sequence[int] = (-2, -1)
    size = torch.linalg.vector_norm(update, dim=dims, keepdim=True) / sqrt(update.size(-2) * update.size(-1))
    return update.div_((size / bound).clamp_(min=1.0))
