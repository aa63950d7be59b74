"""Means with their intervals, for the rules of claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Mean:
    """A mean and its 95 % interval by Student's t; `error` is its standard error."""

    value: float
    error: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """The interval as a text, to four digits."""
        return f"[{self.low:.4g}, {self.high:.4g}]"


def mean_of(values: Sequence[float] | np.ndarray) -> Mean:
    """The mean of independent repeats. ValueError for fewer than two values, or for a value that is not finite."""
    found = np.asarray(values, dtype=float)
    if len(found) < 2 or not np.isfinite(found).all():
        raise ValueError(f"a mean needs two values or more, all finite; {found.tolist()} came")
    value, error = float(found.mean()), float(stats.sem(found))
    half = float(stats.t.ppf(0.975, len(found) - 1)) * error
    return Mean(value, error, value - half, value + half)


def difference_of(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> Mean:
    """The mean of first - second, over pairs that share a seed."""
    return mean_of(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))
