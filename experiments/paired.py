"""Searches with something and without it, by seed: how far apart their regrets are.

    score    log2 of (regret with + floor) / (regret without + floor): -1 is half the regret. The floor is a thousandth of the
             task's scale, so that what lies below it makes no difference
    scale    the median regret of random configurations of a task
    ±        half the width of the 95 % interval of a mean over seeds, by Student's t; several tasks count as the mean of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from scipy import stats

from experiments.benchmark.tasks import Task

FLOOR = 1e-3
DRAWS = 400


@cache
def scale_of(task: Task) -> float:
    """The median regret of random configurations."""
    space = task.space()
    rows = space.domain.random(np.random.default_rng(0), DRAWS)
    return float(np.median([task.true(space.decode(row)) for row in rows])) - task.best


def score(mine: Sequence[float], others: Sequence[float], scale: float) -> np.ndarray:
    """(seeds,) log2 ratios of regrets."""
    floor = FLOOR * scale
    return np.asarray(np.log2((np.array(mine) + floor) / (np.array(others) + floor)))


def half_width(values: np.ndarray) -> float:
    """Of the 95 % interval of the mean; 0 where all are the same."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def interval(values: np.ndarray, digits: int = 2) -> str:
    """`-0.51 ± 0.20`."""
    return f"{np.mean(values):.{digits}f} ± {half_width(values):.{digits}f}"


def over_tasks(by_task: Mapping[str, np.ndarray]) -> np.ndarray:
    """(seeds,) the mean over tasks, of the seeds that all tasks have."""
    n = min(map(len, by_task.values()))
    return np.asarray(np.mean([values[:n] for values in by_task.values()], axis=0))


def count_clear(by_task: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """On how many tasks the interval lies below zero, and on how many above it."""
    ends = [(np.mean(values) - half_width(values), np.mean(values) + half_width(values)) for values in by_task.values()]
    return sum(bool(high < 0) for _, high in ends), sum(bool(low > 0) for low, _ in ends)
