"""The confidence bound."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from surrogates.acquisitions.marginal import Belief, Scores
from surrogates.domain import Array


@dataclass(frozen=True)
class UCB:
    """The lower confidence bound, negated: sqrt(beta) sd - mean (Srinivas et al. 2010, eq. 6)."""

    beta: float = 4.0

    log_scale: ClassVar[bool] = False

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """Does not depend on the incumbent."""
        return sqrt(self.beta) * posterior.sd - posterior.mean

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """Constant: -1 by mean, sqrt(beta) by sd."""
        ones = np.ones_like(posterior.mean)
        return self(posterior, incumbent), -ones, sqrt(self.beta) * ones
