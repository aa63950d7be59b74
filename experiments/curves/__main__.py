"""The command: `python -m experiments.curves`. Measures what is missing, stores it, and prints the tables.

    python -m experiments.curves                  # searches first, then predictions; half an hour on one core
    python -m experiments.curves --seconds 600    # begins nothing after ten minutes
    python -m experiments.curves --table          # only prints, from experiments/results/curves.jsonl
    python -m experiments.curves --recheck        # measures one of each again; if it is the same, older lines count again

A search or a prediction is found again by part ("online", "offline"), source (a task of TaskSet, or the language models), seed,
n (epochs of the search, or results that the model is told) and name (one of METHODS or MODELS).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from experiments.benchmark.tables import TASKSET
from experiments.curves.data import TASKSET_NAMES, WEIGHTS, has_taskset
from experiments.curves.offline import LANGUAGE_MODELS, MODELS, measure_predictions
from experiments.curves.online import METHODS, SPENT, measure_search
from experiments.curves.tables import curves_tables
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.command import progress
from experiments.ledger.sources import STUDY, gp_rows

RESULTS = Path(__file__).resolve().parents[1] / "results" / "curves.jsonl"
SEEDS, DRAWS = 8, 10
SIZES, FEW = (40, 80, 160), (20, 30, 40)  # results offline; of the 40 language models
PARTS: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, str]]] = {
    "online": (measure_search, ("experiments.curves.online:measure_search", "experiments.curves.online:METHODS")),
    "offline": (measure_predictions, ("experiments.curves.offline:measure_predictions", "experiments.curves.offline:MODELS")),
}


def curves_measurement(part: str, source: str, seed: int, n: int, name: str) -> Measurement:
    """One search or one prediction."""
    run, (function, table) = PARTS[part]
    key = {"part": part, "source": source, "seed": seed, "n": n, "name": name}
    group = f"{part} {source} {name}"
    sources = (function, f"{table}[{name}]", *STUDY, *gp_rows().values())
    return Measurement(key, lambda: run(source, seed, n, name), sources, group=group)


def curves_measurements() -> Iterator[Measurement]:
    """All of them, in an order in which an interrupted run is of use."""
    for seed, task, method in itertools.product(range(SEEDS), WEIGHTS, METHODS):
        yield curves_measurement("online", task, seed, SPENT, method)
    for draw in range(3 * DRAWS):  # there are few language models, and they cost little
        some = [*((task, SIZES) for task in TASKSET_NAMES if draw < DRAWS), (LANGUAGE_MODELS, FEW)]
        for source, sizes in some:
            yield from (curves_measurement("offline", source, draw, n, model) for n in sizes for model in MODELS)


def is_here(one: Measurement) -> bool:
    """Whether the curves of a measurement are on this machine."""
    return one.key["source"] == LANGUAGE_MODELS or has_taskset()


def open_curves(path: Path) -> Ledger:
    """The ledger, and one sentence for what cannot be measured here."""
    if not has_taskset():
        progress(f"TaskSet's curves are not measured: they need {TASKSET} below the folder of shared data (HPO_DATA)")
    return Ledger(path, list(curves_measurements()), can_measure=is_here)


app = command(__doc__, RESULTS, open_curves, lambda ledger: curves_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
