"""Thousands of results: which of them should an exact GP be made of, or should it be a sparse one?

    python -m experiments.subsets                 # measures what is missing (half an hour on one core), then prints the table
    python -m experiments.subsets --table         # only prints it, from experiments/results/subsets.jsonl

A search leaves its results crowded around good places: two thirds of the N results are random, one third lies around the
best of them, ever closer. Every way makes a model from them and goes on with the search by log EI; what is shown is

    seconds    fit, posterior and the first proposal, one thread
    near, all  root mean squared error of the mean at 500 fresh points around the best, at 500 random points; in the units
               in which the model was told its targets (Scale): a perfect model has 0
    regret     of the best of the N, and of the best after STEPS proposals. They are made one after the other, each told its
               true value before the next, hyperparameters kept; one proposal alone may explore, and says little of a model

The question is asked of a study that has grown too large for a GP of everything: rows are worth what the next proposals
gain, which is what the regret after them measures; the errors say why. Shown are medians over seeds, and the range.

Ways: all N results; 1000 of them: `kept` (the best half, and as many evenly spaced ones of the others: what the GP sampler
does, hpo/optimizers/gp/fits.py), the best, the latest, random ones; and gpytorch's variational GP with 500 inducing points
(Hensman et al. 2015), which proposes the best of 4000 candidates and is trained five more epochs after every result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.tasks import TASKS, Task
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.markdown import markdown_table
from experiments.ledger.measurement import result
from experiments.ledger.sources import gp_rows
from experiments.subset_models import Exact, Sparse, SubsetModel, rows_near
from hpo.space import Space
from surrogates import standardise
from surrogates.domain import Array
from surrogates.transform import KNEE

RESULTS = Path(__file__).parent / "results" / "subsets.jsonl"
ON, SIZES, SEEDS = ("hartmann6", "levy8", "mixed8"), (3000,), 3
FRESH, STEPS = 500, 5


# -- results -----------------------------------------------------------------------------------------------------------


def search_results(task: Task, n: int, seed: int) -> tuple[Space, Array, Array]:
    """Rows (n, d) and true values (n,) as a search leaves them."""
    space, rng = task.space(), np.random.default_rng(seed)
    X = space.domain.random(rng, 2 * n // 3)
    while len(X) < n:
        y = true_values(task, space, X)
        X = np.concatenate([X, rows_near(space.domain, X[np.argsort(y)[:10]], n // 15, rng)])
    X = X[:n]
    return space, X, true_values(task, space, X)


def true_values(task: Task, space: Space, X: Array) -> Array:
    """(m,) true values."""
    return np.array([task.true(space.decode(row)) for row in X])


class Scale:
    """What the model is told of true values: those of surrogates.standardise for finite targets y (n,), and for any others.

    Beyond the knee c = m + 3 g, with the median m and g = m - (10 % quantile), values are bent; see surrogates/transform.py.
    """

    def __init__(self, y: Array) -> None:
        made, middle = standardise(y), float(np.median(y))
        self.z, self.shift, self.scale = made.z, made.shift, made.scale
        self.spread = middle - float(np.quantile(y, 0.1))
        self.knee = middle + KNEE * self.spread

    def of(self, true: Array) -> Array:
        """(m,) on the scale of z."""
        beyond = np.maximum(true - self.knee, 0.0) / self.spread
        bent = np.where(true > self.knee, self.knee + self.spread * np.log1p(np.log1p(beyond)), true)
        return np.asarray((bent - self.shift) / self.scale)


WAYS = ("all", "kept", "best", "latest", "random", "variational")


# -- measurements ------------------------------------------------------------------------------------------------------


def mean_error(model: SubsetModel, scaled: Scale, rows: Array, true: Array) -> float:
    """Root mean squared error of the mean at rows whose values are true, in units of z."""
    return float(np.sqrt(np.mean((model.mean(rows) - scaled.of(true)) ** 2)))


def measure_subset(name: str, n: int, way: str, seed: int) -> dict[str, Any]:
    """One model, and STEPS proposals of it."""
    task = TASKS[name]
    space, X, y = search_results(task, n, seed)
    scaled, domain, taken = Scale(y), space.domain, set(space.domain.keys(X))
    begun = time.process_time()
    model: SubsetModel = Sparse(domain, X, scaled.z, seed) if way == "variational" else Exact(way, domain, X, scaled.z, seed)
    row, seconds = model.propose(taken), time.process_time() - begun
    rng = np.random.default_rng(seed + 1000)
    places = rows_near(domain, X[np.argsort(y)[:10]], FRESH, rng), domain.random(rng, FRESH)
    near, far = (mean_error(model, scaled, rows, true_values(task, space, rows)) for rows in places)
    found = []
    for step in range(1, STEPS + 1):
        found.append(float(true_values(task, space, row[None])[0]))
        if step < STEPS:
            taken |= set(domain.keys(row[None]))
            model.tell(row, float(scaled.of(np.array(found[-1:]))[0]))
            row = model.propose(taken)
    about = {package: version(package) for package in ("numpy", "scipy", "gpytorch", "torch")}
    return {"seconds": round(seconds, 3), "near": near, "all": far, "before": float(y.min()) - task.best,
            "after": min(*found, float(y.min())) - task.best, "proposed": [value - task.best for value in found],
            "versions": about}  # fmt: skip


def subsets_measurements() -> Iterator[Measurement]:
    """Of every task, size, way and seed; what costs most comes last."""
    every = [(name, n, way, seed) for seed in range(SEEDS) for name in ON for n in SIZES for way in WAYS]
    for name, n, way, seed in sorted(every, key=lambda key: key[2] == "variational"):
        key = {"task": name, "n": n, "way": way, "seed": seed}
        run = partial(measure_subset, name, n, way, seed)
        sources = ("experiments.subsets:measure_subset", gp_rows()["kernel"])
        yield Measurement(key, run, sources, TASKS[name].digest, f"{name} {way}")


def values_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """What must come out the same again."""
    return {name: value for name, value in result(line).items() if name not in ("seconds", "versions")}


def subsets_table(ledger: Ledger) -> str:
    """Medians over seeds, and the range of the regrets after the proposals."""
    head = ["task", "n", "way", "seeds", "seconds", "error near the best", "error everywhere", "regret before",
            f"after {STEPS} proposals [range]"]  # fmt: skip
    rows, lines = [], list(ledger.latest().values())
    for name, n, way in [(name, n, way) for name in ON for n in SIZES for way in WAYS]:
        if mine := [line for line in lines if (line["task"], line["n"], line["way"]) == (name, n, way)]:
            cells = [f"{np.median([line[what] for line in mine]):.3g}" for what in ("seconds", "near", "all", "before", "after")]
            after = [line["after"] for line in mine]
            rows.append([name, n, way, len(mine), *cells[:-1], f"{cells[-1]} [{min(after):.2g}, {max(after):.2g}]"])
    return markdown_table(head, rows)


def open_subsets(path: Path) -> Ledger:
    """The ledger of this experiment."""
    return Ledger(path, list(subsets_measurements()), values_of)


app = command(__doc__, RESULTS, open_subsets, subsets_table)

if __name__ == "__main__":
    app()
