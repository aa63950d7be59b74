"""Values as people write them and as a log keeps them: plain values, values for JSON, equality, numbers, numbers in words."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

PLAIN = (str, int, float, bool, type(None))
LONGEST = 1e9  # seconds, which are 31 years; operating systems cannot wait much longer
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
    except Exception:  # any class may raise in its repr, and an int of more than 4,300 digits does
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def quantity(count: int, nouns: str) -> str:
    """A number with its noun: `2 results`, `1 result`, `49,152 tokens`."""
    return f"{count:,} {inflect(count, nouns)}"


def inflect(count: int, nouns: str) -> str:
    """A noun that is given in the plural, without its s if there is one of it."""
    return nouns.removesuffix("s") if count == 1 and not nouns.endswith("ss") else nouns


def is_finite(value: Any) -> bool:
    """Whether a value is a finite real number that a float can hold. True and False are no numbers."""
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond 1.8e308
        return False


def as_json(value: Any) -> Any:
    """A copy of a value as a log returns it: tuples become lists. TypeError or ValueError for what JSON cannot hold."""
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
    """A hashable key that is equal for equal values. True and 1 are different; a list and a tuple with equal items are equal."""
    if isinstance(value, list | tuple):
        return "list", tuple(identity(item) for item in value)
    if isinstance(value, Mapping):
        return "mapping", tuple(sorted((str(name), repr(identity(item))) for name, item in value.items()))
    return isinstance(value, bool), value


def number(what: str, value: Any) -> float:
    """A reported value as a float: a real number, or an array or tensor that holds one. TypeError that shows anything else.

    True and "0.5" are refused: a comparison or a text in the place of a number is a mistake that `float` would hide.
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
    """A value as an integer: an integer, or a whole number of any library. ValueError that shows anything else."""
    found = _only(value)
    integral = isinstance(found, numbers.Real) and not _is_bool(found) and (is_finite(found) or isinstance(found, int))
    if not integral or found != int(found) or (least is not None and found < least):
        said = "an integer" if least is None else f"an integer of at least {least}"
        raise ValueError(f"{what} is {format_value(value)}; allowed is {said}")
    return int(found)


def duration(name: str, value: Any, zero: bool = True) -> float | None:
    """Seconds, or None for no limit. Very long times are cut to LONGEST."""
    value = plain(value)
    allowed = f"a finite number {'of at least' if zero else 'above'} 0, or None"
    if value is None:
        return None
    if not (is_finite(value) and (value > 0 or (zero and value == 0))):
        raise ValueError(f"{name} is {format_value(value)}; allowed is {allowed}")
    return min(float(value), LONGEST)


def is_several(value: Any) -> bool:
    """Whether a reported value is a row of numbers: a tuple, a list, or an array or tensor of one dimension."""
    return isinstance(value, list | tuple) or (getattr(value, "ndim", 0) == 1 and len(value) != 1)


def _only(value: Any) -> Any:
    """The only element of an array or tensor, None if it has several; any other value as it is."""
    if isinstance(value, numbers.Real | Decimal | str | bytes) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (TypeError, ValueError, RuntimeError):  # several elements, or a method `item` that does something else
        return None


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")
