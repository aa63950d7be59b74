"""Hypervolume: what a set of points dominates below a reference (Zitzler and Thiele 1998). All objectives are minimised.

Up to four objectives it is exact, by slices along the last objective (HSO: While et al. 2006), the points of a slice reduced to
their front; in two dimensions a sweep. From five on it is estimated by uniform draws.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
EXACT = 4  # objectives
DRAWS, BLOCK = 200_000, 20_000


def hypervolume(losses: Array, reference: Array, seed: int = 0) -> float:
    """The volume that points (n, M) dominate below a reference (M,); points that are not below it everywhere add nothing.

    O(n log n) for two objectives, O(n^2 log n) for three, O(n^3 log n) at worst for four; from five on `estimate_hypervolume`'s
    value. ValueError where the shapes do not fit, or the reference is not finite.
    """
    points, bound = _checked(losses, reference)
    return _exact(points, bound) if len(bound) <= EXACT else estimate_hypervolume(points, bound, seed)[0]


def estimate_hypervolume(losses: Array, reference: Array, seed: int = 0) -> tuple[float, float]:
    """The volume and its standard error, by 200,000 uniform draws between the least values and the reference."""
    points, bound = _checked(losses, reference)
    if not len(points):
        return 0.0, 0.0
    low, rng, hits = points.min(axis=0), np.random.default_rng(seed), 0
    for _ in range(DRAWS // BLOCK):
        drawn = rng.uniform(low, bound, (BLOCK, len(bound)))
        hit = np.zeros(BLOCK, dtype=bool)
        for point in points:
            hit |= (point <= drawn).all(axis=1)
        hits += int(hit.sum())
    whole, share = float(np.prod(bound - low)), hits / DRAWS
    return whole * share, whole * float(np.sqrt(share * (1 - share) / DRAWS))


def _checked(losses: Array, reference: Array) -> tuple[Array, Array]:
    """The front of the points below the reference, and the reference."""
    bound = np.asarray(reference, dtype=float)
    points = np.asarray(losses, dtype=float).reshape(-1, len(bound)) if np.size(losses) == 0 else np.asarray(losses, dtype=float)
    if bound.ndim != 1 or points.ndim != 2 or points.shape[1] != len(bound):
        raise ValueError(f"losses have the shape {points.shape} and the reference {bound.shape}; allowed are (n, M) and (M,)")
    if not np.isfinite(bound).all():
        raise ValueError(f"the reference is {bound.tolist()}; allowed are finite numbers")
    return _front(points[(points < bound).all(axis=1)]), bound


def _front(points: Array) -> Array:
    """The points that no other dominates, each once, in lexicographic order."""
    rows, kept = np.unique(points, axis=0), list[int]()
    for i, row in enumerate(rows):  # whatever dominates a row stands before it
        if not any((rows[j] <= row).all() for j in kept):
            kept.append(i)
    return rows[kept]


def _exact(points: Array, bound: Array) -> float:
    """Of a front in lexicographic order."""
    if not len(points):
        return 0.0
    if len(bound) == 1:
        return float(bound[0] - points[0, 0])
    if len(bound) == 2:  # the first objective rises, so the second falls
        widths = np.diff(np.append(points[:, 0], bound[0]))
        return float(widths @ (bound[1] - points[:, 1]))
    order = np.argsort(points[:, -1], kind="stable")
    edges, total = np.append(points[order, -1], bound[-1]), 0.0
    for i, depth in enumerate(np.diff(edges)):
        if depth > 0:
            total += float(depth) * _exact(_front(points[order[: i + 1], :-1]), bound[:-1])
    return total
