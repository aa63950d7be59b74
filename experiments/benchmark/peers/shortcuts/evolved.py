"""Shortcuts for HEBO's evolutionary search that change none of its decisions: pymoo's slowest loops without loops.

Mating      Children are light until it is known which of them are new (mating.py).
Fronts      Non-dominated sorting looks at every pair. A row of the matrix of dominations at a time gives the same fronts,
            each in the same order.

They are most of what HEBO costs. Studies use them; what HEBO costs is measured without (timing).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from pymoo.core.mixed import MixedVariableMating

from experiments.benchmark.peers.shortcuts.mating import mate_mixed

SORT = "pymoo.util.nds.fast_non_dominated_sort.fast_non_dominated_sort"


def fronts(F: np.ndarray, **ignored: Any) -> list[list[int]]:
    """The non-dominated fronts of (n, m) objectives; in each, individuals as they are freed by those of the one before."""
    dominates = domination(F)
    left = dominates.sum(0)  # by how many each is dominated that are not ranked yet
    front = np.flatnonzero(left == 0).tolist()
    found = [front] if len(F) else []
    while sum(map(len, found)) < len(F):
        freed: list[int] = []
        for i in front:
            left -= dominates[i]
            freed += np.flatnonzero(dominates[i] & (left == 0)).tolist()
        found.append(freed)
        front = freed
    return found


def domination(F: np.ndarray) -> np.ndarray:
    """(n, n) who is better than whom in an objective and worse in none."""
    better = np.zeros((len(F), len(F)), dtype=bool)
    for column in F.T:
        better |= column[:, None] < column
    return better & ~better.T


@contextmanager
def shortcuts() -> Iterator[None]:
    """pymoo takes them as long as it lasts."""
    with mock.patch.object(MixedVariableMating, "do", mate_mixed), mock.patch(SORT, fronts):
        yield
