"""Expected hypervolume improvement under noise: the front is not known, and is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogates.acquisitions.context import Context
from surrogates.acquisitions.draws import Draws
from surrogates.acquisitions.ehvi import Improvement
from surrogates.acquisitions.nei import rows_to_draw
from surrogates.acquisitions.pareto import reference_point
from surrogates.domain import Array
from surrogates.linalg import one_thread


@dataclass(frozen=True)
class NEHVI:
    """log of the mean over drawn fronts of EHVI, given each draw without noise (Daulton et al. 2021).

    For every draw the improvement is exact (ehvi.py). Pending rows are drawn too, hence integrated over.

    draws  quasi-random draws, a power of two
    most   told rows that are drawn, at most: those that the fewest others dominate, by mean and by lower bound
    """

    draws: int = 16
    most: int = 64

    log_scale: ClassVar[bool] = True
    several: ClassVar[bool] = True

    @one_thread
    def score(self, context: Context) -> NEHVIScore:
        """The draws, their fronts, and the boxes above them."""
        S = rows_to_draw(context, self.most)
        seeds = np.random.SeedSequence(context.seed).generate_state(len(context.gps))
        draws = [Draws(gp, S, int(seed), self.draws) for gp, seed in zip(context.gps, seeds, strict=True)]
        reference = context.reference
        if reference is None:
            reference = reference_point(np.column_stack([gp.mean(context.started_rows) for gp in context.gps]))
        points = np.stack([draw.values for draw in draws], axis=-1)  # (q, k, M)
        return NEHVIScore(draws, Improvement(list(points), reference))


class NEHVIScore:
    """The score of rows."""

    log_scale = True

    def __init__(self, draws: list[Draws], improvement: Improvement) -> None:
        self.draws, self.improvement = draws, improvement

    def __call__(self, X: Array) -> Array:
        """(m,) log of the average expected improvement."""
        given = [draw.at(X) for draw in self.draws]
        return self.improvement([(one.means, one.sd) for one in given])

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        given = [draw.at(X) for draw in self.draws]
        value, by = self.improvement.gradient([(one.means, one.sd) for one in given])
        return value, np.sum([one.pull(*moments) for one, moments in zip(given, by, strict=True)], axis=0)
