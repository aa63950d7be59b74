"""A plain function f(posterior, incumbent) with derivatives: it is tried once to see which kind it needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from surrogates.acquisitions.marginal import (
    AcquisitionFunction,
    Autograd,
    Normal,
    Numerical,
    Written,
    call_read_only,
    title,
)

MEANS, SDS, INCUMBENT = np.array([-0.7, 0.1, 0.9]), np.array([0.2, 1.1, 0.6]), -0.4  # on which it is tried
ALLOWED = "allowed is f(posterior, incumbent) -> (m,) scores"


def differentiable(f: AcquisitionFunction) -> Autograd | Numerical:
    """Autograd(f) where f makes a differentiable tensor (m,) of tensors, else Numerical(f), where it makes (m,) of arrays.

    ValueError in one sentence if it does neither, or writes into what it reads. Imports torch.
    """
    of_tensors = _complaint(lambda: Autograd(f).gradient(Normal(MEANS, SDS), INCUMBENT)[0])
    if not of_tensors:
        return Autograd(f)
    of_arrays = _complaint(lambda: _numbers(call_read_only(f, f, MEANS, SDS, INCUMBENT)))
    if not of_arrays:
        return Numerical(f)
    found = of_arrays if of_arrays.startswith("gave") else of_tensors  # what came says more than what was raised
    if not found.startswith("gave") and of_arrays != of_tensors:
        found = f"{of_arrays} with arrays and {of_tensors} with torch tensors"
    raise ValueError(f"acquisition {title(f)} {found}, when it was tried with {len(MEANS)} points; {ALLOWED}")


def _numbers(came: Any) -> Any:
    return came if came is None else np.asarray(came, dtype=float)


def _complaint(scores: Callable[[], Any]) -> str:
    """What is wrong with the scores of the points; empty if nothing is. Without warnings: they come again in use."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            came = scores()
    except Written:
        raise
    except Exception as error:  # anybody's code
        said = " ".join((str(error).splitlines() or [""])[0].split())
        return f"raised {type(error).__name__}: {said}"
    if came is None:
        return "gave None"
    return "" if np.shape(came) == MEANS.shape else f"gave scores of shape {np.shape(came)}"
