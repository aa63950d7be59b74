"""Points of a domain's discrete columns: how many there are, all of them, and the moves from one to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from surrogates.columns import Array, Mask

MOST = 100_000  # combinations of the values of parents up to which points are counted exactly


class Lattice(Protocol):
    """What is needed of a Domain."""

    @property
    def d(self) -> int: ...
    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def parents(self) -> Sequence[Sequence[tuple[int, tuple[float, ...]]]]: ...
    def active(self, X: Array) -> Mask: ...
    def snap(self, X: Array) -> Array: ...
    def is_feasible(self, X: Array) -> Mask: ...
    def values(self, j: int) -> Array: ...


def count_points(domain: Lattice) -> float:
    """Points before the constraint: the columns that are parents are enumerated, the others only multiplied."""
    inner = sorted({parent for conditions in domain.parents for parent, _ in conditions})
    sizes = [float(size) if size else np.inf for size in domain.sizes]
    if any(domain.sizes[j] == 0 for j in inner):
        return float("inf")
    if np.prod([float(domain.sizes[j]) for j in inner]) > MOST:  # too many: bound from above
        return float(np.prod(sizes))
    rows = combine_values(domain, inner)
    on = domain.active(rows)
    count = np.ones(len(rows))
    for j in set(range(domain.d)) - set(inner):
        count *= np.where(on[:, j], sizes[j], 1.0)
    return float(count.sum())


def every_row(domain: Lattice) -> Array:
    """(N, d) every feasible row of a domain without float columns, in a fixed order."""
    rows = combine_values(domain, range(domain.d))
    return np.asarray(rows[domain.is_feasible(rows)])


def combine_values(domain: Lattice, columns: Sequence[int]) -> Array:
    """(k, d) every combination of the values of `columns`, in column order, where they are active; NaN in the others."""
    rows = np.full((1, domain.d), np.nan)
    for j in columns:
        on = domain.active(rows)[:, j]
        values = domain.values(j)
        grown = np.repeat(rows[on], len(values), axis=0)
        grown[:, j] = np.tile(values, int(on.sum()))
        rows = np.concatenate([rows[~on], grown])
    return rows


def neighbour_rows(domain: Lattice, x: Array) -> Array:
    """See Domain.neighbours."""
    moves = [_move(x, j, value) for j in range(domain.d) if not np.isnan(x[j]) for value in _steps(domain, x, j)]
    if not moves:
        return np.zeros((0, domain.d))
    rows = domain.snap(np.array(moves))
    return np.asarray(rows[domain.is_feasible(rows)])


def _move(x: Array, j: int, value: float) -> Array:
    row = np.array(x)
    row[j] = value
    return row


def _steps(domain: Lattice, x: Array, j: int) -> Array:
    """Values (k,) that are one move away in a column."""
    if domain.kinds[j] == "float":
        return np.zeros(0)
    values = domain.values(j)
    at = int(np.argmin(np.abs(values - x[j])))
    if domain.kinds[j] == "categorical":
        return np.delete(values, at)
    steps = 2 ** np.arange(max(1, len(values).bit_length()))
    indices = np.concatenate([at - steps, at + steps])
    return np.asarray(values[indices[(indices >= 0) & (indices < len(values))]])
