"""Pareto fronts of points (n, M) to be minimised, and the non-dominated space cut into boxes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from surrogates.domain import Array

MARGIN = 0.1  # of the range of the front: how far the reference point lies beyond its worst values


def dominators(F: Array) -> np.ndarray:
    """(n,) how many of the points F (n, M) dominate each; with one objective, how many are less."""
    no_worse = (F[:, None] <= F[None]).all(axis=-1)
    better = (F[:, None] < F[None]).any(axis=-1)
    return np.asarray((no_worse & better).sum(axis=0))


def pareto_front(F: Array) -> Array:
    """(k, M) the different points of F (n, M) that no other dominates, in lexicographic order."""
    F = np.unique(F, axis=0)
    return np.asarray(F[dominators(F) == 0])


def reference_point(F: Array) -> Array:
    """(M,) the worst value of the front of F (n, M) in each objective plus a tenth of the front's range there.

    Where the front has no range, that of F counts, and 1 (a standard deviation) where F has none either. (Ishibuchi et
    al. 2018, "How to specify a reference point in hypervolume calculation".)
    """
    front = pareto_front(F)
    spread, whole = np.ptp(front, axis=0), np.ptp(F, axis=0)
    return np.asarray(front.max(axis=0) + MARGIN * np.where(spread > 0, spread, np.where(whole > 0, whole, 1.0)))


def boxes(front: Array, reference: Array) -> tuple[Array, Array]:
    """Corners low and high (N, M) of disjoint boxes that fill what lies below the reference and is not dominated.

    front (k, M) need not be clean. low is -inf where a box has no lower bound. Slices along the last objective, between
    the values of the front: in a slice, the points below it cut the other objectives, and so on. N = k + 1 at most for
    M = 2, (k + 1)(k + 2) / 2 for M = 3, of order k^(M - 1) in general.
    """
    front = pareto_front(front[(front < reference).all(axis=1)])
    M = len(reference)
    if M == 1:
        top = front[0] if len(front) else reference
        return np.full((1, 1), -np.inf), np.reshape(top, (1, 1))
    edges = np.concatenate([[-np.inf], np.unique(front[:, -1]), [reference[-1]]])
    lows, highs = [], []
    for below, above in pairwise(edges):
        low, high = boxes(front[front[:, -1] <= below, :-1], reference[:-1])
        lows.append(np.column_stack([low, np.full(len(low), below)]))
        highs.append(np.column_stack([high, np.full(len(high), above)]))
    return np.concatenate(lows), np.concatenate(highs)
