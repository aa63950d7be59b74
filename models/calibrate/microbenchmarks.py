"""The parts of a step, each separately, to be timed by calibration.py, and the sizes. Imports torch when used."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from models.calibrate.seconds import FRESH

if TYPE_CHECKING:
    import torch

ROWS, WIDTHS = 1024, (16, 64, 256, 1024)
HEADS = ((16, 8), (64, 16), (64, 64), (256, 64), (1024, 64))  # (context, width of a head) of four heads
SIZES = (1 << 12, 1 << 16, 1 << 20, 7 << 20, 1 << 23)  # floats; from 32 MB on, glibc gets new memory each time
EMPTY = 256  # floats; so few take no time beside the call itself
FEW, MANY, NARROW, WORDS = 128, 512, 64, (1 << 9, 1 << 12, 1 << 15)  # tokens, width and vocabularies of an output map
CACHED = 1 << 11  # the vocabulary with which the logits of FEW tokens fit into the second-level cache
INSTANT = 1e15  # the rate of work that takes no time
QUICK = 1e10  # the rate where the time is too short to be measured: weights and logits beside their products


class Microbenchmarks:
    """The parts of a step as separate calls to be timed. Those by hand need a CPU for which kernels.c compiles."""

    def __init__(self, device: "torch.device") -> None:
        self.torch, self.device = import_module("torch"), device

    def sums(self, n: int) -> Callable[[], object]:
        a, b = self.torch.zeros(2, n, device=self.device)
        return lambda: a.add_(b)

    def gelu(self, n: int) -> Callable[[], object]:
        """GELU and addition, forward and backward, for timing; they touch 2, 3, 3 and 3 arrays."""
        a, b = self.torch.zeros(2, n, device=self.device)
        gelu, back = self.torch.nn.functional.gelu, self.torch.ops.aten.gelu_backward

        def call() -> None:  # the arrays of one call are freed before the next call makes its own
            gelu(a)
            back(b, a)
            a + b
            a * b

        return call

    def gelu_kernel(self, n: int) -> Callable[[], object]:
        """Forward and backward: three arrays are touched each time."""
        u, a, da = self.torch.zeros(3, n)
        activate = self._kernels().activate
        return lambda: (activate(u.data_ptr(), a.data_ptr(), 1, n, 0), u.mul_(da))

    def products(self, width: int, dtype: "torch.dtype", rows: int = ROWS) -> Callable[[], object]:
        """The products of a square map: its output, the gradient of its weights, the gradient of its input."""
        options, mm = {"device": self.device, "dtype": dtype}, self.torch.mm
        x, out, weight = (self.torch.zeros(n, width, **options) for n in (rows, rows, width))
        return lambda: (mm(x, weight.t()), mm(out.t(), x), mm(out, weight))

    def output(self, words: int, tokens: int, width: int, dtype: "torch.dtype") -> Callable[[], object]:
        """The products of an output map: its logits, the gradient of its weights, the gradient of its input."""
        options = {"device": self.device, "dtype": dtype}
        x, weight = self.torch.zeros(tokens, width, **options), self.torch.zeros(words, width, **options)
        logits, gradient = self.torch.zeros(tokens, words, **options), self.torch.zeros(words, width, **options)
        mm = self.torch.mm
        return lambda: (mm(x, weight.t(), out=logits), gradient.addmm_(logits.t(), x), mm(logits, weight))

    def allocate(self) -> Callable[[], object]:
        """Makes an array of FRESH bytes, whose memory comes from the system each time."""
        return lambda: self.torch.ones(FRESH // 4, device=self.device)

    def loss(self, words: int) -> Callable[[], object]:
        logits = self.torch.zeros(FEW, words, device=self.device, requires_grad=True)
        targets = self.torch.zeros(FEW, dtype=self.torch.int64, device=self.device)
        return lambda: self.torch.nn.functional.cross_entropy(logits, targets).backward()

    def loss_kernel(self, words: int) -> Callable[[], object]:
        """The loss in place: whatever numbers the logits are, they are replaced by their gradient."""
        logits, targets = self.torch.zeros(MANY, words), self.torch.zeros(MANY, dtype=self.torch.int64)
        loss = self._kernels().token_loss
        return lambda: loss(logits.data_ptr(), targets.data_ptr(), MANY, words, 0.0, 0.0, 1.0)

    def attention(self, context: int, head: int, dtype: "torch.dtype") -> Callable[[], object]:
        options = {"device": self.device, "dtype": dtype, "requires_grad": True}
        q, k, v = (self.torch.zeros(1, 4, context, head, **options) for _ in range(3))
        gradient, attend = self.torch.zeros_like(q), self.torch.nn.functional.scaled_dot_product_attention
        grad = self.torch.autograd.grad  # does not accumulate gradients, since nothing accumulates within a block
        return lambda: grad(attend(q, k, v, is_causal=True), (q, k, v), gradient)

    def attention_kernel(self, context: int, head: int) -> Callable[[], object]:
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
