"""A shortcut for BoTorch's fits that changes no bit of them: the marginal likelihood recorded once, and played back.

A fit evaluates the marginal likelihood of a few dozen numbers some fifty times, in a mixed space some thousand times, and
what that costs is Python: modules, lazy operators, caches. torch.jit.trace records the operations themselves, and plays
them back with the same numbers in the same order. What a recording cannot do it leaves to the code it was taken from:
where it is not finite (a factorisation that failed; there jitter is tried), and everywhere, should its first value or one
of its first gradients differ in one bit. Studies use it; what BoTorch costs is measured without (timing).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from botorch.optim.closures.model_closures import get_loss_closure, get_loss_closure_with_grads
from botorch.optim.utils import get_parameters
from gpytorch.mlls import MarginalLogLikelihood

Evaluated = tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]


class Traced:
    """The negative marginal log-likelihood and its gradients, as fit_gpytorch_mll's argument `closure`."""

    def __init__(self, mll: MarginalLogLikelihood) -> None:
        mll.train()
        self.parameters = get_parameters(mll, requires_grad=True)
        self.original = get_loss_closure_with_grads(mll, parameters=self.parameters)
        self.nothing = torch.zeros(())
        self.recorded = torch.jit.trace(Loss(mll), self.nothing, check_trace=False)
        self.trusted = same(self._played(), self.original())

    def __call__(self) -> Evaluated:
        if self.trusted:
            found = self._played()
            if torch.isfinite(found[0]):
                return found
        return self.original()  # type: ignore[no-any-return]

    def _played(self) -> Evaluated:
        value = self.recorded(self.nothing)
        return value, torch.autograd.grad(value, list(self.parameters.values()), allow_unused=True)


class Loss(torch.nn.Module):
    """The loss as a module, whose parameters a recording reads anew every time; constants are recorded."""

    def __init__(self, mll: MarginalLogLikelihood) -> None:
        super().__init__()
        self.mll, self.loss = mll, get_loss_closure(mll)

    def forward(self, nothing: torch.Tensor) -> torch.Tensor:
        return self.loss().sum()


def same(a: Evaluated, b: Evaluated) -> bool:
    """Whether two evaluations agree in every bit."""
    pairs = zip((a[0], *a[1]), (b[0], *b[1]), strict=True)
    return all(x is y if x is None or y is None else torch.equal(x, y) for x, y in pairs)


@contextmanager
def recording() -> Iterator[None]:
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
