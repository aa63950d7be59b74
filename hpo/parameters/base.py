"""What a parameter is: one named dimension of a space, and the conditions under which it is active."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Literal

import numpy as np

from hpo.values import as_json, format_value, plain

Kind = Literal["float", "int", "categorical"]
FINE = 1e-13  # of a range: closer numbers count as continuous, since rows are compared to 12 decimals
MAX_LEVELS = 10_000  # an Int with more values is a float to the surrogate and rounds on decoding


def conditions(when: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]]:
    """`{"optimizer": "sgd"}` or `{"optimizer": ["sgd", "adamw"]}` as name -> allowed values."""
    if when is None:
        return {}
    if not isinstance(when, Mapping):
        raise TypeError(f"`when` is a mapping from a parent's name to its value or values, but {format_value(when)} came")
    return {name: tuple(_plain_or_list(one) for one in _several(values)) for name, values in when.items()}


def _several(values: Any) -> Sequence[Any]:
    if isinstance(values, set | frozenset):
        return sorted(values, key=repr)  # the order of a set of strings differs between processes
    return values if isinstance(values, list | tuple) else (values,)


def _plain_or_list(value: Any) -> Any:
    return as_json(value) if isinstance(value, list | tuple | dict) else plain(value)


class Parameter(ABC):
    """One named dimension of a space."""

    kind: Kind
    size: int  # number of distinct values; 0 for a continuum
    when: Mapping[str, Any]

    @abstractmethod
    def check(self, name: str, value: Any) -> Any:
        """The value as a plain Python value of the right type; ValueError names the parameter otherwise."""

    @abstractmethod
    def encode(self, value: Any) -> float:
        """Position in [0, 1], or the index of a choice."""

    @abstractmethod
    def decode(self, u: float) -> Any:
        """The plain Python value at a position."""

    @abstractmethod
    def allowed_values(self) -> str:
        """What is allowed, in words."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON values from which a reader can rebuild the parameter."""

    def levels(self) -> np.ndarray | None:
        """Sorted positions of every value of an int column; None for the other kinds."""
        return None

    # -- values of a float column that are fewer than its positions --------------------------------------------------

    count: int = 0  # how many values there are; 0 where they were not counted

    @property
    def is_coarse(self) -> bool:
        """Whether positions of a float column that are told apart may stand for one value: then rows are snapped."""
        return False

    def snap(self, u: float) -> float:
        """The position of the value that a position stands for."""
        return self.encode(self.decode(u))

    def positions(self) -> np.ndarray:
        """Sorted positions of all `count` values."""
        raise NotImplementedError

    def object(self, value: Any) -> Any:
        """The object for a configuration's value: of a choice, the object that was given; else the value itself."""
        return value

    @property
    def is_plain(self) -> bool:
        """Whether `object` changes nothing."""
        return True

    def reject(self, name: str, value: Any) -> ValueError:
        return ValueError(f"parameter {name!r} got {format_value(value)}; allowed is {self.allowed_values()}")

    def __repr__(self) -> str:
        """As it would be typed: `Float(1e-05, 0.1, log=True)`; options with their default are left out."""
        said = []
        for part in fields(self):  # type: ignore[arg-type]
            value = getattr(self, part.name)
            if part.default is MISSING and part.default_factory is MISSING:
                said.append(repr(value))
            elif value != (part.default if part.default is not MISSING else {}):
                said.append(f"{part.name}={value!r}")
        return f"{type(self).__name__}({', '.join(said)})"
