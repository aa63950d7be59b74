"""Integers under a normal distribution: the margin (CMA-ES with margin).

Source: Hamano, Saito, Nomura, Shirakawa 2022, "CMA-ES with margin: lower-bounding marginal probability for mixed-integer
black-box optimization", arXiv:2205.13482. A number that is rounded to levels stops moving once the step is small against
their distance. After every update the distribution is therefore corrected so that a draw leaves the mean's level with a
probability of at least `alpha` on the whole: by an affine map x -> mean + A (x - mean) of what is rounded, and by moving the
mean. Sigma and C stay as they are.

Faithful: the correction, its order, alpha = 1 / (n lam). What is more general: levels may be unevenly spaced (the paper's
section 3 allows it), as those of a logarithmic range are.

Notation     k coordinates are rounded     A (k,)     levels of each, sorted; a cell ends half-way between two levels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

TINY = 1e-10  # probabilities are kept so far from 0 and 1/2


@dataclass(frozen=True, eq=False)
class Margin:
    """k coordinates with levels, at least two each."""

    levels: Sequence[np.ndarray]

    @cached_property
    def limits(self) -> list[np.ndarray]:
        """Where the cells of each coordinate end."""
        return [(level[1:] + level[:-1]) / 2 for level in self.levels]

    def snap(self, X: np.ndarray) -> np.ndarray:
        """The nearest levels (m, k) of X (m, k), the lower of two that are equally near."""
        columns = [level[np.searchsorted(ends, x)] for level, ends, x in zip(self.levels, self.limits, X.T, strict=True)]
        return np.column_stack(columns) if columns else np.zeros((len(X), 0))

    def cells(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (k,): the limits beside the mean; in an outer cell both are its one limit."""
        low, high = np.empty(len(mean)), np.empty(len(mean))
        for j, (ends, m) in enumerate(zip(self.limits, mean, strict=True)):
            at = int(np.searchsorted(ends, m))
            low[j], high[j] = ends[max(at - 1, 0)], ends[min(at, len(ends) - 1)]
        return low, high

    def correct(self, mean: np.ndarray, A: np.ndarray, scale: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """(mean, A), each (k,), corrected; scale (k,) is sigma sqrt(C_jj)."""
        low, high = self.cells(mean)
        below, above = ndtr((low - mean) / (scale * A)), ndtr((mean - high) / (scale * A))
        outer = np.maximum(below, above) > 0.5
        moved = high + np.sign(mean - high) * scale * A * -ndtri(alpha)  # leaves the outer cell with alpha
        edge = np.where(np.minimum(below, above) < alpha, moved, mean)
        below, above = _raise(below, above, alpha)
        z_low, z_high = -ndtri(below), -ndtri(above)  # in standard deviations, from the mean to the two limits
        inner_mean = (low * z_high + high * z_low) / (z_low + z_high)
        inner_A = (high - low) / ((z_low + z_high) * scale)
        return np.where(outer, edge, inner_mean), np.where(outer, A, inner_A)


def _raise(below: np.ndarray, above: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the cells below and above, each at least alpha / 2, with what that takes from the middle."""
    between = 1.0 - (below + above)
    below, above = np.maximum(below, alpha / 2), np.maximum(above, alpha / 2)
    excess, room = 1.0 - below - above - between, below + between + above - 1.5 * alpha
    raised = below + excess * (below - alpha / 2) / room, above + excess * (above - alpha / 2) / room
    return np.clip(raised[0], TINY, 0.5 - TINY), np.clip(raised[1], TINY, 0.5 - TINY)
