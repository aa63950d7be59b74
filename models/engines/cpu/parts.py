"""The parts of a pass. Each reads and writes buffers that are made once, and has its own backward pass.

    n = B T rows; H, N, K, D, F as in gpt.py. Gradients of matrices are written, or added if `fresh` is false; all others are
    added. A backward pass gets the gradient of its output, and writes that of its input to a buffer of the caller.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from models.dropout import Noise
from models.engines.cpu.kernels import pointer
from models.gpt import Angles, Block

KINDS = {"gelu": 0, "gelu_tanh": 1, "relu2": 2, "swiglu": 3}  # of `activate`


class Map:
    """y = x W^T + b, from the buffer x (n, in) to the buffer y (n, out)."""

    def __init__(self, layer: nn.Linear, x: Tensor, y: Tensor) -> None:
        assert layer.weight.grad is not None
        self.x, self.y, self.bias, self.weight = x, y, layer.bias, layer.weight.detach()
        self.turned, self.gradient = self.weight.t(), layer.weight.grad

    def forward(self) -> None:
        if self.bias is None:
            torch.mm(self.x, self.turned, out=self.y)
        else:
            torch.addmm(self.bias, self.x, self.turned, out=self.y)

    def backward(self, dy: Tensor, dx: Tensor, fresh: bool) -> None:
        """Writes dx."""
        if fresh:
            torch.mm(dy.t(), self.x, out=self.gradient)
        else:
            self.gradient.addmm_(dy.t(), self.x)
        if self.bias is not None:
            assert self.bias.grad is not None
            self.bias.grad.add_(dy.sum(0))
        torch.mm(dy, self.weight, out=dx)


class Norm:
    """y = norm(x), or norm(x + more), where sum and norm are computed in one pass."""

    def __init__(self, kernels: ctypes.CDLL, layer: nn.Module, y: Tensor) -> None:
        assert isinstance(layer, nn.LayerNorm | nn.RMSNorm)
        self.kernels, self.rows, self.width = kernels, y.size(0), y.size(1)
        self.rms, self.eps = isinstance(layer, nn.RMSNorm), float(layer.eps or 0.0)
        bias = getattr(layer, "bias", None)
        self.y, self.stats = y, torch.empty(y.size(0), 2)
        self._weights = pointer(layer.weight), pointer(bias)
        self._gradients = pointer(layer.weight.grad), pointer(None if bias is None else bias.grad)
        self._x: Tensor | None = None

    def forward(self, x: Tensor, more: Tensor | None = None, total: Tensor | None = None) -> Tensor:
        """Returns the array that was normalised: x, or total = x + more."""
        self.kernels.norm(
            pointer(x), pointer(more), pointer(total), *self._weights, pointer(self.y), pointer(self.stats),
            self.rows, self.width, self.eps, self.rms,
        )  # fmt: skip
        self._x = x if total is None else total
        return self._x

    def backward(self, dy: Tensor, dx: Tensor) -> None:
        """Adds to dx."""
        self.kernels.norm_backward(
            pointer(dy), pointer(self._x), pointer(self.stats), self._weights[0], pointer(dx), *self._gradients,
            self.rows, self.width, self.rms,
        )  # fmt: skip


class Attention:
    """From queries, keys and values (n, (N + 2 K) D) to y (n, N D): causal, with shared keys and rotary positions if the model
    has them. Queries and keys are rotated in place."""

    def __init__(self, kernels: ctypes.CDLL, block: Block, qkv: Tensor, y: Tensor, length: int, angles: Angles) -> None:
        config, batch = block.config, y.size(0) // length
        self.kernels, self.qkv, self.y = kernels, qkv, y
        self.logs = torch.empty(batch, config.heads, length)
        self.sizes = batch, length, config.heads, config.keys, config.head, block.scale
        self.turning = batch, length, config.heads + config.keys, config.head, qkv.size(1)
        self.angles = angles

    def forward(self, noise: Noise) -> None:
        self._turn(self.qkv, 1.0)
        _check(self.kernels.attention(pointer(self.qkv), pointer(self.y), pointer(self.logs), *self.sizes))

    def backward(self, dy: Tensor, dqkv: Tensor) -> None:
        arrays = (pointer(array) for array in (dy, self.qkv, self.y, self.logs, dqkv))
        _check(self.kernels.attention_backward(*arrays, *self.sizes))
        self._turn(dqkv, -1.0)

    def _turn(self, rows: Tensor, sign: float) -> None:
        if self.angles is not None:
            cos, sin = self.angles
            self.kernels.rotate(pointer(rows), pointer(cos), pointer(sin), sign, *self.turning)


def _check(short: int) -> None:
    if short:
        raise MemoryError("there is not enough memory for attention")


class ThroughAutograd:
    """Attention of any model as gpt.py computes it, with the gradient by autograd."""

    def __init__(self, block: Block, qkv: Tensor, y: Tensor, length: int, angles: Angles) -> None:
        self.block, self.angles, self.y = block, angles, y
        self.qkv = qkv.view(-1, length, qkv.size(1))
        self._recorded: tuple[Tensor, Tensor] | None = None  # input and output

    @torch.enable_grad()
    def forward(self, noise: Noise) -> None:
        leaf = self.qkv.detach().requires_grad_()
        out = self.block.attention_output(leaf, self.angles, noise)
        self.y.view(out.shape).copy_(out.detach())  # heads of width 1 have another memory layout
        self._recorded = leaf, out

    def backward(self, dy: Tensor, dqkv: Tensor) -> None:
        assert self._recorded is not None
        (leaf, out), self._recorded = self._recorded, None
        # As torch.autograd.backward(out, dy) does, which imports sympy at its first call: a second of every process.
        gradient = dy.view(out.shape)  # the hook must not refer to `out`, or both would stay alive
        out.register_hook(lambda _: gradient)
        with torch.enable_grad():
            total = out.sum()
        total.backward()
        assert leaf.grad is not None
        dqkv.view(leaf.shape).copy_(leaf.grad)


class Activation:
    """a (n, F) from u (n, F), or from a gate and a value (n, 2 F). The derivative replaces u in its buffer."""

    def __init__(self, kernels: ctypes.CDLL, kind: str, u: Tensor, a: Tensor) -> None:
        self.kernels, self.kind, self.u, self.a = kernels, KINDS[kind], u, a
        self._gates = u.view(a.size(0), -1, a.size(1))

    def forward(self) -> None:
        self.kernels.activate(pointer(self.u), pointer(self.a), *self.a.shape, self.kind)

    def backward(self, da: Tensor) -> Tensor:
        """Returns the gradient of u, which replaces u in its buffer."""
        self._gates.mul_(da.unsqueeze(1))
        return self.u
