"""The search space: named parameters, conditions between them, constraints over them.

    Space(lr=Float(1e-5, 1e-1, log=True), layers=Int(2, 12), optimizer=Categorical(["adamw", "sgd"]),
          momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}), constraints=[fits])

The short form `{"lr": (1e-5, 1e-1, "log"), "layers": (2, 12), "batch": [8, 16, 32], "epochs": 3}` is accepted wherever a
space is. A pair is a range (of integers if both ends are integers), and "log" as a third element makes it logarithmic. A list
is a choice, anything else is a constant. A range of one point is a constant, too. (0, 1) is refused, since it may mean the two
integers or the numbers between them: write Int(0, 1) or (0.0, 1.0).

A configuration holds plain values that JSON returns unchanged. If choices are tuples, or objects with names, `objects` returns
the configuration that the objective gets.

The surrogates never see the classes of this file: `Space.domain` is the same space as arrays (see surrogates.domain), and
`encode` and `decode` translate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property, partial
from hashlib import sha256
from inspect import getclosurevars
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from hpo.constraints import Constraint, Feasible, Vectorised, as_constraints, evaluate_constraint
from hpo.parameters import MAX_LEVELS, Categorical, Const, Float, Int, Parameter, constant, parameter
from hpo.values import format_value, identity
from surrogates.domain import Domain, Grid

Config = dict[str, Any]

AROUND = 256  # feasible rows; the nearest of them replaces an infeasible middle

__all__ = ["Categorical", "Config", "Const", "Constraint", "Float", "Int", "Parameter", "Space", "Vectorised"]


def code_name(code: Any) -> Any:
    """The name that a header records for code: a function's name, with a partial's arguments; an instance's repr, else its class.

    It never holds an address, which would differ in every process. A lambda has no name of its own, so its text ends with a
    digest of its code; another version of Python may compile it to another digest.
    """
    if isinstance(code, partial):
        return [
            code_name(code.func),
            [repr(value) for value in code.args],
            {k: repr(v) for k, v in code.keywords.items()},
        ]
    if is_dataclass(code) and not isinstance(code, type) and not isinstance(code, Space):
        parts = {field.name: getattr(code, field.name) for field in fields(code)}
        named = {name: code_name(part) if callable(part) else repr(part) for name, part in parts.items()}
        return [f"{type(code).__module__}.{type(code).__qualname__}", named] if named else type(code).__qualname__
    if not hasattr(code, "__qualname__") and " at 0x" not in repr(code):
        return repr(code)
    owner: Any = code if hasattr(code, "__qualname__") else type(code)
    name = f"{owner.__module__}.{owner.__qualname__}"
    return f"{name} {_digest(code)}" if isinstance(code, FunctionType) and name.endswith("<lambda>") else name


def _digest(code: FunctionType) -> str:
    """8 hex digits of a function's instructions, constants and names, and of the plain values it binds."""
    bound = [*(code.__defaults__ or ()), *getclosurevars(code).nonlocals.values()]
    plain = [repr(value) for value in bound if isinstance(value, str | int | float | None)]

    def told(part: Any) -> Any:
        if isinstance(part, CodeType):
            return [part.co_code.hex(), [told(value) for value in part.co_consts], part.co_names]
        return sorted(map(repr, part)) if isinstance(part, frozenset) else repr(part)  # sets differ in order by process

    return sha256(repr([told(code.__code__), plain]).encode()).hexdigest()[:8]


class Space:
    """Named parameters with conditions (`when=`) and constraints (predicates over a configuration).

    A constraint is called with a plain configuration, in which inactive parameters are absent, and returns whether it may be
    tried. Wrapped as Vectorised(constraint) it is called with arrays of many configurations (see constraints.py). Every
    optimizer proposes only feasible configurations that hold exactly the active parameters.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any] | None = None,
        /,
        *,
        constraints: Constraint | Iterable[Constraint] = (),
        **named: Any,
    ) -> None:
        specs = {name: parameter(name, spec) for name, spec in _join(parameters, named).items()}
        parents = {parent for spec in specs.values() for parent in spec.when}  # these need a column, however short
        self.parameters: dict[str, Parameter] = {n: s if n in parents else constant(s) for n, s in specs.items()}
        self.constraints = as_constraints(constraints)
        self._columns = self._order()

    @classmethod
    def of(cls, space: Space | Mapping[str, Any]) -> Space:
        """The space itself, or the space that a short form describes."""
        if isinstance(space, Space):
            return space
        if isinstance(space, Mapping):
            return cls(space)
        raise TypeError(f"a space is a Space or a mapping from names to ranges, but {_came(space)} came")

    def _order(self) -> tuple[str, ...]:
        """The searched parameters, parents before children. ValueError for unknown parents, impossible values and cycles."""
        for name, spec in self.parameters.items():
            for parent, values in spec.when.items():
                self._check_condition(name, parent, values)
        order: list[str] = []
        waiting = [name for name, spec in self.parameters.items()]
        while waiting:
            ready = [n for n in waiting if all(parent in order for parent in self.parameters[n].when)]
            if not ready:
                raise ValueError(
                    f"the conditions of {waiting} form a circle; a condition must lead to a free parameter"
                )
            order += ready
            waiting = [n for n in waiting if n not in ready]
        return tuple(n for n in order if not isinstance(self.parameters[n], Const))

    def _check_condition(self, name: str, parent: str, values: tuple[Any, ...]) -> None:
        if parent not in self.parameters:
            raise ValueError(f"parameter {name!r} depends on {parent!r}, which is not one of {list(self.parameters)}")
        owner = self.parameters[parent]
        if not isinstance(owner, Categorical | Int):
            kind = type(owner).__name__
            raise ValueError(f"parameter {name!r} depends on {parent!r}, a {kind}; allowed are Categorical and Int")
        if owner.kind == "float":  # a Float's rows need not be exactly at its values
            raise ValueError(
                f"parameter {name!r} depends on {parent!r} with {owner.count} values; allowed are {MAX_LEVELS}"  # type: ignore[union-attr]
            )
        for value in values:
            owner.check(parent, value)

    # -- configurations ---------------------------------------------------------------------------------------------

    def active(self, config: Mapping[str, Any]) -> list[str]:
        """The names that a configuration must hold, given the values of its parents; in order of declaration."""
        on: set[str] = set()
        for name in (*self._columns, *self.parameters):  # parents first; constants last, since they are never parents
            conditions = self.parameters[name].when
            if all(parent in on and _among(config.get(parent), values) for parent, values in conditions.items()):
                on.add(name)
        return [name for name in self.parameters if name in on]

    def check(self, config: Mapping[str, Any]) -> Config:
        """The configuration as plain Python values, constants filled in.

        Raises ValueError that names the parameter, what came and what is allowed.
        """
        if not isinstance(config, Mapping):
            raise TypeError(f"a configuration is a mapping from names to values, but {type(config).__name__} came")
        unknown = [name for name in config if name not in self.parameters]
        if unknown:
            raise ValueError(f"unknown parameter {unknown[0]!r}; allowed are {list(self.parameters)}")
        values = {name: self.parameters[name].check(name, value) for name, value in config.items()}
        active = self.active(values)
        for name in values:
            if name not in active:
                when = self.parameters[name].when
                raise ValueError(f"parameter {name!r} came, but it is allowed only when {when} holds")
        for name in active:
            spec = self.parameters[name]
            if isinstance(spec, Const):
                values[name] = spec.decode(0.0)
            elif name not in values:
                raise ValueError(f"parameter {name!r} is missing; allowed is {spec.allowed_values()}")
        plain = {name: values[name] for name in active}
        if not self.is_feasible(plain):
            raise ValueError(f"configuration {plain} is excluded by a constraint of the space")
        return plain

    def is_feasible(self, config: Mapping[str, Any]) -> bool:
        """Whether every constraint allows the configuration."""
        return all(evaluate_constraint(predicate, [config], self.parameters)[0] for predicate in self.constraints)

    def midpoint(self) -> Config:
        """The middle of every range and the first option of every choice. If this is not feasible: the nearest of some feasible
        rows."""
        row = np.array([0.0 if self.parameters[n].kind == "categorical" else 0.5 for n in self._columns])
        rows = self.domain.snap(row[None, :])
        if self.constraints and not bool(self.domain.is_feasible(rows)[0]):
            from surrogates.distances import distances  # loads a part of scipy that most workers never need

            near, columns = self.domain.random(np.random.default_rng(0), AROUND), self.domain.columns
            apart = distances(self.domain.features(rows), self.domain.features(near), np.zeros(self.domain.d), columns)
            rows = near[[int(apart.argmin())]]
        return self.decode(rows[0])

    # -- arrays -----------------------------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the searched parameters in the order of the columns of `domain`."""
        return self._columns

    @cached_property
    def domain(self) -> Domain:
        """The space as arrays: one column a searched parameter."""
        specs = [self.parameters[name] for name in self._columns]
        parents = []
        for spec in specs:
            pairs = []
            for parent, values in spec.when.items():
                owner = self.parameters[parent]
                pairs.append((self._columns.index(parent), tuple(owner.encode(v) for v in values)))
            parents.append(tuple(pairs))
        return Domain(
            kinds=tuple(spec.kind for spec in specs),
            levels=tuple(spec.levels() for spec in specs),
            sizes=tuple(spec.size for spec in specs),
            parents=tuple(parents),
            feasible=Feasible(self.parameters, self._columns, self.constraints, self.decode) if self.constraints else None,
            grids=tuple(_grid(spec) for spec in specs),
        )

    def encode(self, config: Mapping[str, Any]) -> np.ndarray:
        """(d,) float64: ranges in [0, 1], choices as index, NaN where inactive."""
        return np.array(
            [self.parameters[n].encode(config[n]) if n in config else np.nan for n in self._columns], dtype=np.float64
        )

    def decode(self, row: np.ndarray) -> Config:
        """The configuration of a row: plain Python values, inactive parameters absent, constants filled in."""
        values = {
            n: self.parameters[n].decode(float(u)) for n, u in zip(self._columns, row, strict=True) if not np.isnan(u)
        }
        for name, spec in self.parameters.items():
            if isinstance(spec, Const):
                values[name] = spec.decode(0.0)
        return {name: values[name] for name in self.active(values)}

    # -- objects ----------------------------------------------------------------------------------------------------

    def objects(self, config: Mapping[str, Any]) -> Config:
        """The configuration that an objective gets: choices as they were given (tuples, named objects)."""
        return {name: self.parameters[name].object(value) for name, value in config.items()}

    @property
    def is_plain(self) -> bool:
        """Whether configurations hold the values exactly as they were given, so that `objects` changes nothing."""
        return all(spec.is_plain for spec in self.parameters.values())

    # -- description ------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The space as JSON values, for the header of a log. Constraints are recorded by name: they are code."""
        named = [code_name(predicate) for predicate in self.constraints]
        return {"parameters": {n: spec.describe() for n, spec in self.parameters.items()}, "constraints": named}

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={spec!r}" for name, spec in self.parameters.items())
        return f"Space({inner})"

    def __len__(self) -> int:
        return len(self.parameters)


def _among(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether a value is one of the others; True and 1 count as different."""
    return value in values and any(identity(value) == identity(other) for other in values)


def _join(parameters: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a mapping and those by keyword together; ValueError if one comes twice."""
    if parameters is not None and not isinstance(parameters, Mapping):
        raise TypeError(f"a space is made of a mapping from names to ranges, but {_came(parameters)} came")
    twice = [name for name in parameters or () if name in named]
    if twice:
        raise ValueError(f"parameter {twice[0]!r} came twice, in the mapping and by keyword; allowed is one of the two")
    if not parameters and not named:
        raise ValueError("a space needs at least one parameter, and none was given")
    return {**(parameters or {}), **named}


def _came(value: Any) -> str:
    """For an error, what was given as a space: its type, and its value if that is short."""
    return type(value).__name__ if not isinstance(value, list | tuple) else f"the {type(value).__name__} {format_value(value)}"


def _grid(spec: Parameter) -> Grid | None:
    """The grid to which rows of a float column are rounded, if several positions mean the same value."""
    if not spec.is_coarse:
        return None
    return Grid(lambda positions: np.array([spec.snap(u) for u in positions.tolist()]), spec.count, spec.positions)
