"""Probability of improvement, in log space.

Notation     z = (incumbent - margin - mean) / sd     R(z) = Phi(z) / phi(z)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from surrogates.acquisitions.marginal import Belief, Scores, standardise_gap
from surrogates.acquisitions.normal import log_cdf
from surrogates.domain import Array


@dataclass(frozen=True)
class LogPI:
    """log P[f < incumbent - margin] (Kushner 1964). margin is in standardised units; without one PI never explores."""

    margin: float = 0.01

    log_scale: ClassVar[bool] = True

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """log Phi(z)."""
        return self.gradient(posterior, incumbent)[0]

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d/dmean = -1 / (sd R); d/dsd = -z / (sd R)."""
        z, sd = standardise_gap(posterior, incumbent - self.margin)
        value, slope = log_cdf(z)
        return value, -slope / sd, -z * slope / sd
