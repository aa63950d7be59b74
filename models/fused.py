"""The hot path on a CPU: linear maps and feed-forward with hand-written backward passes that touch less memory.

    linear        the gradient of a weight is added to the buffer where it belongs by the product itself, and what is
                  added to the residual stream by the product that makes it
    feedforward   one step from norm to residual stream; its gradient changes in place

Two things that looked better were not, at 1M parameters: bands of rows that stay in the cache (the products lose more than
the activation gains) and attention by plain products (no faster than torch's kernel).

Arrays are freed and wanted again at every step. glibc gives large ones back to the system, which hands them out page by
page, cleared, each time; `keep_memory` makes it keep them.

A parameter takes part in this if it says where its gradient belongs: `weight.home`, a view into a buffer (`house`).
Without it, gradients are returned to autograd as always; the values are the same.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Bytes. Once memory of this size was freed, glibc keeps what smaller arrays free; it takes no notice of larger ones.
KEPT = (32 << 20) - (1 << 16)

aten = torch.ops.aten


def suits(x: Tensor) -> bool:
    """Whether x takes the hot path: float32 on a CPU, outside autocast and compilation."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32


@lru_cache(maxsize=1)
def keep_memory() -> None:
    """From now on, memory of arrays that were freed stays with this process."""
    torch.empty(KEPT, dtype=torch.uint8)


class Home:
    """Where a gradient belongs. What lies there counts only if it is not `fresh`: then it is written over, not added to."""

    __slots__ = ("fresh", "place")

    def __init__(self, place: Tensor) -> None:
        self.place, self.fresh = place, False

    def take(self, g: Tensor, x: Tensor) -> None:
        """Add g^T x for rows g (n, out) and x (n, in)."""
        if self.fresh:
            torch.mm(g.t(), x, out=self.place)
            self.fresh = False
        else:
            self.place.addmm_(g.t(), x)


def house(model: nn.Module) -> list[Home]:
    """Let the gradients of linear maps go where `weight.grad` lies now, by the backward pass itself; those of matrices."""
    homes = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            for parameter in module.parameters():
                assert parameter.grad is not None
                home = Home(parameter.grad)
                parameter.home = home  # type: ignore[attr-defined]
                if parameter is module.weight:
                    homes.append(home)
    return homes


def _weight_gradient(home: Home | None, g: Tensor, x: Tensor) -> Tensor | None:
    """g^T x, taken home, or returned."""
    if home is None:
        return g.t() @ x
    home.take(g, x)
    return None


def _bias_gradient(home: Home | None, g: Tensor) -> Tensor | None:
    if home is None:
        return g.sum(0)
    home.place.add_(g.sum(0))
    return None


def _home(parameter: Tensor | None) -> Home | None:
    return getattr(parameter, "home", None)


def _bias(parameter: Tensor | None, g: Tensor) -> Tensor | None:
    return None if parameter is None else _bias_gradient(_home(parameter), g)


# -- linear ------------------------------------------------------------------------------------------------------------


def linear(x: Tensor, layer: nn.Linear, residual: Tensor | None = None) -> Tensor:
    """layer(x), and the residual added to it where one is given; x (..., in)."""
    if not suits(x):
        y = layer(x)
        return y if residual is None else residual + y
    return _Linear.apply(x, layer.weight, layer.bias, residual)  # type: ignore[no-any-return,no-untyped-call]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.bias, ctx.home = x.shape, bias, _home(weight)
        y = _mapped(rows, weight, bias, None if residual is None else residual.reshape(-1, weight.size(0)))
        return y.view(*x.shape[:-1], weight.size(0))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        g = gradient.reshape(-1, weight.size(0))
        dx = (g @ weight).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return dx, _weight_gradient(ctx.home, g, rows), _bias(ctx.bias, g), gradient if ctx.needs_input_grad[3] else None


def _mapped(rows: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None) -> Tensor:
    """rows weight^T + bias + residual, with one pass less where only one of the two is given."""
    if residual is None:
        return rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
    y = torch.addmm(residual, rows, weight.t())
    return y if bias is None else y.add_(bias)


# -- feed-forward ------------------------------------------------------------------------------------------------------


def feedforward(x: Tensor, up: nn.Linear, down: nn.Linear, activation: str, residual: Tensor | None = None) -> Tensor:
    """down(activation(up(x))), and the residual added where one is given; x (..., H)."""
    return _FeedForward.apply(x, up.weight, up.bias, down.weight, down.bias, activation, residual)  # type: ignore[no-any-return,no-untyped-call]


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, up: Tensor, up_bias: Tensor | None, down: Tensor, down_bias: Tensor | None, activation: str,
        residual: Tensor | None,
    ) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        u = _mapped(rows, up, up_bias, None)
        a = FORWARD[activation](u)
        ctx.save_for_backward(rows, u, a, up, down)
        ctx.shape, ctx.activation, ctx.biases = x.shape, activation, (up_bias, down_bias)
        ctx.homes = _home(up), _home(down)
        return _mapped(a, down, down_bias, None if residual is None else residual.reshape(rows.shape)).view(x.shape)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, u, a, up, down = ctx.saved_tensors
        g = gradient.reshape(rows.shape)
        du = BACKWARD[ctx.activation](g @ down, u)
        dx = (du @ up).view(ctx.shape)
        (up_bias, down_bias), (up_home, down_home) = ctx.biases, ctx.homes
        weights = _weight_gradient(up_home, du, rows), _weight_gradient(down_home, g, a)
        biases = _bias(up_bias, du), _bias(down_bias, g)
        return dx, weights[0], biases[0], weights[1], biases[1], None, gradient if ctx.needs_input_grad[6] else None


def _relu2_slope(g: Tensor, u: Tensor) -> Tensor:
    return g.mul_(u.clamp(min=0)).mul_(2)


def _swiglu(u: Tensor) -> Tensor:
    gate, value = u.chunk(2, dim=1)
    return F.silu(gate).mul_(value)


def _swiglu_slope(g: Tensor, u: Tensor) -> Tensor:
    du, half = torch.empty_like(u), u.size(1) // 2
    gate, value = u.chunk(2, dim=1)
    torch.mul(g, F.silu(gate), out=du[:, half:])
    du[:, :half] = aten.silu_backward(g.mul_(value), gate)
    return du


FORWARD: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda u: F.gelu(u, approximate="tanh"),
    "relu2": lambda u: u.clamp(min=0).square_(),
    "swiglu": _swiglu,
}
# (gradient after, before): the gradient before, in the memory of the one after where they have the same size.
BACKWARD: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": lambda g, u: aten.gelu_backward.grad_input(g, u, grad_input=g),
    "gelu_tanh": lambda g, u: aten.gelu_backward.grad_input(g, u, approximate="tanh", grad_input=g),
    "relu2": _relu2_slope,
    "swiglu": _swiglu_slope,
}
