"""Kinds of parameters, and their short forms.

base.py     Parameter: what every kind can do
ranges.py   Float, Int: numbers, and where they stand in the unit cube
choices.py  Categorical, Const
foreign.py  ranges as other tools write them
scales.py   the arithmetic of ranges, up to the ends of float64 and of integers of any size
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.parameters.base import MAX_LEVELS, Kind, Parameter
from hpo.parameters.choices import Categorical, Const
from hpo.parameters.foreign import Integer, Real, is_distribution, of_distribution, of_mapping
from hpo.parameters.ranges import Float, Int
from hpo.values import format_value, plain

__all__ = [
    "MAX_LEVELS", "Categorical", "Const", "Float", "Int", "Integer", "Kind", "Parameter", "Real", "constant", "parameter",
]  # fmt: skip


def parameter(name: str, spec: Any) -> Parameter:
    """A Parameter from itself or from the short form. Raises with the parameter's name."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"a parameter's name must be a non-empty string, but {format_value(name)} came")
    if isinstance(spec, Parameter):
        return spec
    spec = plain(spec)
    try:
        if is_distribution(spec):
            return of_distribution(spec)
        if isinstance(spec, Mapping) and "type" in spec:
            return of_mapping(spec)
        if isinstance(spec, list):
            return Categorical(spec)
        if isinstance(spec, tuple):
            return _range(spec)
        if spec is None or isinstance(spec, str | int | float | bool):
            return Const(spec)
    except (TypeError, ValueError) as error:
        raise type(error)(f"parameter {name!r}: {error}") from None
    raise TypeError(
        f"parameter {name!r} got {format_value(spec)}; allowed are Float, Int, Categorical, Const, a pair (lo, hi), "
        f"(lo, hi, 'log'), a list of choices, a constant, {{'type': 'float', 'low': ..., 'high': ...}} and "
        f"a uniform, loguniform or randint of scipy.stats"
    )


def _range(spec: tuple[Any, ...]) -> Parameter:
    if len(spec) not in (2, 3) or (len(spec) == 3 and plain(spec[2]) != "log"):
        raise ValueError(f"the short form of a range is (lo, hi) or (lo, hi, 'log'), but {format_value(spec)} came")
    lo, hi, log = plain(spec[0]), plain(spec[1]), len(spec) == 3
    whole = type(lo) is int and type(hi) is int
    if whole and (lo, hi, log) == (0, 1, False):
        raise ValueError(
            "(0, 1) may mean the two integers or the numbers between; write Int(0, 1) for the ones and (0.0, 1.0) for the others"
        )
    return Int(lo, hi, log) if whole else Float(lo, hi, log)


def constant(spec: Parameter) -> Parameter:
    """A range of one point as the constant that it is; anything else as it is."""
    if isinstance(spec, Float | Int) and spec.lo == spec.hi:
        return Const(spec.decode(0.5), when=spec.when)
    return spec
