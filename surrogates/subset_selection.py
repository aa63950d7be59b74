"""The best k of n points (n, M) to be minimised: front by front, and of the front that does not fit in as a whole those that
together have the largest hypervolume (MOTPE: Ozaki et al. 2020, Algorithm 2; 2022, section 4.2).

The subset of the last front is found greedily, which is within 1 - 1/e of the best (Guerreiro et al. 2016). The contribution
of every point to the hypervolume is kept up to date: what is not dominated yet is held as disjoint boxes, and a point that is
taken removes from each box a smaller box, whose overlap with what another point would add is a product.
"""

from __future__ import annotations

import numpy as np

from surrogates.columns import Array, Mask

STRONG = 16  # points of a low sum that are compared with all others first
EPS = 1e-12  # in the place of a coordinate of 0 of the reference point, as Optuna has it


def select_by_rank(F: Array, k: int) -> np.ndarray:
    """(k,) numbers of the best points of F (n, M), rising: by non-domination rank, the last front by hypervolume."""
    if k >= len(F):
        return np.arange(len(F))
    order = np.lexsort(F.T[::-1])
    points, where = _different(F[order])
    numbers = np.empty(len(F), dtype=int)
    numbers[order] = where  # (n,) which of the different points each is
    left, chosen = np.arange(len(points)), np.zeros(len(F), dtype=bool)
    counts = np.bincount(where)
    room = k
    while room:
        on = _is_first_front(points[left])
        size = int(counts[left[on]].sum())
        members = np.flatnonzero(np.isin(numbers, left[on]))
        if size > room:
            front = F[members]
            members = members[select_by_hypervolume(front, room, beyond_worst(front))]
        chosen[members] = True
        room -= len(members)
        left = left[~on]
    return np.flatnonzero(chosen)


def beyond_worst(F: Array) -> Array:
    """(M,) a reference point a tenth of its distance from the origin beyond the worst values of F (n, M), as Optuna has it."""
    worst = F.max(axis=0)
    with np.errstate(over="ignore"):
        reference = np.maximum(1.1 * worst, 0.9 * worst)
    return np.where(reference == 0.0, EPS, reference)


def select_by_hypervolume(F: Array, k: int, reference: Array) -> np.ndarray:
    """(k,) numbers of points of F (n, M) below the reference (M,) that greedily add the most hypervolume.

    Equal points count once, until there are no others. Where a volume is too large for a float, the first k.
    """
    order = np.lexsort(F.T[::-1])
    points, where = _different(F[order])
    first = order[np.unique(where, return_index=True)[1]]  # lexsort is stable: the lowest number of equal points
    if len(points) < k:
        others = np.setdiff1d(np.arange(len(F)), first)
        return np.concatenate([first, others[: k - len(first)]])
    with np.errstate(over="ignore"):
        whole = np.prod(reference - points.min(axis=0))
    if not np.isfinite(whole):
        return np.arange(k)
    return np.asarray(first[_greedy(points, k, reference)])


def _greedy(points: Array, k: int, reference: Array) -> np.ndarray:
    gain = np.prod(reference - points, axis=1)
    low, high = points.min(axis=0)[None], reference[None].astype(float)  # boxes that are not dominated yet, (N, M) each
    chosen = np.empty(k, dtype=int)
    for i in range(k):
        chosen[i] = best = int(np.argmax(gain))
        point = points[best]
        hit = (high > point).all(axis=1)
        corner = np.maximum(low[hit], point)
        gain -= np.prod(np.maximum(high[hit][:, None] - np.maximum(corner[:, None], points), 0.0), axis=2).sum(axis=0)
        gain[best] = -np.inf
        rest = _split(low[hit], high[hit], point)
        low, high = np.concatenate([low[~hit], rest[0]]), np.concatenate([high[~hit], rest[1]])
    return chosen


def _split(low: Array, high: Array, point: Array) -> tuple[Array, Array]:
    """What is left of boxes (N, M) without what lies above a point (M,) in every coordinate, as disjoint boxes."""
    lows, highs = [low[:0]], [high[:0]]
    for d in range(len(point)):
        l, h = np.array(low), np.array(high)
        l[:, :d] = np.maximum(l[:, :d], point[:d])
        h[:, d] = np.minimum(h[:, d], point[d])
        there = l[:, d] < h[:, d]
        lows.append(l[there])
        highs.append(h[there])
    return np.concatenate(lows), np.concatenate(highs)


def _different(S: Array) -> tuple[Array, np.ndarray]:
    """The different rows of sorted rows S (n, M), and (n,) which of them each row is."""
    starts = np.append(True, (S[1:] != S[:-1]).any(axis=1))
    return S[starts], np.cumsum(starts) - 1


def _is_first_front(S: Array) -> Mask:
    """(n,) which of different rows S (n, M) in lexicographic order no other dominates."""
    if S.shape[1] == 2:
        least = np.minimum.accumulate(S[:, 1])
        return np.append(True, S[1:, 1] < least[:-1])
    on, left = np.zeros(len(S), dtype=bool), np.arange(len(S))
    for i in np.argsort(S.sum(axis=1), kind="stable")[:STRONG]:  # what these dominate needs no look
        left = left[(S[left] < S[i]).any(axis=1) | (left == i)]
    while len(left):  # the first of what is left is dominated by nothing, and dominates only what comes later
        on[left[0]] = True
        left = left[(S[left] < S[left[0]]).any(axis=1)]
    return on
