"""Float and Int: ranges of numbers, linear or logarithmic, and their place in the unit cube.

**Positions.** An integer sits in the middle of its bin ((i + 0.5) / n on a linear range), so that rounding a uniform
number gives every value its fair share. On a logarithmic range the bins are those of [a, b] on the log scale, with
a = max(lo - step/2, lo/2) and b = last + step/2.

**Shares.** What a uniform draw gives a value depends on the kind of the column:

- up to MAX_LEVELS values, kind "int": the share of a value is the width of its cell, which ends half-way between the
  *positions* of its neighbours; the outer cells are as wide outwards as inwards. Linear: 1/n each. Logarithmic: a cell
  ends at the geometric means of its neighbours, so that of Int(1, n, log=True) the 1 gets log 2 of
  log n + log(2)/2 + log(n / (n - 1))/2.
- above MAX_LEVELS, kind "float": a position is drawn and `decode` rounds it, so a value's share is its bin: it ends
  half-way between the *values*. Linear: 1/n each. Logarithmic: the 1 gets log 3 of log(2n + 1).

So the lowest value of a logarithmic Int becomes more frequent where its column changes kind (by log 3 / log 2 about).
Both are meant; neither may change, since stored studies replay their draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from hpo.parameters.base import FINE, MAX_LEVELS, Kind, Parameter, conditions
from hpo.parameters.scales import LARGEST, WideIntegers, at, is_wide, position
from hpo.values import format_value, is_finite, plain

CLOSE = 1e-9  # of a step: what rounding may have moved a number by


def _check_range(kind: str, lo: Any, hi: Any, log: Any) -> None:
    if not (is_finite(lo) and is_finite(hi)):
        raise ValueError(f"{kind} got the range ({format_value(lo)}, {format_value(hi)}); allowed are two finite numbers")
    if not lo <= hi:
        raise ValueError(f"{kind} got the range ({lo!r}, {hi!r}); the lower end must be below the upper end")
    if not isinstance(log, bool):
        raise TypeError(f"{kind} got log={format_value(log)}; allowed are True and False")
    if log and lo <= 0:
        raise ValueError(f"{kind} got the lower end {lo!r} with log=True; a logarithmic range must be above zero")


@dataclass(frozen=True, repr=False)
class Float(Parameter):
    """A real number in [lo, hi], uniform or log-uniform; with `step` one of lo, lo + step, ... up to hi.

    Steps are counted in decimals: the values of Float(0, 1, step=0.1) are 0.1, 0.2, 0.3, as one writes them.
    """

    lo: float
    hi: float
    log: bool = False
    step: float | None = None
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("lo", "hi", "step"):
            object.__setattr__(self, name, _exact(plain(getattr(self, name))))
        object.__setattr__(self, "log", plain(self.log))
        _check_range("Float", self.lo, self.hi, self.log)
        if self.step is not None and not (is_finite(self.step) and self.step > 0):
            raise ValueError(f"Float got step={format_value(self.step)}; allowed is a number above 0")
        if self.step is not None and self.log:
            raise ValueError(f"Float got step={self.step!r} with log=True; allowed is one of the two")
        if self.step is not None and self.lo < self.hi and self._steps < 1:
            raise ValueError(f"Float got step={self.step!r}; allowed is at most the width {self.hi - self.lo!r}")
        object.__setattr__(self, "when", conditions(self.when))

    @property
    def _steps(self) -> int:
        """How many steps lead from the lower end to the upper one, up to the last bits of both."""
        width = _decimal(self.hi) - _decimal(self.lo)
        return math.floor(width / _decimal(self.step) + Fraction(CLOSE))

    @cached_property
    def _places(self) -> Int | None:
        """The places of the values, where there is a step: 0, 1, 2, ..."""
        return None if self.step is None else Int(0, self._steps)

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return "float" if self._places is None else self._places.kind

    @property
    def size(self) -> int:  # type: ignore[override]
        return 0 if self._places is None else self._places.size

    def levels(self) -> np.ndarray | None:
        return None if self._places is None else self._places.levels()

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many values a range with a step has; 0 without one."""
        return 0 if self._places is None else self._places.count

    @property
    def is_coarse(self) -> bool:
        """A step with many values, or a range so narrow that neighbouring numbers stand farther apart than rows are told
        apart (1e-12)."""
        if self._places is not None:
            return self._places.is_coarse
        if self.log:
            return bool(math.ulp(self.lo) / self.lo > FINE * (math.log(self.hi) - math.log(self.lo)))
        return bool(math.ulp(max(abs(self.lo), abs(self.hi))) > FINE * (self.hi - self.lo))

    def positions(self) -> np.ndarray:
        assert self._places is not None
        return self._places.positions()

    def nearest(self, value: float) -> float:
        """The legal value nearest to a number."""
        value = float(min(max(value, self.lo), self.hi))
        return value if self._places is None else self._value(self._place(value))

    def value_at(self, fraction: float) -> float:
        """The legal value at a fraction of the way from the lower to the upper end."""
        return self.nearest(at(fraction, float(self.lo), float(self.hi), self.log))

    def _place(self, value: float) -> int:
        assert self._places is not None
        place = round((Fraction(value) - _decimal(self.lo)) / _decimal(self.step))
        return min(max(place, 0), self._places.hi)

    def _value(self, place: int) -> float:
        value = float(_decimal(self.lo) + place * _decimal(self.step))
        return float(min(max(value, self.lo), self.hi))

    def check(self, name: str, value: Any) -> float:
        value = plain(value)
        if not is_finite(value) or not self.lo <= value <= self.hi:
            raise self.reject(name, value)
        if self.step is None:
            return float(value)
        near = self.nearest(value)
        if abs(near - value) > CLOSE * self.step:
            raise self.reject(name, value)
        return near

    def encode(self, value: Any) -> float:
        if self._places is not None:
            return self._places.encode(self._place(value))
        return position(value, self.lo, self.hi, self.log)

    def decode(self, u: float) -> float:
        if self._places is not None:
            return self._value(self._places.decode(u))
        return float(min(max(at(u, self.lo, self.hi, self.log), self.lo), self.hi))

    def allowed_values(self) -> str:
        by = f" in steps of {self.step}" if self.step is not None else ""
        return f"a number from {self.lo} to {self.hi}{by}"

    def describe(self) -> dict[str, Any]:
        step = {"step": self.step} if self.step is not None else {}
        when = {k: list(v) for k, v in self.when.items()}
        return {"float": [self.lo, self.hi], "log": self.log, **step, "when": when}


def _exact(value: Any) -> Any:
    """An end of a Float that fits into one: an integer beyond 2^53 as the float nearest to it."""
    return float(value) if isinstance(value, int) and is_finite(value) and float(value) != value else value


def _decimal(value: Any) -> Fraction:
    """The decimal number that is written for a float: 1/10 for 0.1."""
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


@dataclass(frozen=True, repr=False)
class Int(Parameter):
    """An integer lo, lo + step, ... up to hi, uniform or log-uniform."""

    lo: int
    hi: int
    log: bool = False
    step: int = 1
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", plain(self.log))
        _check_range("Int", plain(self.lo), plain(self.hi), self.log)
        for name in ("lo", "hi", "step"):
            value = plain(getattr(self, name))
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"Int got {name}={format_value(value)}; allowed is an integer")
            object.__setattr__(self, name, value)
        if max(abs(self.lo), abs(self.hi)) > LARGEST:
            came = f"({format_value(self.lo)}, {format_value(self.hi)})"
            raise ValueError(f"Int got the range {came}; allowed are integers up to 1e300")
        if not 1 <= self.step <= max(self.hi - self.lo, 1):
            raise ValueError(f"Int got step={self.step!r}; allowed is 1 to {max(self.hi - self.lo, 1)}")
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
    def is_coarse(self) -> bool:
        return self.kind == "float"

    def positions(self) -> np.ndarray:
        return np.array([self.encode(self.lo + i * self.step) for i in range(self.count)])

    @cached_property
    def _wide(self) -> WideIntegers | None:
        """The exact counting that integers need which are too large for floats."""
        return WideIntegers(self.lo, self.step, self.count, self.log) if is_wide(self.lo, self.hi, self.log) else None

    @cached_property
    def _edges(self) -> tuple[float, float]:
        """Lower edge of the first bin and upper edge of the last; positive on a logarithmic range."""
        last = self.lo + (self.count - 1) * self.step
        return max(self.lo - self.step / 2, self.lo / 2 if self.log else -math.inf), last + self.step / 2

    def nearest(self, value: float) -> int:
        """The legal value nearest to a number."""
        index = round((value - self.lo) / self.step)
        return self.lo + min(max(index, 0), self.count - 1) * self.step

    def value_at(self, fraction: float) -> int:
        """The legal value at a fraction of the way from the lower to the upper end."""
        if self._wide is None:
            return self.nearest(at(fraction, float(self.lo), float(self.hi), self.log))
        first, end = self.encode(self.lo), self.encode(self.lo + (self.count - 1) * self.step)
        return self.decode(end if fraction == 1.0 else first + fraction * (end - first))

    def check(self, name: str, value: Any) -> int:
        value = plain(value)
        if not is_finite(value) or value != int(value):
            raise self.reject(name, value)
        if not self.lo <= value <= self.hi or (int(value) - self.lo) % self.step:
            raise self.reject(name, value)
        return int(value)

    def encode(self, value: Any) -> float:
        if self._wide is not None:
            return self._wide.position((int(value) - self.lo) // self.step)
        a, b = self._edges
        return math.log(value / a) / math.log(b / a) if self.log else (value - a) / (b - a)

    def decode(self, u: float) -> int:
        if self._wide is not None:
            return self.lo + self._wide.index(float(u)) * self.step
        a, b = self._edges
        return self.nearest(a * (b / a) ** u if self.log else a + u * (b - a))

    def allowed_values(self) -> str:
        by = f" in steps of {self.step}" if self.step > 1 else ""
        return f"an integer from {self.lo} to {self.hi}{by}"

    def describe(self) -> dict[str, Any]:
        when = {k: list(v) for k, v in self.when.items()}
        return {"int": [self.lo, self.hi], "log": self.log, "step": self.step, "when": when}
