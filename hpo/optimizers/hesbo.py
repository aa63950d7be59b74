"""A space of few dimensions in the place of one of many: HeSBO, with biased special values and buckets, as LlamaTune has them.

Sources: Nayebi, Munteanu, Poloczek 2019, "A framework for Bayesian optimization in embedded subspaces" (HeSBO): every column
is one of the low dimensions, chosen at random, times a random sign. Kanellis, Ding, Kroth, Müller, Curino, Venkataraman 2022,
"LlamaTune: sample-efficient DBMS configuration tuning", arXiv:2203.05128, sections 3 to 5: the projection, special values that
get a share of the range, and at most 10,000 values a dimension. Faithful: all of it. What is changed: where the space has no
more columns than there are dimensions, every column gets a dimension of its own, since collisions would only lose something.

Notation     d columns of the space, m low dimensions, K buckets each
    b (m,) buckets 0 .. K-1    v = b / (K - 1) in [0, 1]    h (d,) the dimension of every column    s (d,) its sign
    u (d,) = v[h] where s = 1, else 1 - v[h]: uniform where b is; then the special values, then the domain's own columns
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hpo.parameters import Int
from hpo.rng import stream
from hpo.space import Config, Space
from surrogates.domain import Array

MOST = 100_000  # buckets


@dataclass(frozen=True, repr=False)
class Buckets(Int):
    """An Int that models see as a continuum, whose rows stand on its values: so that gradients climb it, however few they are."""

    @property
    def kind(self) -> Any:  # type: ignore[override]
        return "float"

    @property
    def size(self) -> int:  # type: ignore[override]
        return 0


@dataclass(frozen=True, eq=False)
class Projection:
    """Configurations of a space from points of few dimensions.

    special   the special values of a parameter by its name, at least one each
    bias      the share of its range that each of them gets
    """

    space: Space
    dimensions: int
    special: Mapping[str, tuple[Any, ...]]
    bias: float
    buckets: int
    seed: int

    @cached_property
    def low(self) -> Space:
        """The space of few dimensions: buckets named z0, z1, ...; what the constraints exclude is excluded here."""
        d = len(self.space.columns)
        names = [f"z{j}" for j in range(min(self.dimensions, d))]
        if not names:
            return Space(z0=0)
        holds = [self._is_feasible] if self.space.constraints else []
        return Space({name: Buckets(0, self.buckets - 1) for name in names}, constraints=holds)

    def _is_feasible(self, point: Mapping[str, int]) -> bool:
        return self.space.is_feasible(self.expand(point))

    @cached_property
    def hash(self) -> tuple[np.ndarray, np.ndarray]:
        """(h, s): the low dimension and the sign (1 or -1) of every column."""
        d, rng = len(self.space.columns), stream(self.seed, 0, "hesbo")
        h = rng.permutation(d) if d <= self.dimensions else rng.integers(self.dimensions, size=d)
        return h, rng.choice([-1, 1], size=d)

    def _values(self, name: str) -> tuple[Any, ...]:
        return self.special.get(name, ())

    # -- out ---------------------------------------------------------------------------------------------------------

    def expand(self, point: Mapping[str, int]) -> Config:
        """The configuration of a point of the low space."""
        domain, chosen = self.space.domain, {}
        U = self._spread(point)
        for j, name in enumerate(self.space.columns):
            values = self._values(name)
            share = self.bias * len(values)
            if U[j] < share:
                chosen[name] = values[min(int(U[j] / self.bias), len(values) - 1)]
            else:
                U[j] = (U[j] - share) / (1.0 - share)
        row = domain.unconditional.from_unit(U[None])[0]
        for name, value in chosen.items():
            row[self.space.columns.index(name)] = self.space.parameters[name].encode(value)
        config = self.space.decode(domain.snap(row[None])[0])
        return {name: chosen.get(name, value) for name, value in config.items()}  # exactly, not up to a position's rounding

    def _spread(self, point: Mapping[str, int]) -> Array:
        """u (d,) of a point."""
        h, s = self.hash
        v = np.array([point[f"z{j}"] / (self.buckets - 1) for j in range(min(self.dimensions, len(h)))])
        return np.where(s > 0, v[h], 1.0 - v[h]) if len(h) else np.zeros(0)

    def step(self, point: Mapping[str, int], rng: np.random.Generator, width: int) -> Config:
        """A point near another one: every dimension with probability 1/2, one surely, by up to `width` buckets."""
        names, change = list(point), rng.random(len(point)) < 0.5
        change[rng.integers(len(point))] = True
        moves = rng.integers(1, width + 1, len(point)) * rng.choice([-1, 1], len(point)) * change
        top = self.buckets - 1
        return {name: int(np.clip(point[name] + move, 0, top)) for name, move in zip(names, moves, strict=True)}

    # -- in ----------------------------------------------------------------------------------------------------------

    def find_point(self, config: Mapping[str, Any]) -> Config | None:
        """The point that stands for a configuration, up to two buckets; None where there is none. Of the columns of a dimension
        the one with the narrowest cell says where it is."""
        row, (h, s) = self.space.encode(config), self.hash
        if not len(h):
            return {"z0": 0}
        low: dict[str, Any] = {}
        for j in range(min(self.dimensions, len(h))):
            cells = [(*self._cell(i, row[i]), s[i]) for i in np.flatnonzero(h == j).tolist() if not np.isnan(row[i])]
            start, end, sign = min(cells, key=lambda cell: cell[1] - cell[0], default=(0.0, 1.0, 1))
            u = (start + end) / 2
            low[f"z{j}"] = int(np.rint((u if sign > 0 else 1.0 - u) * (self.buckets - 1)))
        back = self.space.encode(self.expand(low))
        return low if np.allclose(back, row, rtol=0.0, atol=2.0 / (self.buckets - 1), equal_nan=True) else None

    def _cell(self, i: int, position: float) -> tuple[float, float]:
        """From where to where u stands for an encoded value of column i."""
        name, domain = self.space.columns[i], self.space.domain
        values = self._values(name)
        for k, value in enumerate(values):
            if abs(self.space.parameters[name].encode(value) - position) <= 1e-12:
                return self.bias * k, self.bias * (k + 1)
        share = self.bias * len(values)
        start, end = unit_cell(domain.levels[i], domain.sizes[i], domain.kinds[i], position)
        return share + (1.0 - share) * start, share + (1.0 - share) * end


def unit_cell(levels: Array | None, size: int, kind: str, position: float) -> tuple[float, float]:
    """The uniforms in [0, 1] from which `Domain.from_unit` makes an encoded value."""
    if kind == "categorical":
        return position / size, (position + 1) / size
    if levels is None:
        return position, position
    if len(levels) == 1:
        return 0.0, 1.0
    ends = (levels[1:] + levels[:-1]) / 2
    ends = np.concatenate([[2 * levels[0] - ends[0]], ends, [2 * levels[-1] - ends[-1]]])
    ends = (ends - ends[0]) / (ends[-1] - ends[0])
    at = int(np.argmin(np.abs(levels - position)))
    return float(ends[at]), float(ends[at + 1])
