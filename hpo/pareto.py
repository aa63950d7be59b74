"""Orders for several objectives, all minimised: non-dominated fronts and crowding (Deb et al. 2002, NSGA-II)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fronts(losses: Sequence[Sequence[float]]) -> list[list[int]]:
    """Indices by non-dominated front, best front first. (n, m) losses; O(n^2 m)."""
    values = np.asarray(losses, dtype=np.float64)
    if len(values) == 0:
        return []
    a, b = values[:, None, :], values[None, :, :]
    below = np.logical_and(np.all(a <= b, axis=-1), np.any(a < b, axis=-1))  # (n, n): row dominates column
    dominators = below.sum(0)
    left = np.ones(len(values), dtype=bool)
    found = []
    while left.any():
        front = np.flatnonzero(left & (dominators == 0))
        found.append(front.tolist())
        left[front] = False
        dominators = dominators - below[front].sum(0)
    return found


def crowding(losses: Sequence[Sequence[float]]) -> np.ndarray:
    """(n,) crowding distance within one front; infinite at its ends."""
    values = np.asarray(losses, dtype=np.float64)
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        low, high = column[order[0]], column[order[-1]]
        spread = high - low if np.isfinite([low, high]).all() else 0.0
        distance[order[[0, -1]]] = np.inf
        if spread > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance


def pareto_order(losses: Sequence[Sequence[float]]) -> list[int]:
    """Indices by front, then the lonely before the crowded, then as they came."""
    order: list[int] = []
    for front in fronts(losses):
        lonely = crowding([losses[i] for i in front])
        order += [front[i] for i in np.argsort(-lonely, kind="stable")]
    return order
