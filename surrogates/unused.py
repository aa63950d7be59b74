"""A feasible row that is not excluded: the best of scored ones, or any where everything scored is excluded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np

from surrogates.domain import Array, Domain

CANDIDATES = 384  # random rows at a time
EXHAUSTIBLE = 200_000  # a discrete domain of at most this size is searched whole for a row that is not excluded
RETRIES = 20  # batches of random rows looked at for one that is not excluded

RowScore = Callable[[Array], Any]  # (m, d) rows -> (m,) scores


def score_rows(score: RowScore, X: Array) -> Array:
    """(m,) scores of the rows X (m, d), NaN as -inf."""
    if len(X) == 0:
        return np.zeros(0)
    values = np.asarray(score(X), dtype=float)
    return np.where(np.isnan(values), -np.inf, values)


def first_free(domain: Domain, rows: Array, scores: Array, exclude: frozenset[bytes]) -> Array | None:
    """The best row whose key is not excluded; the first of equals."""
    order, begin, count = np.argsort(-scores, kind="stable"), 0, 1  # most often the first is free: keys of more and more rows
    while begin < len(order):
        some = order[begin : begin + count]
        for i, key in zip(some, domain.keys(rows[some]), strict=True):
            if key not in exclude:
                return np.array(rows[i])
        begin, count = begin + count, 8 * count
    return None


def find_unused(
    domain: Domain, rng: np.random.Generator, exclude: Collection[bytes], score: RowScore | None = None
) -> Array | None:
    """A feasible row (d,) whose key is not excluded: a random one, or of all there are, where they can be listed, the one
    with the best score. None when there is none, or none was found in a continuum."""
    exclude, whole = frozenset(exclude), as_discrete(domain)
    for _ in range(RETRIES if whole is None or whole is domain else 0):
        rows = domain.try_rows(rng, CANDIDATES)
        found = first_free(domain, rows, np.zeros(len(rows)), exclude)
        if found is not None:
            return found
    if whole is None:
        return None
    rows = whole.enumerate()
    return first_free(domain, rows, np.zeros(len(rows)) if score is None else score_rows(score, rows), exclude)


def as_discrete(domain: Domain) -> Domain | None:
    """The domain with the values of its grids as levels, which is discrete; None with a continuum, or where there are more
    than EXHAUSTIBLE points. Kept beside what the domain itself has counted."""
    if "as_discrete" not in domain.__dict__:
        domain.__dict__["as_discrete"] = _as_discrete(domain)
    found: Domain | None = domain.__dict__["as_discrete"]
    return found


def _as_discrete(domain: Domain) -> Domain | None:
    grids = domain.grids or (None,) * domain.d
    if not domain.floats.any():
        return domain if domain.size <= EXHAUSTIBLE else None
    counts = [grid.count if grid else size for grid, size in zip(grids, domain.sizes, strict=True)]
    if min(counts) == 0 or max(counts) > EXHAUSTIBLE:
        return None
    kinds = tuple("int" if grid else kind for grid, kind in zip(grids, domain.kinds, strict=True))
    levels = tuple(grid.values() if grid else old for grid, old in zip(grids, domain.levels, strict=True))
    whole = replace(domain, kinds=kinds, levels=levels, sizes=tuple(counts), grids=())
    return whole if whole.size <= EXHAUSTIBLE else None
