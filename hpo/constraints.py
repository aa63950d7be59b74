"""Constraints of a space: predicates over one configuration or over many, called in order, and only once for each row.

    Space(..., constraints=[fits])                 fits({"hidden": 64, "heads": 4}) -> True
    Space(..., constraints=[Vectorised(fits)])     fits({"hidden": array([64, 48]), ...}) -> array([True, False])

The second form pays where few configurations are feasible: an acquisition checks thousands of rows at every ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.parameters import Categorical, Const, Float, Int, Parameter

KEPT = 1 << 16  # answers that are remembered; when there are more, all are forgotten
BULK = 4096  # answers for blocks of at least so many rows are not remembered: such rows are random and do not come again


@dataclass(frozen=True)
class Vectorised:
    """A constraint over columns: function({name: array (n,)}) -> (n,) booleans, one for each configuration.

    Every parameter of the space has a column, constants too. An inactive number is NaN, so integers with a condition
    come as float64. Choices that are not all numbers come as an object array, with None where they are inactive.
    """

    function: Callable[[Mapping[str, np.ndarray]], Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"Vectorised takes a function of columns, but {self.function!r} came")


Constraint = Callable[[Mapping[str, Any]], bool] | Vectorised


def as_constraints(constraints: Any) -> tuple[Constraint, ...]:
    """The constraints of a space, one or several, as a tuple. TypeError for anything that cannot be called."""
    alone = callable(constraints) or isinstance(constraints, Vectorised | str) or not isinstance(constraints, Iterable)
    found: tuple[Any, ...] = (constraints,) if alone else tuple(constraints)
    for predicate in found:
        if not (callable(predicate) or isinstance(predicate, Vectorised)):
            raise TypeError(f"a constraint must be a function of a configuration, but {predicate!r} came")
    return found


def evaluate_constraint(
    predicate: Constraint, configs: Sequence[Mapping[str, Any]], parameters: Mapping[str, Parameter]
) -> np.ndarray:
    """(n,) bool: which configurations a constraint allows. ValueError, in one sentence, where it raises."""
    if isinstance(predicate, Vectorised):
        return _by_columns(predicate, configs, parameters)
    return np.array([_evaluate(predicate, config) for config in configs], dtype=bool)


def _evaluate(predicate: Callable[[Mapping[str, Any]], bool], config: Mapping[str, Any]) -> bool:
    try:
        return bool(predicate(config))
    except Exception as error:
        raise ValueError(
            f"the constraint {_name(predicate)} raised {type(error).__name__}: {error} for {dict(config)}; inactive "
            f"parameters are absent there, so it should read them with config.get"
        ) from error


def _name(predicate: Any) -> str:
    return str(getattr(predicate, "__qualname__", repr(predicate)))


def _by_columns(predicate: Vectorised, configs: Sequence[Mapping[str, Any]], parameters: Mapping[str, Parameter]) -> np.ndarray:
    columns = {name: parameter_column(spec, [config.get(name) for config in configs]) for name, spec in parameters.items()}
    return evaluate_columns(predicate, columns, len(configs))


def evaluate_columns(predicate: Vectorised, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """(n,) bool: which of n configurations a constraint allows. ValueError if it returns anything but one boolean for each."""
    said = f"the constraint {_name(predicate.function)}, declared to take columns,"
    try:
        answer = np.asarray(predicate.function(columns))
    except Exception as error:
        raise ValueError(f"{said} raised {type(error).__name__}: {error}; each column is an array, so `and` becomes `&`, "
                         "and inactive numbers are NaN") from error  # fmt: skip
    if answer.shape != (n,) or answer.dtype.kind not in "biuf":
        raise ValueError(f"{said} returned {answer.dtype} of shape {answer.shape} for {n} configurations; allowed is an "
                         f"array of {n} booleans")  # fmt: skip
    return answer.astype(bool)


def parameter_column(spec: Parameter, values: list[Any]) -> np.ndarray:
    """A parameter's values as an array; an inactive one comes as None. The dtype depends on the parameter alone."""
    if isinstance(spec, Float | Int):
        numbers, whole = True, isinstance(spec, Int)
    else:
        among = spec.values if isinstance(spec, Categorical) else [spec.decode(0.0)]
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in among)
        whole = numbers and all(isinstance(one, int) for one in among)
    if not numbers:
        found = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):  # one by one: numpy would make a row of a choice that is a tuple
            found[i] = value
        return found
    if whole and not spec.when:
        return np.array(values, dtype=np.int64 if _short(spec) else object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _short(spec: Parameter) -> bool:
    """Whether every value of a parameter of integers fits into 64 bits."""
    ends = (spec.lo, spec.hi) if isinstance(spec, Int) else spec.values if isinstance(spec, Categorical) else (spec.decode(0.0),)
    return all(-(2**63) <= end < 2**63 for end in ends)


class Feasible:
    """All constraints of a space over rows of its domain: feasible(rows (n, d)) -> (n,) bool.

    A constraint sees only the rows that the ones before it allow, and no row twice, because answers are remembered.
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], columns: Sequence[str], constraints: Sequence[Constraint],
        decode: Callable[[np.ndarray], dict[str, Any]],
    ) -> None:
        self.parameters, self.columns, self.constraints, self.decode = parameters, columns, constraints, decode
        self.cheap = all(isinstance(predicate, Vectorised) for predicate in constraints)
        # Rows show which parameters are active, except for constants with conditions.
        self.shown = not any(isinstance(spec, Const) and spec.when for spec in parameters.values())
        self.known: dict[bytes, int] = {}

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self.count_held(rows) == len(self.constraints)

    def count_held(self, rows: np.ndarray) -> np.ndarray:
        """(n,) int: for each row, how many constraints it meets before the first that it breaks."""
        if len(rows) >= BULK:
            return self._count(rows)
        keys = [row.tobytes() for row in np.ascontiguousarray(rows)]
        new = {key: i for i, key in enumerate(keys) if key not in self.known}
        if new:
            if len(self.known) + len(new) > KEPT:
                self.known.clear()
                new = {key: i for i, key in enumerate(keys)}
            self.known.update(zip(new, self._count(rows[list(new.values())]).tolist(), strict=True))
        return np.array([self.known[key] for key in keys], dtype=int)

    def _count(self, rows: np.ndarray) -> np.ndarray:
        counts, left = np.zeros(len(rows), dtype=int), np.arange(len(rows))
        values = self._values(rows)
        configs: list[dict[str, Any]] | None = None
        arrays: dict[str, np.ndarray] | None = None
        for predicate in self.constraints:
            if len(left) == 0:
                break
            if isinstance(predicate, Vectorised):
                arrays = arrays or {name: parameter_column(self.parameters[name], values[name]) for name in self.parameters}
                good = evaluate_columns(predicate, {name: array[left] for name, array in arrays.items()}, len(left))
            else:
                configs = configs or self._configs(rows, values)
                good = np.array([_evaluate(predicate, configs[i]) for i in left], dtype=bool)
            left = left[good]
            counts[left] += 1
        return counts

    def _values(self, rows: np.ndarray) -> dict[str, list[Any]]:
        """Every parameter's values, None where it is inactive. Parameters are in the order in which they were declared."""
        if not self.shown:
            configs = [self.decode(row) for row in rows]
            return {name: [config.get(name) for config in configs] for name in self.parameters}
        found: dict[str, list[Any]] = {}
        for name, spec in self.parameters.items():
            if isinstance(spec, Const):
                found[name] = [spec.decode(0.0)] * len(rows)
            else:
                found[name] = _decode_column(spec, rows[:, self.columns.index(name)])
        return found

    def _configs(self, rows: np.ndarray, values: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
        """The configurations of the rows, as `decode` makes them. What is inactive is seen by NaN: None may be a choice."""
        if not self.shown:
            return [self.decode(row) for row in rows]
        full = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        for name, off in zip(self.columns, np.isnan(rows).T, strict=True):
            for i in np.flatnonzero(off):
                del full[i][name]
        return full


def _decode_column(spec: Parameter, positions: np.ndarray) -> list[Any]:
    """The values at positions (n,), None at NaN. Of a parameter with few values each is decoded only once."""
    if spec.size and len(positions) > spec.size:
        table = {u: spec.decode(u) for u in np.unique(positions).tolist() if u == u}
        return [table.get(u) for u in positions.tolist()]  # a NaN is in no table
    return [None if u != u else spec.decode(u) for u in positions.tolist()]
