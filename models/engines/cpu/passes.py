"""Forward and backward pass of a whole GPT on a CPU, written out: matrix products of torch, and kernels.c between them.

Autograd would do the same with more calls and more memory traffic. Here buffers are made once, the next norm adds a branch to
the residual stream, the derivative of an activation replaces its input, and gradients of matrices are written directly to
where they belong. predict/support.py names the options of a config that these passes know.
"""

from __future__ import annotations

import ctypes
from math import prod

import torch
from torch import Tensor

from models.config import GPTConfig, TrainConfig
from models.dropout import Noise, branch_mask, mask
from models.engines.cpu.kernels import pointer
from models.engines.cpu.parts import Activation, Attention, Map, Norm, ThroughAutograd
from models.gpt import GPT, Angles, Block, qkv_rows, up_rows
from models.predict.buffers import has_autograd_attention


class Buffers:
    """Buffers that all blocks share: for the backward pass, and for a branch until the next norm adds it."""

    def __init__(self, config: GPTConfig, rows: int) -> None:
        self.more, self.back, self.scaled = (torch.empty(rows, config.hidden) for _ in range(3))
        self.inner, self.qkv = torch.empty(rows, config.inner), torch.empty(rows, sum(qkv_rows(config)))


def branch_factor(config: GPTConfig, scale: float, rows: Tensor, batch: int, noise: Noise) -> Tensor | float | None:
    """The factor on a branch (n, H) before it is added: dropout of elements and of the whole branch, and the scale by depth.

    An array (n, H), a number, or None for 1. Bits are drawn in the order of the eager engine.
    """
    elements = mask(rows, config.dropout, noise)
    whole = branch_mask(rows.view(batch, -1, rows.size(1)), config.layer_dropout, noise)
    if elements is None and whole is None:
        return None if scale == 1 else scale
    factor = torch.full_like(rows, scale) if elements is None else elements.mul_(scale)
    return factor if whole is None else factor.view(batch, -1).mul_(whole.view(-1, 1)).view_as(rows)


class Layer:
    """A block, with the buffers that it keeps for its backward pass."""

    def __init__(
        self, kernels: ctypes.CDLL, block: Block, shape: tuple[int, int], shared: Buffers, angles: Angles
    ) -> None:
        config, rows = block.config, prod(shape)
        self.config, self.scale, self.batch, self.shared = config, block.branch, shape[0], shared
        self.x1, self.x2, self.normed1, self.normed2, y = (torch.empty(rows, config.hidden) for _ in range(5))
        qkv, u, a = (torch.empty(rows, n) for n in (sum(qkv_rows(config)), sum(up_rows(config)), config.inner))
        self.norm1, self.norm2 = Norm(kernels, block.norm1, self.normed1), Norm(kernels, block.norm2, self.normed2)
        self.qkv, self.mix = Map(block.qkv, self.normed1, qkv), Map(block.mix, y, shared.more)
        self.up, self.down = Map(block.up, self.normed2, u), Map(block.down, a, shared.more)
        self.activation = Activation(kernels, config.activation, u, a)
        self.attention = (
            ThroughAutograd(block, qkv, y, shape[1], angles)
            if has_autograd_attention(config)
            else Attention(kernels, block, qkv, y, shape[1], angles)
        )

    def forward(self, x: Tensor, more: Tensor | None, noise: Noise) -> Tensor:
        """From the residual stream x + more. Its new value is the sum of what is returned (the stream after attention) and
        `shared.more`."""
        x = self.norm1.forward(x, more, None if more is None else self.x1)
        self.qkv.forward()
        self.attention.forward(noise)
        self.mix.forward()
        self.first = self._scale_branch(noise)
        x = self.norm2.forward(x, self.shared.more, self.x2)
        self.up.forward()
        self.activation.forward()
        self.down.forward()
        self.second = self._scale_branch(noise)
        return x

    def _scale_branch(self, noise: Noise) -> Tensor | float | None:
        factor = branch_factor(self.config, self.scale, self.shared.more, self.batch, noise)
        if factor is not None:
            self.shared.more.mul_(factor)
        return factor

    def backward(self, g: Tensor, fresh: bool) -> None:
        """Turn g, the gradient of the residual stream after the block, into the gradient before the block."""
        shared = self.shared
        self.down.backward(self._branch_gradient(g, self.second), shared.inner, fresh)
        self.up.backward(self.activation.backward(shared.inner), shared.back, fresh)
        self.norm2.backward(shared.back, g)
        self.mix.backward(self._branch_gradient(g, self.first), shared.back, fresh)
        self.attention.backward(shared.back, shared.qkv)
        self.qkv.backward(shared.qkv, shared.back, fresh)
        self.norm1.backward(shared.back, g)

    def _branch_gradient(self, g: Tensor, factor: Tensor | float | None) -> Tensor:
        """The gradient of a branch's output."""
        return g if factor is None else torch.mul(g, factor, out=self.shared.scaled)


class Passes:
    """Loss and gradient of a model for one shape (B, T) of sequences. Parameters must have their gradients in place.

    ValueError for sequences that are longer than the context.
    """

    def __init__(self, kernels: ctypes.CDLL, model: GPT, training: TrainConfig, shape: tuple[int, int]) -> None:
        config, rows = model.config, prod(shape)
        if shape[1] > config.context:
            raise ValueError(f"sequences are {shape[1]} tokens long, but the context is {config.context}")
        self.kernels, self.model, self.training, self.shape = kernels, model, training, shape
        self.shared = Buffers(config, rows)
        self.layers = [Layer(kernels, block, shape, self.shared, model.angles) for block in model.blocks]  # type: ignore[arg-type]
        self.x, self.last, self.normed, self.g = (torch.empty(rows, config.hidden) for _ in range(4))
        self.norm = Norm(kernels, model.norm, self.normed)
        self.logits = torch.empty(rows, config.words)
        head = (model.tokens if model.head is None else model.head).weight
        assert head.grad is not None
        self.head, self.head_gradient = head.detach(), head.grad
        positions = model.positions
        self._tables = pointer(model.tokens.weight), pointer(None if positions is None else positions.weight)
        self._gradients = pointer(model.tokens.weight.grad), pointer(None if positions is None else positions.weight.grad)

    @torch.no_grad()
    def gradient(self, ids: Tensor, noise: Noise, factor: float, fresh: bool) -> float:
        """Add `factor` times the gradient of the mean loss of ids (B, T + 1); returns that loss, in nats per token.

        If `fresh`, gradients of the blocks' matrices are written, whatever lies there; all others are added. IndexError for a
        token that is not in the vocabulary.
        """
        ids = ids.to(torch.int64)
        self._check(ids)
        inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        self._forward(inputs, noise)
        loss = self.kernels.token_loss(
            pointer(self.logits), pointer(targets), *self.logits.shape,
            self.training.label_smoothing, self.training.z_loss, factor,
        )  # fmt: skip
        self._backward(inputs, fresh)
        return float(loss)

    def _check(self, ids: Tensor) -> None:
        every, words = ids.contiguous().view(-1), self.model.config.words
        at = self.kernels.stranger(pointer(every), len(every), words)
        if at < len(every):
            raise IndexError(f"token is {every[at].item()}, but must be at least 0 and below the vocabulary, {words}")

    def _forward(self, ids: Tensor, noise: Noise) -> None:
        rows, (_, length) = self.x.size(0), self.shape
        self.kernels.embed(pointer(ids), *self._tables, pointer(self.x), rows, length, self.x.size(1))
        self.embedded = mask(self.x, self.model.config.embedded_dropout, noise)
        if self.embedded is not None:
            self.x.mul_(self.embedded)
        x, more = self.x, None
        for layer in self.layers:
            x, more = layer.forward(x, more, noise), self.shared.more
        self.norm.forward(x, more, self.last)
        if self.model.scale != 1:
            self.normed.mul_(self.model.scale)
        torch.mm(self.normed, self.head.t(), out=self.logits)

    def _backward(self, ids: Tensor, fresh: bool) -> None:
        rows, (_, length) = self.x.size(0), self.shape
        self.head_gradient.addmm_(self.logits.t(), self.normed)
        torch.mm(self.logits, self.head, out=self.shared.back)
        if self.model.scale != 1:
            self.shared.back.mul_(self.model.scale)
        self.norm.backward(self.shared.back, self.g.zero_())
        for layer in reversed(self.layers):
            layer.backward(self.g, fresh)
        if self.embedded is not None:
            self.g.mul_(self.embedded)
        self.kernels.embed_backward(pointer(ids), pointer(self.g), *self._gradients, rows, length, self.g.size(1))
