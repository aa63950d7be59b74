"""Expected improvement, plain and in log space.

Notation     z = (incumbent - mean) / sd     h(z) = phi(z) + z Phi(z)     EI = sd h(z)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from surrogates.acquisitions.marginal import Belief, Scores, standardise_gap
from surrogates.acquisitions.normal import density, log_h
from surrogates.domain import Array


@dataclass(frozen=True)
class LogEI:
    """log E[max(incumbent - f, 0)]: expected improvement that never vanishes (Ament et al. 2023, eq. 8)."""

    log_scale: ClassVar[bool] = True

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """log sd + log h(z)."""
        return self.gradient(posterior, incumbent)[0]

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d/dmean = -Phi / (sd h); d/dsd = (h - z Phi) / (sd h) = phi / (sd h), with no difference taken."""
        z, sd = standardise_gap(posterior, incumbent)
        value, first, second = log_h(z)
        return np.log(sd) + value, -first / sd, second / sd


@dataclass(frozen=True)
class EI:
    """E[max(incumbent - f, 0)] (Jones et al. 1998, eq. 15), as exp(LogEI): underflows 37 sd away, LogEI does not."""

    log_scale: ClassVar[bool] = False

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """sd h(z)."""
        return np.exp(LogEI()(posterior, incumbent))

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d/dmean = -Phi; d/dsd = phi."""
        z, _ = standardise_gap(posterior, incumbent)
        return self(posterior, incumbent), -ndtr(z), density(z)
