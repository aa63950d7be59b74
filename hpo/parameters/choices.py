"""Categorical and Const: choices without order, and values that are not searched."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hpo.parameters.base import Parameter, conditions
from hpo.values import as_json, format_value, identity, plain


@dataclass(frozen=True, repr=False)
class Categorical(Parameter):
    """One of a list of values without order.

    A choice is anything that JSON holds: strings, numbers, booleans, None, and lists, tuples and dictionaries of them.
    Anything else gets a name, `Categorical([relu, gelu], names=["relu", "gelu"])` or `Categorical({"relu": relu, "gelu": gelu})`.

    A configuration holds what a log keeps: the name where there are names, a list for a tuple. An objective that
    `minimize` calls gets the choices as they were given; elsewhere `Space.objects(config)` makes the one into the other.
    """

    choices: Sequence[Any]
    names: Sequence[str] | None = None
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    kind = "categorical"

    def __post_init__(self) -> None:
        choices, names = self.choices, self.names
        if isinstance(choices, Mapping) and names is None:
            choices, names = list(choices.values()), list(choices)
        if isinstance(choices, str | bytes) or not isinstance(choices, Sequence):
            raise TypeError(f"Categorical got {format_value(choices)}; allowed is a list of choices")
        if not choices:
            raise ValueError("Categorical got no choices; allowed is a list with at least one")
        values = _named_values(choices, names) if names is not None else [_choice(choice) for choice in choices]
        if len({identity(value) for value in values}) != len(values):
            raise ValueError(f"Categorical got a choice twice in {format_value(values)}; allowed are distinct choices")
        given = choices if names is not None else [c if isinstance(c, tuple | list | Mapping) else plain(c) for c in choices]
        object.__setattr__(self, "choices", tuple(given))
        object.__setattr__(self, "names", tuple(names) if names is not None else None)
        object.__setattr__(self, "when", conditions(self.when))

    @cached_property
    def values(self) -> tuple[Any, ...]:
        """The values that a configuration may hold: the names, or the choices as JSON holds them."""
        return tuple(self.names) if self.names is not None else tuple(as_json(choice) for choice in self.choices)

    @cached_property
    def _indices(self) -> dict[Any, int]:
        return {identity(value): index for index, value in enumerate(self.values)}

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.choices)

    def _index(self, value: Any) -> int | None:
        try:
            index = self._indices.get(identity(plain(value)))
        except TypeError:  # not hashable: an array, a set
            index = None
        if index is None and self.names is not None:  # an object in place of its name
            index = next((i for i, choice in enumerate(self.choices) if choice is value), None)
        return index

    def check(self, name: str, value: Any) -> Any:
        index = self._index(value)
        if index is None:
            raise self.reject(name, value)
        return copy.deepcopy(self.values[index])

    def encode(self, value: Any) -> float:
        index = self._index(value)
        assert index is not None, value
        return float(index)

    def decode(self, u: float) -> Any:
        value = self.values[min(max(round(u), 0), len(self.choices) - 1)]
        return copy.deepcopy(value) if isinstance(value, list | dict) else value

    @property
    def is_plain(self) -> bool:
        return self.names is None and not any(isinstance(choice, tuple | list | Mapping) for choice in self.choices)

    def object(self, value: Any) -> Any:
        index = self._index(value)
        if index is None:
            return value
        choice = self.choices[index]
        return copy.deepcopy(choice) if isinstance(choice, list | dict) and self.names is None else choice

    def allowed_values(self) -> str:
        return f"one of {list(self.values)}"

    def describe(self) -> dict[str, Any]:
        return {"choices": list(self.values), "when": {k: list(v) for k, v in self.when.items()}}


def _choice(choice: Any) -> Any:
    try:
        return as_json(choice)
    except (TypeError, ValueError) as error:
        more = "; anything else is named: Categorical({'name': choice, ...})" if isinstance(error, TypeError) else ""
        raise type(error)(f"Categorical got the choice {error}{more}") from None


def _named_values(choices: Sequence[Any], names: Any) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(n, str) and n for n in names):
        raise TypeError(f"Categorical got names={format_value(names)}; allowed is a list of non-empty strings")
    if len(names) != len(choices):
        raise ValueError(f"Categorical got {len(names)} names for {len(choices)} choices; allowed is one each")
    return list(names)


@dataclass(frozen=True, repr=False)
class Const(Parameter):
    """A fixed value that is in every configuration and is not searched: anything that JSON holds."""

    value: Any
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    kind = "categorical"
    size = 1

    def __post_init__(self) -> None:
        try:
            as_json(self.value)
        except (TypeError, ValueError) as error:
            more = "; anything else is named: Categorical({'name': value})" if isinstance(error, TypeError) else ""
            raise TypeError(f"Const got {error}{more}") from None
        if not isinstance(self.value, tuple | list | Mapping):
            object.__setattr__(self, "value", plain(self.value))
        object.__setattr__(self, "when", conditions(self.when))

    def check(self, name: str, value: Any) -> Any:
        try:
            same = identity(plain(value)) == identity(self.value)
        except (TypeError, ValueError):  # not hashable: an array, a set
            same = False
        if not same:
            raise self.reject(name, value)
        return self.decode(0.0)

    def encode(self, value: Any) -> float:
        return 0.0

    def decode(self, u: float) -> Any:
        return as_json(self.value)

    @property
    def is_plain(self) -> bool:
        return not isinstance(self.value, tuple | list | Mapping)

    def object(self, value: Any) -> Any:
        return copy.deepcopy(self.value)

    def allowed_values(self) -> str:
        return f"only {self.value!r}"

    def describe(self) -> dict[str, Any]:
        return {"const": as_json(self.value), "when": {k: list(v) for k, v in self.when.items()}}
