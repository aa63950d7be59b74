"""Tasks that read measured results: four interpolated tables of training runs, and seven complete grids.

The files lie below $HPO_DATA or ../shared/data and are read once. Numbers of a grid that have an order are the index of
their value (an `Int` from 0), so that an optimizer can use the order without being told the uneven spacing.

    U        (n, d) rows of a table in the unit cube, every hyperparameter logarithmic
    y        (n,) final validation loss, at most WORST; WORST where the run diverged
    metric   (d,) how much each dimension counts in a distance
"""

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hpo.space import Categorical, Float, Int, Parameter, Space

Values = Mapping[str, Any]


def data_file(name: str) -> Path:
    """Where a file of the shared data is, whether or not it is there."""
    root = os.environ.get("HPO_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(root) / name


# --- TaskSet: real training runs, interpolated ---------------------------------------------------------------------------
# All eight tasks of the file are recurrent classifiers of texts (two classes: the loss of guessing is ln 2), none of them
# is a language model. Those of METRIC are the two that agree least: the least rank correlation of the final validation
# loss (diverged last) between any two of the eight, 0.54.

TASKSET = "tables/taskset_nlp_dev8.npz"
LOGARITHMIC = {  # name: (lo, hi), the ranges from which the 1000 configurations were drawn
    "learning_rate": (1e-8, 1e1),
    "beta1_gap": (1e-4, 1.0),  # 1 - beta1
    "beta2_gap": (1e-6, 1.0),  # 1 - beta2
    "epsilon": (1e-10, 1e3),
    "l1": (1e-8, 1e1),
    "l2": (1e-8, 1e1),
    "linear_decay": (1e-7, 1e-4),
    "exponential_decay": (1e-6, 1e-3),
}
WORST = 2 * math.log(2)  # twice the loss of guessing one of two classes
NEIGHBOURS = 10
# Of the leave-one-out squared error over 0.05, 0.1 .. 1 each, by coordinate descent. R2 0.78 and 0.65 left one out, where
# equal weights have 0.38 and 0.21: most of the eight hyperparameters hardly matter.
METRIC = {
    "patch32_IRNN64_relu_avg_bs128": (1.0, 0.15, 0.2, 0.7, 0.05, 0.05, 0.05, 0.15),
    "patch32_LSTM128_E128_bs128": (1.0, 0.1, 0.2, 0.4, 0.3, 0.15, 0.05, 0.2),
}
# The same of the two held-out tasks, which nothing else interpolates: R2 0.61 and 0.64, with equal weights 0.23 and 0.31.
HELD_OUT = {
    "patch32_LSTM128_bs128": (1.0, 0.3, 0.5, 0.6, 0.5, 0.1, 0.05, 0.25),
    "patch32_VRNN128_tanh_bs128": (1.0, 0.05, 0.1, 0.35, 0.3, 0.1, 0.15, 0.5),
}


@dataclass(frozen=True, eq=False)
class Table:
    """n training runs of one task: see the notation of the module; diverged (n,) bool."""

    U: np.ndarray
    y: np.ndarray
    diverged: np.ndarray
    metric: np.ndarray


def taskset_space() -> Space:
    """Eight hyperparameters of Adam, all logarithmic."""
    return Space({name: Float(lo, hi, log=True) for name, (lo, hi) in LOGARITHMIC.items()})


@lru_cache
def taskset_table(task: str) -> Table:
    """The last epoch's validation loss of one task of the file."""
    with np.load(data_file(TASKSET)) as file:
        configs = np.array(file["configs"])
        loss = file["loss"][list(file["tasks"]).index(task), :, list(file["split"]).index("valid"), -1].astype(np.float64)
    configs[:, 1:3] = 1 - configs[:, 1:3]  # beta1 and beta2 as their distance from one
    lo, hi = np.log(np.array(list(LOGARITHMIC.values()))).T
    y = np.minimum(np.where(np.isnan(loss), np.inf, loss), WORST)
    return Table((np.log(configs) - lo) / (hi - lo), y, np.isnan(loss), np.array((METRIC | HELD_OUT)[task]))


def _unit(config: Values) -> np.ndarray:
    lo, hi = np.log(np.array(list(LOGARITHMIC.values()))).T
    return np.asarray((np.log([config[name] for name in LOGARITHMIC]) - lo) / (hi - lo))


def _nearest(table: Table, config: Values) -> tuple[np.ndarray, np.ndarray]:
    """Rows (k + 1,) and distances (k + 1,) from the nearest on."""
    distance = np.sqrt((((table.U - _unit(config)) * table.metric) ** 2).sum(axis=1))
    rows = np.argpartition(distance, NEIGHBOURS)[: NEIGHBOURS + 1]
    rows = rows[np.argsort(distance[rows])]
    return rows, distance[rows]


def interpolate(task: str, config: Values) -> float:
    """Modified Shepard interpolation, continuous: weights ((R - r) / (R r))^2 over the 10 nearest runs.

    R is the distance of the eleventh (R. Franke and G. Nielson, 1980). A mean with positive weights that passes through
    the table's rows: its least value is the least of the table, at that row. NaN where the nearest run diverged, which
    is the one place where it jumps.
    """
    table = taskset_table(task)
    rows, distance = _nearest(table, config)
    if table.diverged[rows[0]]:
        return math.nan
    if distance[0] < 1e-9:
        return float(table.y[rows[0]])
    rows, distance, radius = rows[:-1], distance[:-1], distance[-1]
    weight = ((radius - distance) / (radius * distance)) ** 2
    return float(weight @ table.y[rows] / weight.sum())


def taskset_true(task: str, config: Values) -> float:
    """`interpolate`, and WORST where the nearest run diverged."""
    value = interpolate(task, config)
    return WORST if math.isnan(value) else value


def taskset_seen(task: str, config: Values, seed: int) -> float:
    """`interpolate`, whatever the seed: a row is one run, so nothing is known of the noise between runs."""
    return interpolate(task, config)


# --- FCNet: two hidden layers on tabular data -----------------------------------------------------------------------------

FCNET_ORDERED = {  # name in space.json: number of values, smallest first
    "batch_size": 4, "dropout_1": 3, "dropout_2": 3, "init_lr": 6, "n_units_1": 6, "n_units_2": 6,
}  # fmt: skip
FCNET_CHOICES = {"activation_fn_1": ("relu", "tanh"), "activation_fn_2": ("relu", "tanh"), "lr_schedule": ("cosine", "const")}


def fcnet_space() -> Space:
    """Six indices of ordered values and three choices: 62,208 configurations."""
    numbers: dict[str, Parameter] = {name + "_index": Int(0, n - 1) for name, n in FCNET_ORDERED.items()}
    return Space({**numbers, **{name: Categorical(choices) for name, choices in FCNET_CHOICES.items()}})


@lru_cache
def fcnet_file(data: str) -> str:
    return f"tables/fcnet/{data}.npz"


@lru_cache
def fcnet_grid(data: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the axes, and log10 of the validation MSE (..., 4) with one axis a parameter and the repeats last."""
    sizes = json.loads(data_file("tables/fcnet/space.json").read_text("utf-8"))
    names = tuple(sizes["order"])
    with np.load(data_file(fcnet_file(data))) as file:
        grid = np.full([len(sizes["space"][name]) for name in names] + [4], np.nan)
        grid[tuple(file["idx"].T.astype(int))] = np.log10(file["vals"].astype(np.float64))
    return names, grid


def _repeats(data: str, config: Values) -> np.ndarray:
    names, grid = fcnet_grid(data)
    at = [FCNET_CHOICES[name].index(config[name]) if name in FCNET_CHOICES else config[name + "_index"] for name in names]
    return np.asarray(grid[tuple(at)])


def fcnet_true(data: str, config: Values) -> float:
    """Mean over the four repeats of log10 of the final validation MSE."""
    return float(_repeats(data, config).mean())


def fcnet_seen(data: str, config: Values, rng: np.random.Generator) -> float:
    """One of the four repeats."""
    return float(_repeats(data, config)[rng.integers(4)])


# --- the grids of Snoek et al. 2012 ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A complete grid in a csv file: the names of its axes, how many values each has, and the column of the objective."""

    file: str
    axes: tuple[tuple[str, int], ...]
    objective: str

    def space(self) -> Space:
        return Space({name + "_index": Int(0, n - 1) for name, n in self.axes})

    def true(self, config: Values) -> float:
        return float(read_grid(self)[tuple(config[name + "_index"] for name, _ in self.axes)])


LDA = Grid("tables/lda_on_grid.csv", (("kappa", 6), ("tau", 6), ("batch_s", 8)), "perplexity")
LOGREG = Grid("tables/logreg_on_grid.csv", (("lrate_idx", 11), ("l2_reg", 11), ("batchsize", 8), ("n_epochs", 10)),
              "valid_error")  # fmt: skip
SVM = Grid("tables/svm_on_grid.csv", (("C", 25), ("alpha", 14), ("epsilon", 4)), "error")


@lru_cache
def read_grid(grid: Grid) -> np.ndarray:
    """The objective as an array with one axis a parameter, values in ascending order; NaN where the file has no row.

    A point that the file holds twice (one in LDA: perplexities 1523.2 and 1520.1) has the mean of both.
    """
    with data_file(grid.file).open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    values = [sorted({row[name] for row in rows}) for name, _ in grid.axes]
    total, count = np.zeros([len(v) for v in values]), np.zeros([len(v) for v in values])
    for row in rows:
        at = tuple(v.index(row[name]) for v, (name, _) in zip(values, grid.axes, strict=True))
        total[at] += row[grid.objective]
        count[at] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
