"""What is wrong with an acquisition, before a study finds out: `print(lint(mine))`, `python -m surrogates.linting a:f`.

    findings.py   Finding and Report; checks that cannot crash what they check
    marginal.py   what is checked of a function f(posterior, incumbent)
    whole.py      what is checked of an acquisition of the whole model
    __main__.py   the command
"""

from __future__ import annotations

from typing import Any

from surrogates.acquisitions import (
    Acquisition,
    AcquisitionFunction,
    Autograd,
    ModelAcquisition,
    Numerical,
    acquisition,
)
from surrogates.kernels import KERNELS
from surrogates.linting.findings import Finding, Report
from surrogates.linting.marginal import marginal_findings
from surrogates.linting.whole import whole_findings

__all__ = ["Finding", "Report", "lint"]


def lint(chosen: str | Acquisition | ModelAcquisition | AcquisitionFunction, kernel: str = "matern52") -> Report:
    """Checks an acquisition: a name, any f(posterior, incumbent) -> score, one with derivatives, or one of the model.

    What it raises is reported, not raised. An acquisition of several objectives is tried with two. ValueError for an unknown
    name, as in `acquisition`. kernel: a name of KERNELS, for the posteriors with which an acquisition of the whole model is
    tried.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is not one of {', '.join(KERNELS)}")
    if isinstance(chosen, type):
        wrong = f"{chosen.__name__} is a class"
        remedy = f"Pass an instance, such as {chosen.__name__}()."
        return Report(label(chosen), "not an acquisition", (Finding("runs", "fail", wrong, remedy),))
    found = as_acquisition(chosen)
    if isinstance(found, ModelAcquisition):
        return Report(label(chosen), "an acquisition of the whole model", whole_findings(found, kernel))
    ways = {Numerical: "derivatives by differences", Autograd: "derivatives by autograd"}
    derivatives = ways.get(type(found), "with derivatives of its own")
    return Report(label(chosen), f"a function of mean and sd, {derivatives}", marginal_findings(found))


def as_acquisition(chosen: str | Acquisition | ModelAcquisition | AcquisitionFunction) -> Acquisition | ModelAcquisition:
    """What `acquisition` makes of it. A function that it refuses is taken as one of arrays; the checks say what is wrong."""
    try:
        return acquisition(chosen)
    except ValueError:
        if isinstance(chosen, str) or not callable(chosen):
            raise
        return Numerical(chosen)


def label(chosen: Any) -> str:
    """What a report calls it: a name, module:function, Autograd(module:function), or how it prints."""
    if isinstance(chosen, str):
        return chosen
    if isinstance(chosen, (Numerical, Autograd)):
        return f"{type(chosen).__name__}({label(chosen.f)})"
    return f"{chosen.__module__}:{chosen.__qualname__}" if hasattr(chosen, "__qualname__") else repr(chosen)
