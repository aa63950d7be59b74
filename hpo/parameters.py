"""Kinds of parameters: Float, Int, Categorical and Const, their validation and their place in the unit cube.

An integer sits in the middle of its bin ((i + 0.5) / n on a linear range), so that rounding a uniform number gives every
value its fair share; on a logarithmic range the bins are those of [lo - step/2, hi + step/2].
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Kind = Literal["float", "int", "categorical"]
FINE = 1e-13  # of a range: numbers that stand closer than this are a continuum to whoever compares rows to 12 decimals
MAX_LEVELS = 10_000  # an Int with more values is a float to the surrogate and rounds on decoding


def plain(value: Any) -> Any:
    """A numpy scalar as the Python value it stands for."""
    return value.item() if isinstance(value, np.generic) else value


def conditions(when: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]]:
    """`{"optimizer": "sgd"}` or `{"optimizer": ["sgd", "adamw"]}` as name -> allowed values."""
    if when is None:
        return {}
    if not isinstance(when, Mapping):
        raise TypeError(f"`when` is a mapping from a parent's name to its value or values, but {when!r} came")
    return {name: tuple(plain(one) for one in _several(values)) for name, values in when.items()}


def _several(values: Any) -> Sequence[Any]:
    if isinstance(values, set | frozenset):
        return sorted(values, key=repr)  # the order of a set of strings differs between processes
    return values if isinstance(values, list | tuple) else (values,)


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
    def allowed(self) -> str:
        """What is allowed, in words."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON values from which a reader can rebuild the parameter."""

    def levels(self) -> np.ndarray | None:
        """Sorted positions of every value of an Int; None for the other kinds."""
        return None

    # -- values of a float column that are fewer than its positions --------------------------------------------------

    count: int = 0  # how many values there are; 0 where nobody has counted them

    @property
    def coarse(self) -> bool:
        """Whether positions of a float column that are told apart may stand for one value: then rows are snapped."""
        return False

    def snap(self, u: float) -> float:
        """The position of the value that a position stands for."""
        return self.encode(self.decode(u))

    def positions(self) -> np.ndarray:
        """Sorted positions of all `count` values."""
        raise NotImplementedError

    def reject(self, name: str, value: Any) -> ValueError:
        return ValueError(f"parameter {name!r} got {value!r}; allowed is {self.allowed()}")


def _finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _check_range(kind: str, lo: Any, hi: Any, log: bool) -> None:
    if not (_finite(lo) and _finite(hi)):
        raise ValueError(f"{kind} got the range ({lo!r}, {hi!r}); allowed are two finite numbers")
    if not lo < hi:
        raise ValueError(f"{kind} got the range ({lo!r}, {hi!r}); the lower end must be below the upper end")
    if log and lo <= 0:
        raise ValueError(f"{kind} got the lower end {lo!r} with log=True; a logarithmic range must be above zero")


@dataclass(frozen=True)
class Float(Parameter):
    """A real number in [lo, hi], uniform or log-uniform."""

    lo: float
    hi: float
    log: bool = False
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    kind = "float"
    size = 0

    def __post_init__(self) -> None:
        _check_range("Float", self.lo, self.hi, self.log)
        for name in ("lo", "hi"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        object.__setattr__(self, "when", conditions(self.when))

    def check(self, name: str, value: Any) -> float:
        value = plain(value)
        if not _finite(value) or not self.lo <= value <= self.hi:
            raise self.reject(name, value)
        return float(value)

    def encode(self, value: Any) -> float:
        if self.log:
            return math.log(value / self.lo) / math.log(self.hi / self.lo)
        return float((value - self.lo) / (self.hi - self.lo))

    def decode(self, u: float) -> float:
        value = self.lo * (self.hi / self.lo) ** u if self.log else self.lo + u * (self.hi - self.lo)
        return float(min(max(value, self.lo), self.hi))

    @property
    def coarse(self) -> bool:
        """A range so narrow that neighbouring numbers stand farther apart than rows are told apart (1e-12)."""
        apart = math.log(self.hi / self.lo) if self.log else self.hi - self.lo
        one = np.finfo(float).eps * (1.0 if self.log else max(abs(self.lo), abs(self.hi)))
        return bool(one > FINE * apart)

    def allowed(self) -> str:
        return f"a number from {self.lo} to {self.hi}"

    def describe(self) -> dict[str, Any]:
        return {"float": [self.lo, self.hi], "log": self.log, "when": {k: list(v) for k, v in self.when.items()}}


@dataclass(frozen=True)
class Int(Parameter):
    """An integer lo, lo + step, ... up to hi, uniform or log-uniform."""

    lo: int
    hi: int
    log: bool = False
    step: int = 1
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        _check_range("Int", self.lo, self.hi, self.log)
        for name in ("lo", "hi", "step"):
            value = plain(getattr(self, name))
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"Int got {name}={value!r}; allowed is an integer")
            object.__setattr__(self, name, value)
        if not 1 <= self.step <= self.hi - self.lo:
            raise ValueError(f"Int got step={self.step!r}; allowed is 1 to {self.hi - self.lo}")
        object.__setattr__(self, "when", conditions(self.when))

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many values there are."""
        return (self.hi - self.lo) // self.step + 1

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return "int" if self.count <= MAX_LEVELS else "float"

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.count if self.count <= MAX_LEVELS else 0

    def levels(self) -> np.ndarray | None:
        return None if self.kind == "float" else self.positions()

    @property
    def coarse(self) -> bool:
        return self.kind == "float"

    def positions(self) -> np.ndarray:
        return np.array([self.encode(self.lo + i * self.step) for i in range(self.count)])

    def _edges(self) -> tuple[float, float]:
        """Lower edge of the first bin and upper edge of the last; positive on a logarithmic range."""
        last = self.lo + (self.count - 1) * self.step
        return max(self.lo - self.step / 2, self.lo / 2 if self.log else -math.inf), last + self.step / 2

    def check(self, name: str, value: Any) -> int:
        value = plain(value)
        if not _finite(value) or value != int(value):
            raise self.reject(name, value)
        if not self.lo <= value <= self.hi or (int(value) - self.lo) % self.step:
            raise self.reject(name, value)
        return int(value)

    def encode(self, value: Any) -> float:
        a, b = self._edges()
        return math.log(value / a) / math.log(b / a) if self.log else (value - a) / (b - a)

    def decode(self, u: float) -> int:
        a, b = self._edges()
        value = a * (b / a) ** u if self.log else a + u * (b - a)
        index = round((value - self.lo) / self.step)
        return self.lo + min(max(index, 0), self.count - 1) * self.step

    def allowed(self) -> str:
        by = f" in steps of {self.step}" if self.step > 1 else ""
        return f"an integer from {self.lo} to {self.hi}{by}"

    def describe(self) -> dict[str, Any]:
        when = {k: list(v) for k, v in self.when.items()}
        return {"int": [self.lo, self.hi], "log": self.log, "step": self.step, "when": when}


@dataclass(frozen=True)
class Categorical(Parameter):
    """One of a list of plain values without order."""

    choices: Sequence[Any]
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    kind = "categorical"

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Sequence):
            raise TypeError(f"Categorical got {self.choices!r}; allowed is a list of choices")
        choices = tuple(plain(c) for c in self.choices)
        if not choices:
            raise ValueError("Categorical got no choices; allowed is a list with at least one")
        for choice in choices:
            if not isinstance(choice, str | int | float | bool | None):
                raise TypeError(
                    f"Categorical got the choice {choice!r}; allowed are strings, numbers, booleans and None"
                )
            if isinstance(choice, float) and not math.isfinite(choice):
                raise ValueError(f"Categorical got the choice {choice!r}; allowed are finite numbers")
        if len({self._tag(c) for c in choices}) != len(choices):
            raise ValueError(f"Categorical got a choice twice in {list(choices)}; allowed are distinct choices")
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "when", conditions(self.when))

    @staticmethod
    def _tag(value: Any) -> tuple[bool, Any]:
        return isinstance(value, bool), value  # True == 1 in Python, but they are two choices

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.choices)

    def _index(self, value: Any) -> int | None:
        for i, choice in enumerate(self.choices):
            if self._tag(choice) == self._tag(value):
                return i
        return None

    def check(self, name: str, value: Any) -> Any:
        index = self._index(plain(value))
        if index is None:
            raise self.reject(name, value)
        return self.choices[index]

    def encode(self, value: Any) -> float:
        index = self._index(value)
        assert index is not None, value
        return float(index)

    def decode(self, u: float) -> Any:
        return self.choices[min(max(round(u), 0), len(self.choices) - 1)]

    def allowed(self) -> str:
        return f"one of {list(self.choices)}"

    def describe(self) -> dict[str, Any]:
        return {"choices": list(self.choices), "when": {k: list(v) for k, v in self.when.items()}}


@dataclass(frozen=True)
class Const(Parameter):
    """A fixed value that stands in every configuration and is not searched."""

    value: Any
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    kind = "categorical"
    size = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", plain(self.value))
        if not isinstance(self.value, str | int | float | bool | None) or self.value != self.value:
            raise TypeError(f"Const got {self.value!r}; allowed are strings, numbers, booleans and None")
        object.__setattr__(self, "when", conditions(self.when))

    def check(self, name: str, value: Any) -> Any:
        if plain(value) != self.value:
            raise self.reject(name, value)
        return self.value

    def encode(self, value: Any) -> float:
        return 0.0

    def decode(self, u: float) -> Any:
        return self.value

    def allowed(self) -> str:
        return f"only {self.value!r}"

    def describe(self) -> dict[str, Any]:
        return {"const": self.value, "when": {k: list(v) for k, v in self.when.items()}}


def parameter(name: str, spec: Any) -> Parameter:
    """A Parameter from itself or from the short form. Raises with the parameter's name."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"a parameter's name must be a non-empty string, but {name!r} came")
    if isinstance(spec, Parameter):
        return spec
    try:
        if isinstance(spec, list):
            return Categorical(spec)
        if isinstance(spec, tuple):
            return _range(spec)
        if spec is None or isinstance(spec, str | int | float | bool | np.generic):
            return Const(spec)
    except (TypeError, ValueError) as error:
        raise type(error)(f"parameter {name!r}: {error}") from None
    raise TypeError(
        f"parameter {name!r} got {spec!r}; allowed are Float, Int, Categorical, Const, a pair (lo, hi), "
        f"(lo, hi, 'log'), a list of choices or a constant"
    )


def _range(spec: tuple[Any, ...]) -> Parameter:
    if len(spec) not in (2, 3) or (len(spec) == 3 and spec[2] != "log"):
        raise ValueError(f"the short form of a range is (lo, hi) or (lo, hi, 'log'), but {spec!r} came")
    lo, hi, log = plain(spec[0]), plain(spec[1]), len(spec) == 3
    whole = isinstance(lo, int) and isinstance(hi, int)
    return Int(lo, hi, log) if whole else Float(lo, hi, log)
