"""Means with bootstrap intervals, as tables print them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % bias-corrected bootstrap interval of the mean; (nan, nan) for fewer than three or equal values."""
    if len(values) < 3 or np.ptp(values) == 0:
        return math.nan, math.nan
    found = stats.bootstrap((values,), np.mean, n_resamples=9999, rng=np.random.default_rng(0)).confidence_interval
    return float(found.low), float(found.high)


def format_interval(values: Sequence[float], sign: str = "") -> str:
    """`2.071 [2.050, 2.094]`."""
    low, high = mean_interval(values)
    inside = "" if math.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{np.mean(values):{sign}.3f}{inside}"
