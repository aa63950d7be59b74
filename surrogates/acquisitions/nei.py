"""Expected improvement under noise: the best value so far is not known, and is drawn.

Notation     S  told rows that may be the best, and all pending rows     f_j  draw j of f at S, of q     b_j = min f_j
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogates.acquisitions.context import Context, distinct
from surrogates.acquisitions.draws import Draws
from surrogates.acquisitions.normal import log_h, log_mean_exp
from surrogates.domain import Array


@dataclass(frozen=True)
class NEI:
    """log of the mean over draws f_j of EI(x; b_j) given f(S) = f_j without noise (Letham et al. 2019).

    In log space, by the numerics of LogEI (Ament et al. 2023). Pending rows are among S: what they may turn out to be
    is integrated over, so parallel proposals are made one after the other without a made-up result.

    draws  quasi-random draws, a power of two
    most   told rows in S at most: those that are the best by mean and by lower confidence bound
    """

    draws: int = 64
    most: int = 64

    log_scale: ClassVar[bool] = True

    def score(self, context: Context) -> NEIScore:
        """The draws and all that depends on them only."""
        return NEIScore(Draws(context.gp, rows_to_draw(context, self.most), context.seed, self.draws))


def rows_to_draw(context: Context, most: int) -> Array:
    """S (k, d): the promising told rows, best first, then the pending ones."""
    domain, told = context.domain, context.best_rows(most)
    return np.concatenate([told, distinct(domain, context.pending_rows, domain.keys(told))])


class NEIScore:
    """The score of rows."""

    log_scale = True

    def __init__(self, draws: Draws) -> None:
        self.draws, self.best = draws, draws.values.min(axis=1)  # (q,)

    def __call__(self, X: Array) -> Array:
        """(m,) log of the average improvement."""
        given = self.draws.at(X)
        z = (self.best - given.means) / given.sd[:, None]
        return np.asarray(np.log(given.sd) + log_mean_exp(log_h(z)[0])[0])

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d): those of LogEI in each draw, weighted by what the draw contributes."""
        given = self.draws.at(X)
        sd = given.sd[:, None]
        value, first, second = log_h((self.best - given.means) / sd)
        mean, weights = log_mean_exp(value)
        slope = given.pull(-weights * first / sd, (weights * second).sum(axis=1) / given.sd)
        return np.log(given.sd) + mean, slope
