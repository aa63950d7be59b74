"""Step Law (Li et al. 2025): learning rate and batch size of a language model, read off its size and its data.

    learning rate = 1.79 N^-0.713 D^0.307        batch = 0.58 D^0.571 tokens

N parameters without embeddings, D tokens. Judged on the authors' own grid of trainings: 17 pairs (N, D), about 120 points each.
"""

from __future__ import annotations

import csv
import math
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import comb

from experiments.benchmark.tables import data_file
from experiments.ledger import Measurement
from papers.paper import Finding, Lines, Paper, PaperClaim, measurement, nothing
from papers.statistics import mean_of

TABLE, LENGTH, DRAWS = "tables/steplaw_dense_clean.csv", 2048, 10
EXPONENTS = {"learning rate, N": -0.713, "learning rate, D": 0.307, "batch, D": 0.571}
Grid = dict[tuple[int, int], float]  # (half octave of the learning rate, batch in sequences) -> smoothed loss


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


def measurements() -> list[Measurement]:
    """A line for each of the 17 tasks, and for each two numbers of tokens with one model."""
    tasks, module = TASKS, "papers.steplaw2025.claims"
    made = [measurement({"n": n, "d": d}, partial(measure_task, n, d), f"{module}:measure_task", file=TABLE) for n, d in tasks]
    pairs = [(n, d, e) for n, d in tasks for m, e in tasks if n == m and d < e]
    return made + [
        measurement({"n": n, "low": d, "high": e}, partial(measure_pair, n, d, e), f"{module}:measure_pair", file=TABLE)
        for n, d, e in pairs
    ]


MODELS = {
    214_663_680: (4, 11.4, 20, 100), 268_304_384: (5, 14.2, 25, 80), 429_260_800: (8, 22.7, 40, 50),
    536_872_960: (10, 28.4, 50), 1_073_741_824: (20, 56.9),
}  # fmt: skip
TASKS = [(n, round(billions * 1e9)) for n, several in MODELS.items() for billions in several]


# -- rules -------------------------------------------------------------------------------------------------------------


def tasks_of(lines: Lines) -> Lines:
    return [line for line in lines if "d" in line]


def judge_excess(lines: Lines) -> Finding:
    values = np.array([line["excess"] for line in tasks_of(lines)])
    if len(values) < len(TASKS):
        return nothing("some of the 17 tasks")
    mean = mean_of(values)
    worst = f"the law's grid point loses {mean.value:.3f} % in the mean, {values.max():.2f} % at the worst of {len(values)} tasks"
    return Finding(bool(0.08 <= mean.value <= 0.11), worst, f"{mean.value:.3f} %", mean.interval)


def judge_random(lines: Lines) -> Finding:
    values = np.array([line["random"] for line in tasks_of(lines)])
    if len(values) < len(TASKS):
        return nothing("some of the 17 tasks")
    mean = mean_of(values)
    said = f"the best of {DRAWS} random points loses {mean.value:.3f} % in expectation"
    return Finding(bool(0.30 <= mean.value <= 0.40), said, f"{mean.value:.3f} %", mean.interval)


def fit_exponents(lines: Lines) -> np.ndarray:
    """The three exponents by least squares on the logarithms of the tasks' best grid points."""
    n, d = np.log2([[line["n"], line["d"]] for line in lines]).T
    one = np.ones_like(n)
    rate = np.linalg.lstsq(np.column_stack([one, n, d]), np.array([line["log2_rate"] for line in lines]), rcond=None)[0]
    batch = np.linalg.lstsq(np.column_stack([one, d]), np.array([line["log2_batch"] for line in lines]), rcond=None)[0]
    return np.array([rate[1], rate[2], batch[1]])


def judge_fit(lines: Lines) -> Finding:
    tasks = tasks_of(lines)
    if len(tasks) < len(TASKS):
        return nothing("some of the 17 tasks")
    fitted, published = fit_exponents(tasks), np.array(list(EXPONENTS.values()))
    off = np.abs(fitted / published - 1)
    said = ", ".join(f"{name} {value:.3f} instead of {EXPONENTS[name]}" for name, value in zip(EXPONENTS, fitted, strict=True))
    return Finding(bool(off.max() > 0.1), said, ", ".join(f"{value:.3f}" for value in fitted))


def judge_fidelity(lines: Lines) -> Finding:
    n, (low, *_, high) = TASKS[0][0], [d for m, d in TASKS if m == TASKS[0][0]]
    found = next((line for line in lines if (line["n"], line.get("low"), line.get("high")) == (n, low, high)), None)
    if found is None:
        return nothing("the pair of 4 and 100 billion tokens")
    rho, points = found["correlation"], found["points"]
    width = 1.96 / math.sqrt(points - 3)  # Fisher's
    low_end, high_end = math.tanh(math.atanh(rho) - width), math.tanh(math.atanh(rho) + width)
    said = f"over {points} points that both have, the rank correlation is {rho:.3f}"
    return Finding(bool(abs(rho - 0.07) <= 0.05), said, f"{rho:.3f}", f"[{low_end:.2f}, {high_end:.2f}]")


PAPER = Paper(
    name="steplaw2025",
    title="Predictable Scale: Step Law, optimal hyperparameters of language models",
    reference="Li et al. 2025, arXiv 2503.04715",
    claims=(
        PaperClaim(
            "The grid point nearest to the law costs hardly anything.", judge_excess, "excess",
            "the grid point nearest (in log lr, log batch) to the law has mean relative excess loss over the 17 tasks in "
            "[0.08, 0.11] %", "0.09 %", 17, "one look at a table of about 120 trainings",
        ),
        PaperClaim(
            "Ten random points of the grid cost several times as much.", judge_random, "random",
            "best of ten random points: about 0.35 %, read as 0.30 to 0.40 %", "0.35 %", 17,
            "ten trainings of a table, in exact expectation",
        ),
        PaperClaim(
            "A plain least-squares fit on the 17 best points does not give the published exponents.", judge_fit, "fit",
            "a plain least-squares fit on the 17 argmins does not give the published exponents: one of the three is off by more "
            "than a tenth", "-0.713, 0.307, 0.571", 17, "the best point of each table",
        ),
        PaperClaim(
            "A short training misleads: the order of settings at 4 B tokens says nothing of that at 100 B.", judge_fidelity,
            "fidelity", "for the same (lr, batch), the rank correlation between 4 B and 100 B tokens at N = 0.21 B is about "
            "0.07, read as 0.02 to 0.12", "0.07", 1, "the points that both tables have",
        ),
    ),
    measurements=measurements,
    quick={"n": TASKS[0][0], "d": TASKS[0][1]},
    needs=(TABLE,),
    published_at="the repository step-law/steplaw",
)  # fmt: skip
