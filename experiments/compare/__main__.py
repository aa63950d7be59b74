"""The command: `python -m experiments.compare`, every method on one-minute studies of the main job.

    python -m experiments.compare                     # runs what is missing, two studies at a time, then prints the table
    python -m experiments.compare --table             # only prints the table, from experiments/results/compare.jsonl

A study's minute holds everything that it costs. What is compared is the checkpoint that the study would hand over at the end
(its best), measured anew on 65,536 tokens of the validation text, where the search itself had looked at 8,192. Every search
starts from the default configuration as its first trial, as `experiments.tune` does (the grid has it as its first point). The
default configuration is trained once to the horizon, however long that takes. What a minute holds depends on the machine: such
lines do not come out the same again, so that older ones stay older until they are measured anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from experiments.compare.study import METHODS
from experiments.compare.table import compare_table
from experiments.job import GPTObjective
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.children import run_python
from experiments.ledger.sources import STUDY, gp_rows, training_rows

RESULTS = Path(__file__).resolve().parents[1] / "results" / "compare.jsonl"
SEEDS = 10
STUDIES = 2  # side by side


def spawn_study(name: str, seed: int) -> dict[str, Any]:
    """One study in a process of its own. RuntimeError with what it said if it failed."""
    GPTObjective().warm()  # tokenise once, outside everybody's minute
    return run_python("-m", "experiments.compare.study", name, str(seed))  # type: ignore[no-any-return]


def compare_measurements() -> Iterator[Measurement]:
    """Seed by seed, so that whatever disturbs the machine disturbs every method."""
    for seed in range(SEEDS):
        for name in METHODS:
            study = ("experiments.compare.study:study_minute", f"experiments.compare.study:METHODS[{name}]")
            sources = (*study, *STUDY, *gp_rows().values(), *training_rows("adamw", "sgd"))
            yield Measurement({"method": name, "seed": seed}, partial(spawn_study, name, seed), sources, group=name)


def open_compare(path: Path) -> Ledger:
    """The ledger of this experiment."""
    return Ledger(path, list(compare_measurements()))


def compare_report(ledger: Ledger) -> str:
    return compare_table(list(ledger.latest().values()), METHODS)


app = command(__doc__, RESULTS, open_compare, compare_report, threads=STUDIES)

if __name__ == "__main__":
    app()
