"""Rules by which PBT explores one hyperparameter of a clone (Jaderberg et al. 2017: perturb and resample).

    Factors(0.8, 1.25)   a number is multiplied by one of them
    Steps(-0.1, 0.1)     one of them is added to a number; a choice goes so many places on in its list
    "resample"           drawn afresh every time
    "usual"              the optimizer's own `factors` for a number; a choice is kept
    "fixed"              never changed

With probability `resample` of the optimizer every rule but "fixed" draws afresh instead. All values stay in their range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.parameters import Categorical, Const, Float, Int, Parameter
from hpo.values import format_value, is_finite, plain

RESAMPLE, USUAL, FIXED = "resample", "usual", "fixed"
WORDS = (RESAMPLE, USUAL, FIXED)
ZERO = 0.1  # share of its range by which a number at zero is explored, since no factor moves it


@dataclass(frozen=True, init=False, repr=False)
class Factors:
    """Multiplies a number by one of these factors.

    Where values stand in steps (integers do) it moves by one at least; a number at zero moves as if it were a tenth of its range
    away from it.

        space = {"lr": (1e-4, 1.0, "log"), "momentum": (0.0, 0.99)}
        optimizer = hpo.PBT(space, explore={"lr": hpo.Factors(0.5, 2.0)})
    """

    factors: tuple[float, ...]

    def __init__(self, *factors: float) -> None:
        object.__setattr__(self, "factors", _numbers("Factors", factors))
        if any(factor <= 0 for factor in self.factors):
            raise ValueError(f"{self!r} holds a number that is not above 0; allowed are factors such as 0.8 and 1.25")

    def describe(self) -> dict[str, Any]:
        """JSON values from which `read_rule` makes the rule again."""
        return {"factors": list(self.factors)}

    def check(self, name: str, spec: Parameter) -> None:
        """ValueError in a sentence if the parameter is no number."""
        if not isinstance(spec, Float | Int):
            raise ValueError(f"{name!r} is no number, so {self!r} cannot explore it; allowed are Steps and 'resample'")

    def move(self, spec: Parameter, value: Any, rng: np.random.Generator) -> Any:
        """The value times one of the factors."""
        assert isinstance(spec, Float | Int)
        return scale(spec, value, self.factors[int(rng.integers(len(self.factors)))])

    def __repr__(self) -> str:
        return f"Factors({', '.join(map(repr, self.factors))})"


@dataclass(frozen=True, init=False, repr=False)
class Steps:
    """Adds one of these numbers. Where values stand in steps a number moves by one at least; a choice goes so many places on
    in its list.

        space = {"dropout": (0.0, 0.5), "batch": [8, 16, 32, 64]}
        optimizer = hpo.PBT(space, explore={"dropout": hpo.Steps(-0.05, 0.05), "batch": hpo.Steps(-1, 1)})
    """

    steps: tuple[float, ...]

    def __init__(self, *steps: float) -> None:
        object.__setattr__(self, "steps", _numbers("Steps", steps))

    def describe(self) -> dict[str, Any]:
        """JSON values from which `read_rule` makes the rule again."""
        return {"steps": list(self.steps)}

    def check(self, name: str, spec: Parameter) -> None:
        """ValueError in a sentence if the steps of a choice are no whole numbers."""
        if isinstance(spec, Const):
            raise ValueError(f"{name!r} is a constant, so {self!r} cannot explore it")
        if isinstance(spec, Categorical) and any(step != int(step) for step in self.steps):
            raise ValueError(f"{name!r} is a choice, so {self!r} counts places in its list; allowed are integers")

    def move(self, spec: Parameter, value: Any, rng: np.random.Generator) -> Any:
        """The value plus one of the steps."""
        step = self.steps[int(rng.integers(len(self.steps)))]
        if step == 0:
            return value
        if isinstance(spec, Categorical):
            place = round(spec.encode(value)) + int(step)
            return spec.decode(float(min(max(place, 0), spec.size - 1)))
        assert isinstance(spec, Float | Int)
        return _land(spec, value, value + step)

    def __repr__(self) -> str:
        return f"Steps({', '.join(map(repr, self.steps))})"


Rule = Factors | Steps | str
KINDS: dict[str, type[Factors] | type[Steps]] = {"factors": Factors, "steps": Steps}


def read_rule(name: str, spec: Parameter, given: Any) -> Rule:
    """The rule of a parameter, as a person or a header writes it. TypeError or ValueError in a sentence for anything else."""
    rule = given
    if isinstance(given, Mapping) and len(given) == 1 and isinstance(next(iter(given.values())), list | tuple):
        kind, numbers = next(iter(given.items()))
        rule = KINDS[kind](*numbers) if kind in KINDS else given
    if isinstance(rule, Factors | Steps):
        rule.check(name, spec)
    elif not isinstance(rule, str) or rule not in WORDS:
        allowed = ", ".join(["Factors(0.8, 1.25)", "Steps(-0.1, 0.1)", *map(repr, WORDS)])
        raise TypeError(f"the rule of {name!r} is {format_value(given)}; allowed are {allowed}")
    return rule


def describe_rule(rule: Rule) -> Any:
    """A rule as the header writes it."""
    return rule if isinstance(rule, str) else rule.describe()


def resample_value(spec: Parameter, rng: np.random.Generator) -> Any:
    """A value of one parameter, whatever the others are."""
    if isinstance(spec, Categorical):
        return spec.decode(float(rng.integers(spec.size)))
    return spec.decode(float(rng.random()))


def scale(spec: Float | Int, value: float, factor: float) -> float | int:
    """A value times a factor, clipped to its range. Where there are steps it moves by at least one, and a number at zero,
    which no factor moves, as if it were a tenth of its range away from it."""
    if factor == 1:
        return value
    scaled = value * factor
    if isinstance(spec, Float) and value == 0.0:
        scaled = (factor - 1.0) * ZERO * (spec.hi - spec.lo)
    return _land(spec, value, scaled, up=factor > 1)


def _land(spec: Float | Int, value: float, moved: float, up: bool | None = None) -> float | int:
    """The legal value nearest to where a value was moved, at least one step away. up: in which direction, if not that of the
    move."""
    if spec.step is None:
        return spec.nearest(moved)
    index, old = round((moved - spec.lo) / spec.step), round((value - spec.lo) / spec.step)
    if index == old:
        index += 1 if (moved > value if up is None else up) else -1
    return spec.nearest(spec.lo + index * spec.step)


def _numbers(name: str, given: tuple[Any, ...]) -> tuple[float, ...]:
    found = tuple(plain(one) for one in given)
    if not found or not all(is_finite(one) for one in found):
        raise ValueError(f"{name} got {format_value(given)}; allowed are one or more finite numbers")
    return found
