"""Pareto fronts of points (n, M) to be minimised, and the non-dominated space cut into boxes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from surrogates.domain import Array

MARGIN = 0.1  # of a range: how far the reference point lies beyond the worst values


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
    """(M,) the worst value of the front of F (n, M) in each objective, and a tenth of the front's range beyond.

    (Ishibuchi et al. 2018, "How to specify a reference point in hypervolume calculation".) Where the front has less than
    2 M + 1 points, the worst value and the range of all of F count: a front of one extreme point would otherwise put the
    reference beside it, and make the rest of the true front worthless. A range of 0 counts as 1, a standard deviation.
    """
    front = pareto_front(F)
    seen = front if len(front) > 2 * F.shape[1] else F
    spread = np.ptp(seen, axis=0)
    return np.asarray(seen.max(axis=0) + MARGIN * np.where(spread > 0, spread, 1.0))


def thin_front(front: Array, most: int) -> Array:
    """At most `most` points of a clean front (k, M), but M at least: the best in each objective, then the most remote."""
    if len(front) <= most:
        return front
    scaled = (front - front.min(axis=0)) / np.maximum(np.ptp(front, axis=0), 1e-300)
    kept = list(dict.fromkeys(int(i) for i in scaled.argmin(axis=0)))
    distance = np.min([((scaled - scaled[i]) ** 2).sum(axis=1) for i in kept], axis=0)
    while len(kept) < most:
        kept.append(int(distance.argmax()))
        distance = np.minimum(distance, ((scaled - scaled[kept[-1]]) ** 2).sum(axis=1))
    return np.asarray(front[np.sort(kept)])


def boxes(front: Array, reference: Array) -> tuple[Array, Array]:
    """Corners low and high (N, M) of disjoint boxes that fill what lies below the reference and is not dominated.

    front (k, M) need not be clean. low is -inf where a box has no lower bound. Slices along the last objective, between
    the values of the front: in a slice, the points below it cut the other objectives, and so on. N = k + 1 at most for
    M = 2, (k + 1)(k + 2) / 2 for M = 3, of order k^(M - 1) in general.
    """
    front = pareto_front(front[(front < reference).all(axis=1)])
    M = len(reference)
    if M == 1:
        return np.full((1, 1), -np.inf), np.reshape(front[0] if len(front) else reference, (1, 1))
    if M == 2:
        return _strips(front[::-1], reference)
    edges = np.concatenate([[-np.inf], np.unique(front[:, -1]), [reference[-1]]])
    lows, highs = [], []
    for below, above in pairwise(edges):
        low, high = boxes(front[front[:, -1] <= below, :-1], reference[:-1])
        lows.append(np.column_stack([low, np.full(len(low), below)]))
        highs.append(np.column_stack([high, np.full(len(high), above)]))
    return np.concatenate(lows), np.concatenate(highs)


def _strips(front: Array, reference: Array) -> tuple[Array, Array]:
    """The boxes of two objectives, for a clean front by ascending second objective."""
    first, second = front.T
    low = np.column_stack([np.full(len(front) + 1, -np.inf), np.concatenate([[-np.inf], second])])
    return low, np.column_stack([np.concatenate([reference[:1], first]), np.concatenate([second, reference[1:]])])
