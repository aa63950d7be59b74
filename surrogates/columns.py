"""Columns as kernels see them: points of a Euclidean space, in which an inactive number is equally far from every active one.

    float, int, budget     the number itself
    the same, conditional  (cos a z, sin a z) / a where it is active, the origin where it is not

so that two active values are sqrt(2 - 2 cos a (z - z')) / a apart, which is |z - z'| to third order, and an active value is
1 / a from an inactive one, whatever it is: the arc kernel of Swersky, Duvenaud, Snoek, Hutter, Osborne 2013, "Raiders of
the lost architecture", with an arc of a = ARC radians. A model that has seen a branch of the space only where it is off believes
the same of all its values; any number in the place of "inactive" would draw the values near it. Choices are not embedded:
they are equal or not, and inactive is a choice of its own.

Notation     n rows, d columns, e coordinates     Z (n, d) features (domain.features)     E (n, e) their coordinates
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

OFF = -1.0  # an inactive number among features: outside of [0, 1]
# The longer, the nearer is what is inactive, which its parent tells apart already; beyond pi the ends of a range would come
# nearer to one another again.
ARC = np.pi


@dataclass(frozen=True, eq=False)
class Columns:
    """d columns. categorical (d,): choices. optional (d,): numbers that can be inactive; none if it is not given."""

    categorical: Mask
    optional: Mask | None = None

    @cached_property
    def unconditional(self) -> np.ndarray:
        """Numbers of the numeric columns that are always active: the first coordinates."""
        return np.flatnonzero(~self.categorical & ~self._arcs)

    @cached_property
    def arcs(self) -> np.ndarray:
        """Numbers of the numeric columns that can be inactive: their cosines follow, then their sines."""
        return np.flatnonzero(~self.categorical & self._arcs)

    @property
    def _arcs(self) -> Mask:
        return np.zeros(len(self.categorical), dtype=bool) if self.optional is None else self.optional

    @cached_property
    def owners(self) -> np.ndarray:
        """(e,) the column that each coordinate belongs to."""
        return np.concatenate([self.unconditional, self.arcs, self.arcs])

    def embed(self, Z: Array) -> Array:
        """(n, e) coordinates of features (n, d)."""
        if not len(self.arcs):
            return Z if len(self.unconditional) == Z.shape[1] else Z[:, self.unconditional]
        on, a = Z[:, self.arcs] != OFF, ARC * Z[:, self.arcs]
        arcs = [np.where(on, np.cos(a) / ARC, 0.0), np.where(on, np.sin(a) / ARC, 0.0)]
        return np.concatenate([Z[:, self.unconditional], *arcs], axis=1)

    def pull(self, Z: Array, G: Array) -> Array:
        """(n, d) derivatives by features Z (n, d) from those by their coordinates, G (n, e); 0 at choices and what is off."""
        found = np.zeros(Z.shape)
        a, c = len(self.unconditional), len(self.arcs)
        found[:, self.unconditional] = G[:, :a]
        if c:
            at = ARC * Z[:, self.arcs]
            found[:, self.arcs] = np.where(at >= 0.0, np.cos(at) * G[:, a + c :] - np.sin(at) * G[:, a : a + c], 0.0)
        return found

    def total(self, g: Array) -> Array:
        """(d,) sums over the coordinates of each column of g (e,); 0 at choices."""
        return np.bincount(self.owners, g, len(self.categorical)).astype(float)


@dataclass(frozen=True, eq=False)
class Grid:
    """A float column whose positions stand for values that are fewer, but too many to be levels.

    snap    (n,) positions in [0, 1] -> (n,) those of the values they stand for
    count   how many values there are; 0 where they were not counted
    values  () -> (count,) their sorted positions
    """

    snap: Callable[[Array], Array]
    count: int
    values: Callable[[], Array]
