"""What a surrogate sees of a search space: columns, levels, conditions, feasibility. Never a configuration.

A row x (d,) of the float64 matrix X (n, d):
    float column        a position in [0, 1]
    int column          the position in [0, 1] of one of its levels
    categorical column  the index 0 .. size-1, as a float
    budget column       a share of the horizon, in [0, 1]
    inactive column     NaN (some condition on a parent does not hold)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

import surrogates.draws as draws
from surrogates.columns import OFF, Columns
from surrogates.columns import Array as Array
from surrogates.columns import Grid as Grid
from surrogates.columns import Mask as Mask
from surrogates.discrete import count_points, every_row, neighbour_rows
from surrogates.rare import is_rare, pool

Kind = Literal["float", "int", "categorical", "budget"]
Condition = tuple[int, tuple[float, ...]]  # (parent column, allowed encoded values)

MATCH = 1e-9  # two encoded values this close are the same value
BEYOND = 1e-6  # how far outside of its range a position is taken for rounding, or for a difference's step
COUNTED = 100_000  # a discrete domain of at most so many points before its constraint is enumerated once, and kept


def _legal_levels(levels: Array, size: int) -> bool:
    return 0 < len(levels) == size and bool(np.all(np.diff(levels) > 0)) and levels[0] >= 0 and levels[-1] <= 1


@dataclass(frozen=True, eq=False)
class Domain:
    """d columns and the rules that hold between them.

    kinds     (d,) "float" | "int" | "categorical" | "budget". The last column alone may be a budget: told at any share of
              the horizon, searched and drawn at the horizon only
    levels    (d,) int: the sorted positions in [0, 1] of every representable value; else None
    sizes     (d,) number of values that are searched; 0 for float, 1 for budget
    parents   (d,) conditions that must all hold for the column to be active; () is always active. A parent has a
              smaller column number than its child.
    feasible  (n, d) snapped rows -> (n,) bool; None: everything is feasible. Where it has them, `cheap` says that rows cost
              little together, and held(rows) -> (n,) how many constraints hold (see rare.py)
    grids     (d,) what positions of a float column are rounded by, or None; () for none at all. Models do not see them:
              proposals, draws and keys do, so that two rows with different keys are two configurations

    Raises ValueError when the description contradicts itself.
    """

    kinds: tuple[Kind, ...]
    levels: tuple[Array | None, ...]
    sizes: tuple[int, ...]
    parents: tuple[tuple[Condition, ...], ...]
    feasible: Callable[[Array], Any] | None = None
    grids: tuple[Grid | None, ...] = ()
    _outer: ClassVar[tuple[Domain, Callable[[Array], Any]] | None] = None  # what a domain was narrowed from, and by what

    def __post_init__(self) -> None:
        if not len(self.kinds) == len(self.levels) == len(self.sizes) == len(self.parents):
            raise ValueError("kinds, levels, sizes and parents must have one entry a column")
        if len(self.grids) not in (0, self.d) or any(self.kinds[j] != "float" for j, grid in enumerate(self.grids) if grid):
            raise ValueError("grids belong to float columns, and must have one entry a column or none at all")
        for j, kind in enumerate(self.kinds):
            self._check_column(j, kind)

    def _check_column(self, j: int, kind: str) -> None:
        levels, size = self.levels[j], self.sizes[j]
        if kind not in ("float", "int", "categorical", "budget"):
            raise ValueError(f"column {j}: kind {kind!r} is not float, int, categorical or budget")
        if kind == "budget" and (j != self.d - 1 or size != 1 or self.parents[j]):
            raise ValueError(f"column {j}: a budget must be the last column, of size 1 and without parents")
        if (levels is not None) != (kind == "int"):
            raise ValueError(f"column {j}: levels belong to int columns, and every int column needs them")
        if levels is not None and not _legal_levels(levels, size):
            raise ValueError(f"column {j}: levels must be {size} strictly increasing positions in [0, 1]")
        if (size == 0) != (kind == "float") or size < 0:
            raise ValueError(f"column {j}: a {kind} column cannot have size {size}")
        if any(not 0 <= parent < j for parent, _ in self.parents[j]):
            raise ValueError(f"column {j}: a parent must come before its child")

    # --- columns -----------------------------------------------------------------------------------------------------

    @property
    def d(self) -> int:
        """Number of columns."""
        return len(self.kinds)

    @cached_property
    def floats(self) -> Mask:
        """(d,) True at float columns."""
        return np.array([kind == "float" for kind in self.kinds], dtype=bool)

    @cached_property
    def categorical(self) -> Mask:
        """(d,) True at categorical columns."""
        return np.array([kind == "categorical" for kind in self.kinds], dtype=bool)

    @cached_property
    def columns(self) -> Columns:
        """What kernels need to know of them."""
        return Columns(self.categorical, np.array([bool(parents) for parents in self.parents], dtype=bool) & ~self.categorical)

    @property
    def has_budget(self) -> bool:
        """True when the last column is a budget."""
        return self.kinds[-1:] == ("budget",)

    @cached_property
    def never_warped(self) -> Mask:
        """(d,) True at columns that are never warped: categorical ones and the budget."""
        return np.array([kind in ("categorical", "budget") for kind in self.kinds], dtype=bool)

    @cached_property
    def is_conditional(self) -> bool:
        """True when some column can be inactive."""
        return any(self.parents)

    # --- rows --------------------------------------------------------------------------------------------------------

    def active(self, X: Array) -> Mask:
        """(n, d) bool: which columns are active, from the values of their parents."""
        X = np.asarray(X, dtype=float)
        on = np.ones(X.shape, dtype=bool)
        for j in range(self.d):
            if self.parents[j]:
                on[:, j] = self._holds(X, on, j)
        return on

    def _holds(self, X: Array, on: Mask, j: int) -> Mask:
        holds = np.ones(len(X), dtype=bool)
        for parent, allowed in self.parents[j]:
            near = np.abs(X[:, parent, None] - np.array(allowed)) <= MATCH  # a NaN parent matches nothing
            holds &= on[:, parent] & near.any(axis=1)
        return holds

    def snap(self, X: Array) -> Array:
        """The nearest legal rows (n, d), as a copy: clipped, ints on levels, categories whole, inactive columns NaN.

        A NaN in an active column becomes 0.5, the level nearest to 0.5, category 0, or the horizon.
        """
        return self.on_grid(self._legal(X))

    def on_grid(self, X: Array) -> Array:
        """Legal rows (n, d), in place, with the positions of float columns that are grids rounded to those of values."""
        for j, grid in enumerate(self.grids):
            if grid is not None:
                there = ~np.isnan(X[:, j])
                X[there, j] = grid.snap(X[there, j])
        return X

    def _legal(self, X: Array) -> Array:
        """`snap` but for the grids."""
        X = np.array(X, dtype=float, ndmin=2, order="C")  # one memory layout: sums are taken in one order
        if X.shape[-1] != self.d:
            raise ValueError(f"rows of shape {X.shape} do not fit a domain of {self.d} columns")
        if self._plain:
            X[np.isnan(X)] = 0.5
            return np.clip(X, 0.0, 1.0, out=X)
        fill = np.where(self.categorical, 0.0, 0.5)
        fill[self.d - self.has_budget :] = 1.0
        X = np.where(np.isnan(X), fill, X)
        np.clip(X, 0.0, np.where(self.categorical, np.array(self.sizes) - 1.0, 1.0), out=X)
        for j, levels in enumerate(self.levels):
            if levels is not None:
                X[:, j] = levels[np.searchsorted(self._midpoints[j], X[:, j])]
            elif self.kinds[j] == "categorical":
                X[:, j] = np.rint(X[:, j])
        if self.is_conditional:
            X[~self.active(X)] = np.nan
        return X

    def check(self, X: Array, name: str) -> Array:
        """Rows (n, d) whose values lie in the range of their columns, NaN where nothing is said. ValueError for others.

        `snap` would make legal rows of any, and so hide what was meant: rows in other units, an index that does not exist.
        name: whose rows they are, for the error.
        """
        X = np.array(X, dtype=float, ndmin=2)
        if X.ndim != 2 or X.shape[1] != self.d:
            raise ValueError(f"{name} has rows of shape {X.shape}; allowed are rows of {self.d} columns")
        high = np.where(self.categorical, np.array(self.sizes) - 1.0, 1.0)
        outside = np.argwhere(np.maximum(-X, X - high) > BEYOND)
        if len(outside):
            i, c = outside[0]
            raise ValueError(f"{name} has {X[i, c]:g} in column {c} of row {i}, outside of the domain: "
                             f"allowed is 0 to {high[c]:g}")
        return X

    @cached_property
    def _plain(self) -> bool:
        """Nothing but floats that are always active."""
        return bool(self.floats.all()) and not self.is_conditional

    @cached_property
    def _midpoints(self) -> tuple[Array, ...]:
        none = np.zeros(0)
        return tuple(none if levels is None else (levels[1:] + levels[:-1]) / 2 for levels in self.levels)

    def rows_for(self, y: Array, X: Array) -> Array:
        """X as rows (n, d) for targets y (n,). ValueError for other shapes."""
        X = np.asarray(X, dtype=float)
        if y.ndim != 1 or X.size != len(y) * self.d:
            raise ValueError(f"rows of shape {X.shape} and targets of shape {y.shape} came; allowed are (n, {self.d}) and (n,)")
        return X.reshape(len(y), self.d)

    def is_feasible(self, X: Array) -> Mask:
        """(n,) bool: rows that satisfy the constraint. Expects snapped rows."""
        if self.feasible is None or len(X) == 0:
            return np.ones(len(X), dtype=bool)
        return np.asarray(self.feasible(X), dtype=bool)

    def features(self, X: Array) -> Array:
        """What kernels compare (n, d): snapped rows in which what is inactive has a value of its own.

        OFF (see columns.py) for numbers, index `size` for categoricals. Positions between those of a grid are left there.
        """
        X = self._legal(X)
        if not self.is_conditional:
            return X
        return np.where(np.isnan(X), np.where(self.categorical, np.array(self.sizes, dtype=float), OFF), X)

    def at_horizon(self, X: Array) -> Array:
        """Rows or features X (n, d) with the budget, where there is one, at the horizon; else X itself."""
        if not self.has_budget:
            return X
        X = np.array(X, dtype=float)
        X[:, -1] = 1.0
        return X

    def keys(self, X: Array) -> list[bytes]:
        """One bytes key a row; equal keys mean the same point (positions rounded to 12 decimals, one kind of NaN)."""
        X = np.round(np.asarray(X, dtype=float), 12) + 0.0  # + 0.0 turns -0.0 into 0.0
        X[np.isnan(X)] = np.nan
        return [row.tobytes() for row in np.ascontiguousarray(X)]

    # --- draws -------------------------------------------------------------------------------------------------------

    def from_unit(self, U: Array) -> Array:
        """Rows (n, d) from uniforms in [0, 1): an int level gets the width of its cell, a category 1/size; a budget is 1."""
        X = np.array(U, dtype=float, ndmin=2)
        X[:, self.d - self.has_budget :] = 1.0
        for j, levels in enumerate(self.levels):
            if levels is not None:
                X[:, j] = levels[np.searchsorted(self._midpoints[j], self._stretch(j, X[:, j]))]
            elif self.kinds[j] == "categorical":
                X[:, j] = np.minimum(np.floor(X[:, j] * self.sizes[j]), self.sizes[j] - 1)
        return self.snap(X) if self.is_conditional else self.on_grid(X)

    def _stretch(self, j: int, u: Array) -> Array:
        """[0, 1) onto the cells of all levels; the outer cells are as wide outwards as they are inwards."""
        levels, middle = self.levels[j], self._midpoints[j]
        assert levels is not None
        if len(levels) == 1:
            return u
        low, high = 2 * levels[0] - middle[0], 2 * levels[-1] - middle[-1]
        return np.asarray(low + u * (high - low))

    @cached_property
    def unconditional(self) -> Domain:
        """The same columns, always active and all feasible."""
        return Domain(self.kinds, self.levels, self.sizes, ((),) * self.d, None, self.grids)

    @cached_property
    def is_rare(self) -> bool:
        """Whether random rows are too seldom feasible to be drawn until they are (see rare.py)."""
        if self._outer is not None:
            return self._outer[0].is_rare
        return self.feasible is not None and self.d > 0 and is_rare(self)

    @cached_property
    def refuge(self) -> Array:
        """(k, d) the feasible rows from which a rare feasible set is walked; none where none was found."""
        if self._outer is not None:
            domain, holds = self._outer
            return domain.refuge[np.asarray(holds(domain.refuge), dtype=bool)]
        return self._every if not self.floats.any() and count_points(self) <= COUNTED else pool(self)

    def try_rows(self, rng: np.random.Generator, n: int) -> Array:
        """At most n feasible random rows out of 4n draws; possibly none."""
        return draws.try_rows(self, rng, n)

    def random(self, rng: np.random.Generator, n: int) -> Array:
        """n feasible random rows (n, d): by rejection, or where few are feasible by a walk among them.

        ValueError where no feasible row is found.
        """
        return draws.random(self, rng, n)

    def sobol(self, seed: int, n: int) -> Array:
        """The first n feasible rows (n, d) of a scrambled Sobol sequence; sobol(s, m) is a prefix of sobol(s, n).

        Where few rows are feasible they are random ones: nothing is known of how to spread them evenly.
        """
        return draws.sobol(self, seed, n)

    # --- discrete structure ------------------------------------------------------------------------------------------

    def values(self, j: int) -> Array:
        """(sizes[j],) every encoded value of a discrete column."""
        if self.kinds[j] == "budget":
            return np.ones(1)
        levels = self.levels[j]
        return np.arange(self.sizes[j], dtype=float) if levels is None else levels

    @cached_property
    def size(self) -> float:
        """Number of distinct points: inf with a float column, else exact.

        A constraint is counted when there are at most COUNTED points before it, and left out (an upper bound) above.
        """
        total = count_points(self)
        if self.feasible is None or total > COUNTED:
            return total
        return float(len(self._every))

    @cached_property
    def _every(self) -> Array:
        """(N, d) all feasible rows, kept: a constraint is anybody's code, and is asked once."""
        return every_row(self)

    def narrow(self, holds: Callable[[Array], Any]) -> Domain:
        """The domain in which a feasible row is one for which `holds` is true, too: holds(rows (n, d)) -> (n,) bool.

        Where its points can be counted they are some of those of this domain, whose constraint is not asked again.
        """

        def both(X: Array) -> Array:
            good = np.array(holds(X), dtype=bool)
            good[good] = self.is_feasible(X[good])
            return good

        inner = replace(self, feasible=both)
        object.__setattr__(inner, "_outer", (self, holds))
        if not self.floats.any() and count_points(self) <= COUNTED:
            inner.__dict__["_every"] = self._every[np.asarray(holds(self._every), dtype=bool)]  # where cached_property keeps it
        return inner

    def enumerate(self) -> Array:
        """Every feasible row of a fully discrete domain (N, d), in a fixed order. ValueError with a float column."""
        if self.floats.any():
            raise ValueError("a domain with float columns cannot be enumerated")
        return np.array(self._every) if count_points(self) <= COUNTED else every_row(self)

    def neighbours(self, x: Array) -> Array:
        """Feasible rows (k, d) one discrete move away from the snapped row x (d,).

        Every other category; levels 1, 2, 4, 8 ... steps up and down. Columns that become active take the default of
        `snap`, columns that become inactive NaN.
        """
        return neighbour_rows(self, x)
