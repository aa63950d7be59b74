"""The authors' table of trainings, the law, and what is measured of both."""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import comb

from experiments.benchmark.tables import data_file

TABLE, LENGTH, DRAWS = "tables/steplaw_dense_clean.csv", 2048, 10
Grid = dict[tuple[int, int], float]  # (half octave of the learning rate, batch in sequences) -> smoothed loss
MODELS = {
    214_663_680: (4, 11.4, 20, 100), 268_304_384: (5, 14.2, 25, 80), 429_260_800: (8, 22.7, 40, 50),
    536_872_960: (10, 28.4, 50), 1_073_741_824: (20, 56.9),
}  # fmt: skip
TASKS = [(n, round(billions * 1e9)) for n, several in MODELS.items() for billions in several]


@lru_cache
def grids() -> dict[tuple[int, int], Grid]:
    """The table: a grid for every (N, D)."""
    found: dict[tuple[int, int], Grid] = {}
    with data_file(TABLE).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cell = int(row["lr_half_octave"]), int(row["bs"])
            found.setdefault((int(row["N"]), int(row["D"])), {})[cell] = float(row["smooth loss"])
    return dict(sorted(found.items()))


def law(n: int, d: int) -> tuple[float, float]:
    """(log2 of the learning rate, log2 of the batch in sequences) by the published law."""
    return math.log2(1.79 * n**-0.713 * d**0.307), math.log2(0.58 * d**0.571 / LENGTH)


def measure_task(n: int, d: int) -> dict[str, Any]:
    """How much is lost at the law's nearest grid point, and by the best of ten random ones in expectation, in percent."""
    grid = grids()[n, d]
    places = np.array([[half / 2, math.log2(batch)] for half, batch in grid])
    losses = np.array(list(grid.values()))
    nearest = int(((places - law(n, d)) ** 2).sum(axis=1).argmin())
    best, count, rank = losses.min(), len(losses), np.arange(len(losses))
    chance = comb(count - 1 - rank, DRAWS - 1) / comb(count, DRAWS)  # that the best of ten is this one
    expected = float(np.sort(losses) @ chance)
    half, batch = (places[losses.argmin()] * [2, 1]).round(6).tolist()
    return {
        "points": count, "excess": 100 * (losses[nearest] / best - 1), "random": 100 * (expected / best - 1),
        "log2_rate": half / 2, "log2_batch": batch,
    }  # fmt: skip


def measure_pair(n: int, low: int, high: int) -> dict[str, Any]:
    """Spearman's rank correlation of two grids over the points that both have."""
    first, second = grids()[n, low], grids()[n, high]
    both = sorted(first.keys() & second.keys())
    found = stats.spearmanr([first[cell] for cell in both], [second[cell] for cell in both])
    return {"points": len(both), "correlation": float(found.statistic)}
