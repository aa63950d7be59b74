"""Orders for several objectives, all minimised: non-dominated fronts, and within a front one of ORDERS.

    crowding   the loneliest first, by crowding distance (Deb et al. 2002, NSGA-II, section 3.B)
    epsilon    the best of the first objective, then whatever is farthest from all before it: the first k are an epsilon-net
               of the front, for every k (Salinas et al. 2021, "A multi-objective perspective on jointly tuning hardware and
               hyperparameters"; Schmucker et al. 2021, MO-ASHA)

Crowding prefers all ends of a front and then judges each point by its two neighbours, so that the first few may stand side by
side; a net spreads the first few. Changed from the papers: a net measures distances in ranges of the front, so that bytes do
not outweigh a loss, and begins with the best of the first objective rather than at random.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the losses a are nowhere worse than the losses b, and better somewhere."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def fronts(losses: Sequence[Sequence[float]]) -> list[list[int]]:
    """Indices by non-dominated front, best front first. (n, m) losses.

    Rows are placed in lexicographic order. Each goes into the first front that has no row that dominates it; bisection finds
    this front (Zhang et al. 2015, ENS-BS). O(n log n) for two losses, at worst O(n^2 m) for more, and no (n, n) array.
    """
    values = np.asarray(losses, dtype=np.float64)
    if len(values) == 0:
        return []
    found: list[_Front] = []
    for i in np.lexsort(values.T[::-1]):
        row = values[i]
        at = bisect_left(found, True, key=lambda front: not front.dominates(row))
        if at == len(found):
            found.append(_Front(values))
        found[at].members.append(int(i))
    return [sorted(front.members) for front in found]


class _Front:
    """Members of a front in lexicographic order; rows (m,) are added in this order."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.members: list[int] = []

    def dominates(self, row: np.ndarray) -> bool:
        """Whether some member dominates a row that comes after all of them."""
        if len(row) <= 2:  # along a front of two losses the second falls, so only the last member can dominate
            last = self.values[self.members[-1]]
            return bool((last <= row).all() and (last < row).any())
        members = self.values[self.members]
        return bool(((members <= row).all(1) & (members < row).any(1)).any())


def crowding(losses: Sequence[Sequence[float]]) -> np.ndarray:
    """(n,) crowding distance within one front; infinite at its ends, and equal for equal losses.

    In each column, rows with equal values share the distance between their neighbours, or are at the end together. A column
    in which all values are equal adds nothing.
    """
    values = np.asarray(losses, dtype=np.float64)
    distance = np.zeros(len(values))
    for column in values.T:
        levels, of, shared = np.unique(column, return_inverse=True, return_counts=True)
        if len(levels) < 2:
            continue
        gap = np.full(len(levels), np.inf)
        spread = levels[-1] - levels[0]
        gap[1:-1] = (levels[2:] - levels[:-2]) / spread / shared[1:-1] if np.isfinite(spread) else 0.0
        distance += gap[of]
    return distance


def epsilon_net(losses: Sequence[Sequence[float]]) -> list[int]:
    """Indices of one front (n, m) of finite losses: the least first loss, then in turn what is farthest from all before.

    Far is by Euclidean distance, each column divided by its range; of equal ones the first is taken. O(n^2 m).
    """
    values = np.asarray(losses, dtype=np.float64)
    spread = values.max(axis=0) - values.min(axis=0)
    scaled = (values - values.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    order, gap = [int(values[:, 0].argmin())], np.full(len(values), np.inf)
    while len(order) < len(values):
        gap = np.minimum(gap, ((scaled - scaled[order[-1]]) ** 2).sum(axis=1))
        gap[order[-1]] = -1.0  # below every distance: it is taken
        order.append(int(gap.argmax()))
    return order


def _by_crowding(losses: Sequence[Sequence[float]]) -> list[int]:
    return [int(i) for i in np.argsort(-crowding(losses), kind="stable")]


ORDERS: dict[str, Callable[[Sequence[Sequence[float]]], list[int]]] = {"crowding": _by_crowding, "epsilon": epsilon_net}


def pareto_order(losses: Sequence[Sequence[float]], by: str = "crowding") -> list[int]:
    """Indices by front, within a front by one of ORDERS, then in the given order; rows that are not all finite come last."""
    finite = [bool(np.isfinite(row).all()) for row in losses]
    good = [i for i, one in enumerate(finite) if one]
    order: list[int] = []
    for front in fronts([losses[i] for i in good]):
        order += [good[front[i]] for i in ORDERS[by]([losses[good[i]] for i in front])]
    return order + [i for i, one in enumerate(finite) if not one]
