"""Values as people write them and as a log keeps them: what is plain, what JSON holds, what is the same, what is a number."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

PLAIN = (str, int, float, bool, type(None))
LONGEST = 1e9  # seconds, 31 years; operating systems refuse to wait for much longer
SHOWN = 80  # characters of a value in a sentence
JSON_VALUES = "strings, numbers, booleans, None, and lists, tuples and dictionaries of them"


def plain(value: Any) -> Any:
    """The Python value that a scalar of numpy or torch, a Decimal or a member of an Enum of numbers or strings stands for.

    Everything else comes back as it is.
    """
    if type(value) in PLAIN:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool | int):
        return value if isinstance(value, bool) else int(value)
    return float(value) if isinstance(value, numbers.Real | Decimal) else value


def format_value(value: Any) -> str:
    """A value in a sentence: its repr, on one line and not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the repr of anybody's class; an int of more than 4,300 digits has none either
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def is_finite(value: Any) -> bool:
    """Whether a value is a real number that a float can hold. True and False are none."""
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond 1.8e308
        return False


def as_json(value: Any) -> Any:
    """A copy of a value as it comes back out of a log: tuples are lists. TypeError or ValueError for what JSON cannot hold."""
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value!r}; allowed are finite numbers")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {str(name): as_json(item) for name, item in value.items()}
    raise TypeError(f"{format_value(value)}; allowed are {JSON_VALUES}")


def identity(value: Any) -> Any:
    """Something hashable that is equal for equal values; True and 1 are two values, a list and a tuple of the same are one."""
    if isinstance(value, list | tuple):
        return "list", tuple(identity(item) for item in value)
    if isinstance(value, Mapping):
        return "mapping", tuple(sorted((str(name), repr(identity(item))) for name, item in value.items()))
    return isinstance(value, bool), value


def number(what: str, value: Any) -> float:
    """A reported value as a float: a real number, or an array or tensor that holds one. TypeError that says what otherwise.

    True and "0.5" are none: a comparison or a text that slips in is a mistake, and `float` would hide it.
    """
    if type(value) is float:
        return value
    found = _only(value)
    try:
        if isinstance(found, numbers.Real | Decimal) and not _is_bool(found):
            return float(found)
    except OverflowError:
        pass
    raise TypeError(f"{what} is {format_value(value)}; allowed is a number")


def whole(what: str, value: Any, least: int | None = None) -> int:
    """A value as an integer: an integer, or a whole number of any library. ValueError that says what otherwise."""
    found = _only(value)
    integral = isinstance(found, numbers.Real) and not _is_bool(found) and (is_finite(found) or isinstance(found, int))
    if not integral or found != int(found) or (least is not None and found < least):
        said = "an integer" if least is None else f"an integer of at least {least}"
        raise ValueError(f"{what} is {format_value(value)}; allowed is {said}")
    return int(found)


def duration(name: str, value: Any, zero: bool = True) -> float | None:
    """Seconds, or None for no limit. Very long times are cut to the longest that a system can wait."""
    value = plain(value)
    allowed = f"a finite number {'of at least' if zero else 'above'} 0, or None"
    if value is None:
        return None
    if not (is_finite(value) and (value > 0 or (zero and value == 0))):
        raise ValueError(f"{name} is {format_value(value)}; allowed is {allowed}")
    return min(float(value), LONGEST)


def is_several(value: Any) -> bool:
    """Whether a reported value is a row of numbers: a tuple, a list, an array or tensor of one dimension."""
    return isinstance(value, list | tuple) or (getattr(value, "ndim", 0) == 1 and len(value) != 1)


def _only(value: Any) -> Any:
    """The element of an array or tensor that holds one; other values as they are."""
    if isinstance(value, numbers.Real | Decimal | str | bytes) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (TypeError, ValueError, RuntimeError):  # more than one element, or another method of that name
        return None


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")
