"""Numbers, integers and choices together: one distribution over the columns of a domain.

A point is drawn as (x, c): x (n,) a position of every numeric column, not rounded, and c (k,) an index of every choice. The
row of the domain is made of it: x mapped by the margin's A and rounded where there are levels, NaN where a column is inactive.
An inactive column is drawn like any other, and what was drawn counts: the loss does not depend on it, so that on average
selection does not move it.

Columns with one value are not searched. A float column that is a grid (more than 10,000 values) is a continuum here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hpo.optimizers.cma.choices import Choices
from hpo.optimizers.cma.gaussian import Gaussian, default_population, positive_weights
from hpo.optimizers.cma.margin import Margin
from surrogates import Domain


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Which columns of a domain are numbers (n of them) and which are choices (k of them)."""

    domain: Domain

    @cached_property
    def numeric(self) -> np.ndarray:
        """(n,) columns of numbers with more than one value."""
        sizes, kinds = self.domain.sizes, self.domain.kinds
        return np.array([j for j in range(self.domain.d) if kinds[j] in ("float", "int") and sizes[j] != 1], dtype=int)

    @cached_property
    def choices(self) -> np.ndarray:
        """(k,) columns of choices with more than one value."""
        sizes, kinds = self.domain.sizes, self.domain.kinds
        return np.array([j for j in range(self.domain.d) if kinds[j] == "categorical" and sizes[j] != 1], dtype=int)

    @cached_property
    def is_rounded(self) -> np.ndarray:
        """(n,) bool: numbers that stand on levels."""
        return np.array([self.domain.levels[j] is not None for j in self.numeric], dtype=bool)

    @cached_property
    def margin(self) -> Margin:
        """Of the numbers that stand on levels."""
        found = [self.domain.levels[j] for j in self.numeric[self.is_rounded]]
        return Margin([levels for levels in found if levels is not None])

    @property
    def sizes(self) -> list[int]:
        """How many choices each of the k columns has."""
        return [self.domain.sizes[j] for j in self.choices]

    @property
    def population(self) -> int:
        """Points a generation by default: n + k are counted."""
        return default_population(len(self.numeric) + len(self.choices))

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x (m, n), c (m, k)) of rows (m, d), NaN where a column is inactive."""
        return rows[:, self.numeric], rows[:, self.choices]


@dataclass(frozen=True, eq=False)
class Joint:
    """The distribution of the points of a domain. Without numbers there is no Gaussian, without choices there are no Choices."""

    at: Coordinates
    gaussian: Gaussian | None
    A: np.ndarray  # (n,) the margin's map; 1 where nothing is rounded
    choices: Choices | None

    @classmethod
    def begin(
        cls,
        at: Coordinates,
        mean: np.ndarray,
        sigma: float,
        C: np.ndarray | None = None,
        q: list[np.ndarray] | None = None,
    ) -> Joint:
        """The first state: N(mean, sigma^2 C) and probabilities q, uniform if they are not given."""
        gaussian = Gaussian.begin(mean, sigma, C) if len(at.numeric) else None
        return cls(at, gaussian, np.ones(len(at.numeric)), Choices.begin(at.sizes, q) if at.sizes else None)

    @property
    def scales(self) -> np.ndarray:
        """(n,) standard deviations of the numbers, before A."""
        return np.zeros(0) if self.gaussian is None else self.gaussian.sigma * np.sqrt(np.diag(self.gaussian.C))

    # -- draws -------------------------------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(x (count, n), c (count, k))"""
        X = np.zeros((count, 0)) if self.gaussian is None else self.gaussian.draw(rng, count)
        return X, np.zeros((count, 0), dtype=int) if self.choices is None else self.choices.draw(rng, count)

    def is_inside(self, X: np.ndarray) -> np.ndarray:
        """(m,) bool: points whose continuous numbers lie in the unit cube. Levels have no outside: they are rounded to."""
        X = X[:, ~self.at.is_rounded]
        return np.asarray(((X >= 0.0) & (X <= 1.0)).all(axis=1))

    def clip(self, X: np.ndarray) -> np.ndarray:
        """Points (m, n) with their continuous numbers in the unit cube."""
        return np.where(self.at.is_rounded, X, np.clip(X, 0.0, 1.0))

    def rows(self, X: np.ndarray, C: np.ndarray) -> np.ndarray:
        """(m, d) rows of the domain: rounded, NaN where a column is inactive."""
        at, domain = self.at, self.at.domain
        rows = np.zeros((len(X), domain.d))
        rows[:, at.choices] = C
        for j in range(domain.d):
            if domain.sizes[j] == 1:
                rows[:, j] = domain.values(j)[0]
        if self.gaussian is not None:
            rows[:, at.numeric] = X
            on = at.is_rounded
            mean = self.gaussian.mean[on]
            rows[:, at.numeric[on]] = at.margin.snap(mean + self.A[on] * (X[:, on] - mean))
        return domain.snap(rows)

    def complete(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x, c) that stand for rows (m, d) which were not drawn from here: what is inactive is at the mean, or the likeliest."""
        X, C = self.at.split(rows)
        if self.gaussian is not None:
            X = np.where(np.isnan(X), self.gaussian.mean, X)
        likely = [int(p.argmax()) for p in self.choices.q] if self.choices is not None else []
        return X, np.where(np.isnan(C), likely, C).astype(int)

    def distances(self, X: np.ndarray, C: np.ndarray) -> np.ndarray:
        """(m,) minus twice the log density of points, up to a constant."""
        found = np.zeros(len(X)) if self.gaussian is None else self.gaussian.lengths(X) ** 2
        for p, column in zip(self.choices.q if self.choices is not None else (), C.T, strict=True):
            found = found - 2 * np.log(p[column])
        return found

    def shorten(self, X: np.ndarray) -> np.ndarray:
        """Points (m, n) that were not drawn from here, not too far from the mean (see gaussian.py)."""
        return X if self.gaussian is None else self.gaussian.shorten(X)

    # -- updates -----------------------------------------------------------------------------------------------------

    def update(self, X: np.ndarray, C: np.ndarray) -> Joint:
        """The state behind a generation of points x (lam, n) and c (lam, k), the best first."""
        weights = positive_weights(len(X))
        choices = None if self.choices is None else self.choices.update(C, weights)
        if self.gaussian is None:
            return replace(self, choices=choices)
        moved = replace(self, gaussian=self.gaussian.update(X), choices=choices)
        return moved._with_margin(len(X)) if self.at.is_rounded.any() else moved

    def _with_margin(self, lam: int) -> Joint:
        """This one, with the margin's correction."""
        assert self.gaussian is not None
        on, mean, A = self.at.is_rounded, self.gaussian.mean.copy(), self.A.copy()
        alpha = 1.0 / (self.gaussian.n * lam)
        mean[on], A[on] = self.at.margin.correct(mean[on], A[on], self.scales[on], alpha)
        return replace(self, gaussian=replace(self.gaussian, mean=mean), A=A)
