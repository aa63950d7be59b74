"""The parts of a step, each by itself, to be timed by calibrate.py, and the sizes at which they are. Imports torch when used."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROWS, WIDTHS = 1024, (16, 64, 256, 1024)
HEADS = ((16, 8), (64, 16), (64, 64), (256, 64), (1024, 64))  # (context, width of a head) of four heads
SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 23)  # floats
FEW, NARROW, WORDS = 128, 64, (1 << 9, 1 << 12, 1 << 15)  # tokens, width and vocabularies of an output map
FRESH = 1 << 26  # bytes; glibc keeps so much at most of what was freed, once smaller arrays are kept (engines/cpu/kernels.py)
INSTANT = 1e15  # a rate of what takes no time


class Parted:
    """The parts of a step, each by itself: calls to be timed. Those by hand are for a CPU for which kernels.c compiles."""

    def __init__(self, device: "torch.device") -> None:
        self.torch, self.device = import_module("torch"), device

    def sums(self, n: int) -> Callable[[], object]:
        a, b = self.torch.zeros(2, n, device=self.device)
        return lambda: a.add_(b)

    def gelu(self, n: int) -> Callable[[], object]:
        """Forward and backward: two arrays are touched, and then three."""
        a, b = self.torch.zeros(2, n, device=self.device)
        gelu, back = self.torch.nn.functional.gelu, self.torch.ops.aten.gelu_backward
        return lambda: (gelu(a), back(b, a))

    def gelu_byhand(self, n: int) -> Callable[[], object]:
        """Forward and backward: three arrays are touched each time."""
        u, a, da = self.torch.zeros(3, n)
        activate, arrays = self._kernels().activate, (u.data_ptr(), a.data_ptr())
        return lambda: (activate(*arrays, 1, n, 0), u.mul_(da))

    def product(self, width: int, dtype: "torch.dtype") -> Callable[[], object]:
        x, weight = (self.torch.zeros(rows, width, device=self.device, dtype=dtype) for rows in (ROWS, width))
        return lambda: x @ weight.t()

    def output(self, words: int, dtype: "torch.dtype") -> list[Callable[[], object]]:
        """The products of an output map: of logits, of its gradient, of the gradient that goes back."""
        options = {"device": self.device, "dtype": dtype}
        x, weight = self.torch.zeros(FEW, NARROW, **options), self.torch.zeros(words, NARROW, **options)
        logits, gradient = self.torch.zeros(FEW, words, **options), self.torch.zeros(words, NARROW, **options)
        mm = self.torch.mm
        return [
            lambda: mm(x, weight.t(), out=logits),
            lambda: gradient.addmm_(logits.t(), x),
            lambda: mm(logits, weight),
        ]

    def fresh(self) -> Callable[[], object]:
        """An array of FRESH bytes, for which memory comes from the system each time."""
        return lambda: self.torch.ones(FRESH // 4, device=self.device)

    def loss(self, words: int) -> Callable[[], object]:
        logits = self.torch.zeros(FEW, words, device=self.device, requires_grad=True)
        targets = self.torch.zeros(FEW, dtype=self.torch.int64, device=self.device)
        return lambda: self.torch.nn.functional.cross_entropy(logits, targets).backward()

    def attended(self, context: int, head: int, dtype: "torch.dtype") -> Callable[[], object]:
        q = self.torch.zeros(1, 4, context, head, device=self.device, dtype=dtype, requires_grad=True)
        gradient, attention = self.torch.zeros_like(q), self.torch.nn.functional.scaled_dot_product_attention
        return lambda: attention(q, q, q, is_causal=True).backward(gradient)

    def attended_byhand(self, context: int, head: int) -> Callable[[], object]:
        kernels, zeros = self._kernels(), self.torch.zeros
        qkv, dqkv = zeros(2, context, 12 * head)
        y, dy, logs = zeros(context, 4 * head), zeros(context, 4 * head), zeros(4, context)
        sizes = 1, context, 4, 4, head, head**-0.5

        def call() -> None:
            kernels.attention(*(x.data_ptr() for x in (qkv, y, logs)), *sizes)
            kernels.attention_backward(*(x.data_ptr() for x in (dy, qkv, y, logs, dqkv)), *sizes)

        return call

    def _kernels(self) -> Any:
        return import_module("models.engines.cpu.kernels").library()
