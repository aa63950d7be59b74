"""Grid search: every combination of listed values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np

from hpo.optimizers.manual import Listed
from hpo.parameters import Categorical, Const, Float, Int, Parameter
from hpo.space import Config
from hpo.values import format_value, identity

COUNTED = 100_000  # places of a grid that are looked at for its feasible ones


@dataclass(eq=False)
class Grid(Listed):
    """The product of listed values, in the order of the space, the last parameter fastest.

    `values` names a parameter's values; a range without them gets `points` values (an integer for all, or by name):
    placement "ends" spreads them over the whole range (2-26 with four points: 2, 10, 18, 26), "midpoints" takes the
    middle of equal parts (5, 11, 17, 23), both on the log scale where the range is logarithmic. Conditional parameters
    are crossed only where they are active, infeasible configurations are left out.
    """

    _: KW_ONLY
    points: int | Mapping[str, int] = 4
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    placement: Literal["ends", "midpoints"] = "ends"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.placement not in ("ends", "midpoints"):
            raise ValueError(f"placement is {self.placement!r}; allowed are 'ends' and 'midpoints'")
        if not isinstance(self.values, Mapping):
            raise TypeError(f"values is {format_value(self.values)}; allowed is a mapping from names to lists of values")
        named = [*self.values, *(self.points if isinstance(self.points, Mapping) else ())]
        unknown = [name for name in named if name not in self.space.parameters]
        if unknown:
            raise ValueError(f"the grid names {unknown[0]!r}, which is not one of {list(self.space.parameters)}")
        self._axes = {name: self._axis(name, spec) for name, spec in self.space.parameters.items()}

    def _axis(self, name: str, spec: Parameter) -> list[Any]:
        if name in self.values:
            if not isinstance(self.values[name], list | tuple | range | np.ndarray):
                raise TypeError(f"the values of {name!r} are {format_value(self.values[name])}; allowed is a list")
            values = [spec.check(name, value) for value in self.values[name]]
            return list({identity(value): value for value in values}.values())
        if isinstance(spec, Const):
            return [spec.decode(0.0)]
        if isinstance(spec, Categorical):
            return list(spec.values)
        count = self.points.get(name, 4) if isinstance(self.points, Mapping) else self.points
        if type(count) is not int or count < 1:
            raise ValueError(f"the grid has points={count!r} for {name!r}; allowed is an integer of at least 1")
        assert isinstance(spec, Float | Int)
        return list(dict.fromkeys(spec.value_at(fraction) for fraction in self._positions(count)))

    def _positions(self, count: int) -> list[float]:
        if self.placement == "midpoints" or count == 1:
            return [(i + 0.5) / count for i in range(count)]
        return [i / (count - 1) for i in range(count)]

    @property
    def count(self) -> int:
        return math.prod(len(axis) for axis in self._axes.values())

    def at(self, index: int) -> Config | None:
        """The configuration at a place; None if it is infeasible, or differs from an earlier one in inactive parameters only."""
        digits = []
        for axis in reversed(self._axes.values()):
            index, digit = divmod(index, len(axis))
            digits.append(digit)
        places = dict(zip(self._axes, reversed(digits), strict=True))
        full = {name: self._axes[name][digit] for name, digit in places.items()}
        config = {name: full[name] for name in self.space.active(full)}
        if any(digit for name, digit in places.items() if name not in config):
            return None
        return config if self.space.is_feasible(config) else None

    def __str__(self) -> str:
        """What a person reads before it starts: `grid 3 x 3 x 3 x 3 = 81, of which 63 feasible`."""
        sizes = " x ".join(str(len(axis)) for axis in self._axes.values())
        said = f"grid {sizes} = {self.count}"
        if self.count > COUNTED:
            return f"{said}, too many to count the feasible ones"
        usable = sum(self.at(index) is not None for index in range(self.count))
        kind = "distinct and feasible" if any(spec.when for spec in self.space.parameters.values()) else "feasible"
        return said + (f", of which {usable} {kind}" if usable != self.count else "")
