"""Every kernel of surrogates.KERNELS once more, from its definition, in whatever numbers it is asked: digits, tensors.

What is measured against must not be made from what is measured, so a kernel that is listed there needs a row here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Formula:
    """A kernel.

    value       k from r2, root and exp, where root(c) is sqrt(c r2)
    smoothness  nu of gpytorch's MaternKernel; None: its RBFKernel
    """

    value: Callable[[Any, Callable[[int], Any], Callable[[Any], Any]], Any]
    smoothness: float | None


def matern52_value(r2: Any, root: Callable[[int], Any], exp: Callable[[Any], Any]) -> Any:
    """Rasmussen & Williams 2006, eq. 4.17."""
    a = root(5)
    return (1 + a + a * a / 3) * exp(-a)


def matern32_value(r2: Any, root: Callable[[int], Any], exp: Callable[[Any], Any]) -> Any:
    """Rasmussen & Williams 2006, eq. 4.17."""
    a = root(3)
    return (1 + a) * exp(-a)


def rbf_value(r2: Any, root: Callable[[int], Any], exp: Callable[[Any], Any]) -> Any:
    """Rasmussen & Williams 2006, eq. 4.9."""
    return exp(-r2 / 2)


FORMULAS = {
    "matern52": Formula(matern52_value, 2.5),
    "matern32": Formula(matern32_value, 1.5),
    "rbf": Formula(rbf_value, None),
}


def formula_of(kernel: str) -> Formula:
    """The kernel's. ValueError for one that has no row here: it must not be taken for another."""
    if kernel not in FORMULAS:
        raise ValueError(f"kernel {kernel!r} has no formula to be measured against; there are {', '.join(FORMULAS)}")
    return FORMULAS[kernel]
