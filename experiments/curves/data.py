"""Learning curves: TaskSet's, and those of the main job's language models.

TaskSet's are interpolated between configurations as single losses are in experiments/benchmark/tables.py. Those of the
language models are a table (experiments/rungs.py), of which only the rows themselves can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.tables import LOGARITHMIC, METRIC, NEIGHBOURS, TASKSET, WORST, data_file
from experiments.ledger import read_lines
from hpo.job import Key
from hpo.space import Categorical, Float, Int, Space
from surrogates import Domain

EPOCHS = 50
RUNGS = (2, 6, 18, EPOCHS)  # epochs
TASKSET_NAMES = (
    "patch128_LSTM128_avg_bs64", "patch128_LSTM128_bs64", "patch32_GRU64_avg_bs128", "patch32_IRNN64_relu_avg_bs128",
    "patch32_LSTM128_E128_bs128", "patch32_LSTM128_bs128", "patch32_VRNN128_tanh_bs128", "patch32_VRNN64_relu_avg_bs128",
)  # fmt: skip
TRAININGS = Path(__file__).resolve().parents[1] / "results" / "rungs.jsonl"
# How much each hyperparameter counts in a distance, for the tasks on which it is searched. Two are the benchmark's; the
# others by the same coordinate descent: R2 left one out 0.60, 0.72, 0.73 and 0.86.
WEIGHTS = METRIC | {
    "patch128_LSTM128_avg_bs64": (1.0, 0.15, 0.1, 0.4, 0.2, 0.3, 0.05, 0.1),
    "patch128_LSTM128_bs64": (0.7, 0.05, 0.5, 0.4, 0.2, 0.05, 0.05, 0.2),
    "patch32_GRU64_avg_bs128": (1.0, 0.1, 0.3, 0.3, 0.15, 0.15, 0.05, 0.15),
    "patch32_VRNN64_relu_avg_bs128": (0.7, 0.1, 0.05, 0.7, 0.2, 0.05, 0.05, 0.1),
}


@dataclass(frozen=True, eq=False)
class Curves:
    """Configurations in the unit cube U (n, 8), and losses (n, epochs + 1), infinite from where they diverged.

    weights (8,) are those of a distance; None where nothing is interpolated.
    """

    U: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    weights: np.ndarray | None

    def at(self, config: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Validation and test losses (epochs + 1,) of any configuration; infinite from where the nearest one diverged."""
        if self.weights is None:
            raise ValueError("this task has no weights of a distance, so nothing lies between its configurations")
        x = to_unit_cube(np.array([[config[name] for name in LOGARITHMIC]]))
        distance = np.sqrt((((self.U - x) * self.weights) ** 2).sum(axis=1))
        rows = np.argsort(distance, kind="stable")[: NEIGHBOURS + 1]
        near, radius = np.maximum(distance[rows[:-1]], 1e-12), distance[rows[-1]]
        share = ((radius - near) / (radius * near)) ** 2
        share /= share.sum()
        dead = np.isinf(self.valid[rows[0]])
        valid, test = (np.where(dead, np.inf, share @ np.minimum(of[rows[:-1]], WORST)) for of in (self.valid, self.test))
        return valid, test

    @property
    def scale(self) -> tuple[float, float]:
        """The least and the median of the last validation losses: what regrets are measured by."""
        last = np.minimum(self.valid[:, -1], WORST)
        return float(last.min()), float(np.median(last))


def to_unit_cube(configs: np.ndarray) -> np.ndarray:
    """(n, 8) positions of configurations in the unit cube."""
    low, high = np.log(np.array(list(LOGARITHMIC.values()))).T
    return np.asarray((np.log(configs) - low) / (high - low))


def has_taskset() -> bool:
    """Whether TaskSet's file is there."""
    return data_file(TASKSET).exists()


@lru_cache
def curves_of(task: str) -> Curves:
    """One task of TaskSet's file."""
    with np.load(data_file(TASKSET)) as file:
        configs, of = np.array(file["configs"]), file["loss"][list(file["tasks"]).index(task)].astype(float)
        valid, test = (of[:, list(file["split"]).index(split)] for split in ("valid", "test"))
    configs[:, 1:3] = 1.0 - configs[:, 1:3]  # beta1 and beta2 as their distance from one
    valid, test = (np.where(np.isfinite(loss), loss, np.inf) for loss in (valid, test))
    return Curves(to_unit_cube(configs), valid, test, np.array(WEIGHTS[task]) if task in WEIGHTS else None)


def language_models() -> tuple[Domain, np.ndarray, np.ndarray, tuple[int, ...]]:
    """The language models: the domain of their space, their rows, their losses (40, rungs), and the rungs in tokens.

    They are those that were measured first: lines that came later may be of another space.
    """
    first: dict[Key, dict[str, Any]] = {}
    for line in read_lines(TRAININGS):
        first.setdefault((line["trial"], line["until"]), line)
    rungs = tuple(sorted({until for _, until in first}))
    configs = {trial: line["config"] for (trial, _), line in first.items()}
    rates = [config["lr"] for config in configs.values()]
    space = Space(
        layers=Int(1, 4), hidden=Int(32, 96, step=16), heads=Categorical([1, 2, 4, 8]), ff_ratio=Int(1, 4),
        batch=Int(2, 32, log=True), optimizer=Categorical(["adamw", "sgd"]), beta2=Float(0.9, 0.999, when={"optimizer": "adamw"}),
        momentum=Float(0.0, 0.98, when={"optimizer": "sgd"}), warmup=Float(0.0, 0.2), weight_decay=Float(1e-3, 1.0, log=True),
        schedule=Categorical(["cosine", "linear", "constant", "exponential", "wsd"]), dropout=Float(0.0, 0.3),
        label_smoothing=Float(0.0, 0.1), lr=Float(min(rates), max(rates), log=True),
    )  # fmt: skip
    y = np.array([[first[trial, until]["loss"] for until in rungs] for trial in sorted(configs)])
    return space.domain, np.array([space.encode(configs[trial]) for trial in sorted(configs)]), y, rungs
