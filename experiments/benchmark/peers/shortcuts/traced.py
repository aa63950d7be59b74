"""A shortcut for BoTorch's fits that changes no bit of them: the marginal likelihood recorded once, and played back.

A fit evaluates the marginal likelihood of a few dozen numbers some fifty times, in a mixed space some thousand times, and
what that costs is Python (modules, lazy operators, caches), autograd, and what is the same every time. A tape of the
operations themselves (tape.py) plays them back with the same numbers in the same order. What a recording cannot do it
leaves to the code it was taken from: where it is not finite (a factorisation that failed; there jitter is tried), and
everywhere, should it differ in one bit in the first evaluations. Studies use it; what BoTorch costs is measured without
(timing).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from botorch.optim.closures.model_closures import get_loss_closure, get_loss_closure_with_grads
from botorch.optim.utils import get_parameters
from gpytorch.mlls import MarginalLogLikelihood

from experiments.benchmark.peers.shortcuts.tape import Play, Tape, Unplayable

Evaluated = tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]

COMPARED = 4  # evaluations of a fit that are made both ways


class Traced:
    """The negative marginal log-likelihood and its gradients, as fit_gpytorch_mll's argument `closure`."""

    def __init__(self, mll: MarginalLogLikelihood) -> None:
        mll.train()
        self.parameters = get_parameters(mll, requires_grad=True)
        self.original = get_loss_closure_with_grads(mll, parameters=self.parameters)
        self.compared = 0
        self.used: list[bool] = []  # which of the gradients there are
        self.play: Play | None = None
        with suppress(Unplayable):
            self.play = self._recorded(mll)

    def __call__(self) -> Evaluated:
        if self.play is None:
            return self.original()  # type: ignore[no-any-return]
        found = self._played(self.play)
        if not torch.isfinite(found[0]):
            return self.original()  # type: ignore[no-any-return]
        if self.compared < COMPARED:
            self.compared += 1
            return self._compared(found)
        return found

    def _compared(self, found: Evaluated) -> Evaluated:
        original: Evaluated = self.original()
        if not is_same(found, original):
            self.play = None
        return original

    def _recorded(self, mll: MarginalLogLikelihood) -> Play:
        tape, parameters = Tape(), list(self.parameters.values())
        with tape:
            value = get_loss_closure(mll)().sum()
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        self.used = [gradient is not None for gradient in gradients]
        return tape.compile(parameters, [value, *(gradient for gradient in gradients if gradient is not None)])

    def _played(self, play: Play) -> Evaluated:
        with torch.no_grad():
            value, *gradients = play(*self.parameters.values())
        left = iter(gradients)
        return value, tuple(next(left) if used else None for used in self.used)


def is_same(a: Evaluated, b: Evaluated) -> bool:
    """Whether two evaluations agree in every bit."""
    pairs = zip((a[0], *a[1]), (b[0], *b[1]), strict=True)
    return all(x is y if x is None or y is None else torch.equal(x, y) for x, y in pairs)


@contextmanager
def record_fit() -> Iterator[None]:
    """How a recording must be made and played: not rewritten, and with plain numbers in double precision, as in Python.

    Afterwards torch lets go of what was recorded, which it would keep for good: 2 MB a fit.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            yield
    finally:
        torch.set_default_dtype(before)
        torch._C._jit_clear_class_registry()
