"""Parzen estimators: densities over the rows of a domain, a kernel around every row that was seen (Parzen 1962).

A mixture of n kernels, each the product over its columns (`ProductKernels`):

    float         a normal around the row's position, truncated to [0, 1]. A logarithmic parameter is one on its log scale
    int           the mass of that normal in the cell of a level, truncated to the cells of all levels. A cell ends half-way
                  between two levels, and the outer cells are as wide outwards as inwards
    categorical   the row's choice with probability 1 - h, each of the others with h / (C - 1) (Aitchison and Aitken 1976)

Densities are of positions (uniform rows have the density 1 in float columns), and of levels and choices (they sum to one).

`ParzenEstimator` is the estimator of TPE (Bergstra et al. 2011, section 4; Watanabe 2023, "Tree-structured Parzen estimator:
understanding its algorithm components"): a wide prior kernel among the others, weights by recency, and in every column a
width for each kernel by the distance to its neighbours. Columns that are always active together have one mixture of
products, made of the rows in which they are active; the density of a row is the product over what is active in it, which is
a density over the whole conditional space.

It is defined as that of Optuna 5.0 (multivariate and group, without its deprecated options), and differs in this: densities
are of positions in [0, 1], so that they differ by the constant log(high - low) in each float column; cells of logarithmic
integers end at geometric means and not half-way between values, so that their densities differ by a little; integers of more
values than a domain has levels for are continuous. A constraint of the domain is not part of the density.

`kernel_density` is that of BOHB (Falkner et al. 2018): no prior, equal weights, one width a column by the normal reference
rule. Their software evaluates untruncated normals, which lose mass beyond the ends of a range; here all are truncated.

    >>> domain = Domain(("float", "categorical"), (None, None), (0, 3), ((), ()))
    >>> estimator = ParzenEstimator(domain, domain.random(np.random.default_rng(0), 20))
    >>> rows = estimator.sample(np.random.default_rng(1), 100)
    >>> estimator.log_density(rows).shape
    (100,)

Notation     n kernels    k columns of a block    m rows asked about    mu, s  centre and width of a kernel in a column
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from surrogates.columns import Array
from surrogates.domain import Domain

Weigh = Callable[[int], Array]  # of n rows, the oldest first, their weights (n,)

FLAT = 25  # rows that count as recent
CLIP = 100.0  # a kernel is at least this share of the range wide, 1 / CLIP
TINY = 1e-300  # a kernel's mass of a cell, where it is less
BULK = 1 << 22  # kernels times rows that are evaluated at a time


def recency_weights(n: int) -> Array:
    """(n,) the last 25 rows weigh 1, those before less and less, down to 1 / n (Bergstra et al. 2013)."""
    return np.ones(n) if n < FLAT else np.concatenate([np.linspace(1.0 / n, 1.0, n - FLAT), np.ones(FLAT)])


def equal_weights(n: int) -> Array:
    """(n,) ones."""
    return np.ones(n)


def active_blocks(domain: Domain) -> tuple[np.ndarray, ...]:
    """The columns in blocks that are active together: those with the same conditions. Column numbers, each block rising."""
    blocks: dict[frozenset[tuple[int, frozenset[float]]], list[int]] = {}
    for j, conditions in enumerate(domain.parents):
        blocks.setdefault(frozenset((parent, frozenset(allowed)) for parent, allowed in conditions), []).append(j)
    return tuple(np.array(block) for block in blocks.values())


def cell_edges(domain: Domain, j: int) -> Array:
    """(sizes[j] + 1,) the ends of the cells of an int column's levels, rising."""
    levels = domain.values(j)
    if len(levels) == 1:
        return np.array([0.0, 1.0])
    middle = (levels[1:] + levels[:-1]) / 2
    return np.concatenate([[2 * levels[0] - middle[0]], middle, [2 * levels[-1] - middle[-1]]])


def neighbour_widths(x: Array, low: float, high: float) -> Array:
    """(n,) the width of the kernel around each position x (n,): the distance to the farther one of its two neighbours.

    The outermost have one neighbour; a single row has the ends of the range. At least the range / min(100, n + 2), at most
    the range. Of equal positions the later is the right one.
    """
    n = len(x)
    if n == 0:
        return np.zeros(0)
    order = np.argsort(x, kind="stable")
    gaps = np.diff(x[order])
    widths = np.empty(n)
    if n == 1:
        widths[0] = max(x[0] - low, high - x[0])
    else:
        widths[order] = np.maximum(np.append(gaps[0], gaps), np.append(gaps, gaps[-1]))
    return np.clip(widths, (high - low) / min(CLIP, n + 2.0), high - low)


def normal_mass(a: Array, b: Array) -> Array:
    """The mass of a standard normal between a < b, exact in both tails."""
    right = a > 0.0
    return np.asarray(ndtr(np.where(right, -a, b)) - ndtr(np.where(right, -b, a)))


@dataclass(frozen=True, eq=False)
class ProductKernels:
    """A mixture of n product kernels over some columns of a domain, all of them active.

    columns (k,)   their numbers                       centres (n, k)   rows without NaN
    weights (n,)   of the mixture; they sum to one     widths (n, k)    standard deviations, above 0; of a choice h
    """

    domain: Domain
    columns: np.ndarray
    centres: Array
    widths: Array
    weights: Array

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Places among the columns that hold numbers."""
        return np.flatnonzero(~self.domain.categorical[self.columns])

    @cached_property
    def _ranges(self) -> Array:
        """(2, numbers) where the normals are truncated."""
        ends = [(0.0, 1.0) if self.domain.kinds[j] != "int" else tuple(cell_edges(self.domain, j)[[0, -1]])
                for j in self.columns[self._numbers]]  # fmt: skip
        return np.array(ends, dtype=float).reshape(-1, 2).T

    @cached_property
    def _ends(self) -> tuple[Array, Array]:
        """(n, numbers) twice: the normal distribution function at the ends of the ranges."""
        mu, s, (low, high) = self.centres[:, self._numbers], self.widths[:, self._numbers], self._ranges
        return ndtr((low - mu) / s), ndtr((high - mu) / s)

    @cached_property
    def _constants(self) -> Array:
        """(n,) log weights and normalisers: a centre lies inside of its range, so their differences are not small."""
        low, high = self._ends
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.weights) - np.log(high - low).sum(axis=1))

    @cached_property
    def _quadratic(self) -> tuple[np.ndarray, Array, Array]:
        """Places of the float columns; and of -((x - mu) / s)^2 / 2, summed over them, what x^2 and x are multiplied by,
        (2 floats, n), and the rest (n,). x is counted from 1/2, so that the terms are small."""
        floats = np.flatnonzero(self.domain.floats[self.columns])
        mu, precision = self.centres[:, floats] - 0.5, self.widths[:, floats] ** -2.0
        rest = -0.5 * (mu * mu * precision).sum(axis=1) - np.log(self.widths[:, floats] * np.sqrt(2 * np.pi)).sum(axis=1)
        return floats, np.concatenate([-0.5 * precision, mu * precision], axis=1).T, rest

    def log_density(self, X: Array) -> Array:
        """(m,) at values X (m, k) of the columns."""
        step = max(1, BULK // len(self.weights))
        found = [self._log_density(X[i : i + step]) for i in range(0, len(X), step)]
        return np.concatenate(found) if found else np.zeros(0)

    def _log_density(self, X: Array) -> Array:
        floats, factors, rest = self._quadratic
        x = X[:, floats] - 0.5
        total = np.concatenate([x * x, x], axis=1) @ factors
        total += self._constants + rest
        for i, j in enumerate(self.columns):
            if self.domain.kinds[j] == "int":
                total += self._log_cells(i, X[:, i])
            elif self.domain.categorical[j]:
                total += self._log_choices(i, X[:, i])
        most = total.max(axis=1, keepdims=True)
        total -= most
        return np.asarray(np.log(np.exp(total, out=total).sum(axis=1)) + most[:, 0])

    def _log_cells(self, i: int, x: Array) -> Array:
        """(m, n) log mass of the cells of the levels x (m,). Of equal levels and equal kernels each is computed once."""
        edges = cell_edges(self.domain, int(self.columns[i]))
        levels, back = np.unique(np.searchsorted(edges, x, side="right") - 1, return_inverse=True)
        mu, s, kernel = self._different(i)
        mass = normal_mass((edges[levels, None] - mu) / s, (edges[levels + 1, None] - mu) / s)
        return np.asarray(np.log(np.maximum(mass, TINY))[back[:, None], kernel])

    def _different(self, i: int) -> tuple[Array, Array, np.ndarray]:
        """Centres and widths of the kernels of a column that differ, and (n,) which of them each kernel is."""
        mu, s = self.centres[:, i], self.widths[:, i]
        order = np.lexsort((s, mu))
        mu, s = mu[order], s[order]
        starts = np.append(True, (np.diff(mu) != 0) | (np.diff(s) != 0))
        kernel = np.empty(len(order), dtype=int)
        kernel[order] = np.cumsum(starts) - 1
        return mu[starts], s[starts], kernel

    def _log_choices(self, i: int, x: Array) -> Array:
        """(m, n) log probability of the choices x (m,)."""
        h, others = self.widths[:, i], max(self.domain.sizes[self.columns[i]] - 1, 1)
        with np.errstate(divide="ignore"):
            stay, leave = np.log1p(-h), np.log(h / others)
        return np.where(x[:, None] == self.centres[:, i], stay, leave)

    def draw_rows(self, rng: np.random.Generator, m: int) -> Array:
        """(m, k) values, independent of each other; positions of int columns are levels."""
        total = np.cumsum(self.weights)
        kernel = np.minimum(np.searchsorted(total, rng.random(m) * total[-1], side="right"), len(total) - 1)
        U, X = rng.random((m, len(self.columns))), np.empty((m, len(self.columns)))
        (low, high), (first, last) = self._ranges, self._ends
        for place, i in enumerate(self._numbers):
            f, t = first[kernel, place], last[kernel, place]
            drawn = self.centres[kernel, i] + self.widths[kernel, i] * ndtri(f + U[:, i] * (t - f))
            X[:, i] = np.clip(drawn, low[place], high[place])
        for i, j in enumerate(self.columns):
            if self.domain.kinds[j] == "int":
                inner = cell_edges(self.domain, int(j))[1:-1]
                X[:, i] = self.domain.values(int(j))[np.searchsorted(inner, X[:, i])]
            elif self.domain.categorical[j]:
                X[:, i] = self._draw_choices(i, kernel, U[:, i])
        return X

    def _draw_choices(self, i: int, kernel: np.ndarray, u: Array) -> Array:
        """(m,) choices from uniforms u (m,): below 1 - h the kernel's own, above one of the others."""
        own, h = self.centres[kernel, i], self.widths[kernel, i]
        others = max(self.domain.sizes[self.columns[i]] - 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            other = np.minimum(np.floor((u - (1.0 - h)) / h * others), others - 1)
        return np.where(u < 1.0 - h, own, other + (other >= own))


class ParzenEstimator:
    """The estimator of TPE over the rows X (n, d) of a domain, the oldest first: see above.

    weigh          the weights of so many rows
    multivariate   False: columns are independent of each other, as in Bergstra et al. 2011, each with its own mixture
    prior          the weight of the prior kernel, above 0. It is as wide as the range, around its middle, and uniform over
                   choices; each choice of the other kernels gets prior / (rows + 1) before it is normalised

    ValueError for a domain with a budget column, and for rows of another shape.
    """

    def __init__(
        self, domain: Domain, X: Array, weigh: Weigh = recency_weights, multivariate: bool = True, prior: float = 1.0
    ) -> None:
        X = np.asarray(X, dtype=float)
        if domain.has_budget or X.ndim != 2 or X.shape[1] != domain.d:
            raise ValueError(f"rows of shape {X.shape} came for a domain of the columns {domain.kinds}; allowed are rows of "
                             f"{domain.d} columns, none of them a budget")
        if not prior > 0.0:
            raise ValueError(f"prior is {prior!r}; allowed is a number above 0")
        self.domain = domain
        self.blocks = active_blocks(domain) if multivariate else tuple(np.array([j]) for j in range(domain.d))
        self.parts = tuple(self._part(block, X[~np.isnan(X[:, block[0]])][:, block], weigh, prior) for block in self.blocks)

    def _part(self, block: np.ndarray, X: Array, weigh: Weigh, prior: float) -> ProductKernels:
        """The mixture of one block, of the rows X (n, k) in which it is active, with the prior as the last kernel."""
        n, domain = len(X), self.domain
        centres, widths = np.empty((n + 1, len(block))), np.empty((n + 1, len(block)))
        centres[:n] = X
        for i, j in enumerate(block):
            if domain.categorical[j]:
                share, C = prior / (n + 1), domain.sizes[j]
                widths[:n, i] = share * (C - 1) / (1.0 + share * C)
                centres[n, i], widths[n, i] = 0.0, (C - 1) / C
            else:
                low, high = (0.0, 1.0) if domain.kinds[j] != "int" else cell_edges(domain, int(j))[[0, -1]]
                widths[:n, i] = neighbour_widths(centres[:n, i], low, high)
                centres[n, i], widths[n, i] = (low + high) / 2, high - low
        weights = np.append(weigh(n), prior)
        return ProductKernels(domain, block, centres, widths, weights / weights.sum())

    def block_log_densities(self, X: Array) -> Array:
        """(m, blocks) log density of each block at rows X (m, d); 0 where it is inactive (NaN)."""
        found = np.zeros((len(X), len(self.blocks)))
        for b, (block, part) in enumerate(zip(self.blocks, self.parts, strict=True)):
            on = ~np.isnan(X[:, block[0]])
            found[on, b] = part.log_density(X[on][:, block])
        return found

    def log_density(self, X: Array) -> Array:
        """(m,) at legal rows X (m, d)."""
        return np.asarray(self.block_log_densities(X).sum(axis=1))

    def draw_values(self, rng: np.random.Generator, m: int) -> Array:
        """(m, d) values of every column, also of those that will be inactive: `domain.snap` makes legal rows of them."""
        X = np.empty((m, self.domain.d))
        for block, part in zip(self.blocks, self.parts, strict=True):
            X[:, block] = part.draw_rows(rng, m)
        return X

    def sample(self, rng: np.random.Generator, m: int) -> Array:
        """(m, d) legal rows. A constraint of the domain is not looked at."""
        return self.domain.snap(self.draw_values(rng, m))


def kernel_density(domain: Domain, X: Array, factor: float = 1.0, least: float = 1e-3) -> ProductKernels:
    """The estimator of BOHB over all columns of a domain, of rows X (n, d) without NaN.

    The width of a column is 1.06 sd n^(-1 / (4 + d)), the normal reference rule, at least `least`, times `factor`; of a
    choice sd is that of its indices, and h at most (C - 1) / C, where all choices are equally probable.
    """
    n, d = X.shape
    widths = factor * np.maximum(1.06 * X.std(axis=0) * n ** (-1.0 / (4 + d)), least)
    sizes = np.array(domain.sizes, dtype=float)
    most = np.where(domain.categorical, (sizes - 1) / np.maximum(sizes, 1.0), np.inf)
    return ProductKernels(domain, np.arange(d), X, np.tile(np.minimum(widths, most), (n, 1)), np.full(n, 1.0 / n))
