"""Thompson sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogates.acquisitions.context import Context
from surrogates.domain import Array
from surrogates.paths import FREQUENCIES, Paths


@dataclass(frozen=True)
class Thompson:
    """The negative of one function drawn from the posterior (Thompson 1933; drawn as in Wilson et al. 2020).

    Pending rows are ignored: each proposal draws another function, by its seed, which is enough for parallel jobs
    (Kandasamy et al. 2018).
    """

    frequencies: int = FREQUENCIES

    log_scale: ClassVar[bool] = False
    is_draw: ClassVar[bool] = True

    def score(self, context: Context) -> ThompsonScore:
        """The function that belongs to the seed."""
        return ThompsonScore(Paths(context.gp, np.random.default_rng(context.seed), 1, self.frequencies))


@dataclass(frozen=True, eq=False)
class ThompsonScore:
    """The score of rows."""

    paths: Paths

    log_scale: ClassVar[bool] = False

    def __call__(self, X: Array) -> Array:
        """(m,) -f(x)."""
        return -self.paths(X)[:, 0]

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        return self.paths.gradient(X, np.full((len(X), 1), -1.0))
