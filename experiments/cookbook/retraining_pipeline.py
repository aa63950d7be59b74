"""Tuning as a step of a retraining pipeline (guide B, 8): whenever data have arrived, `retrain` runs again.

Its second run begins with the configurations that did best in the first, on all of the text where the first had a third. Beside
the default, and the same search without what the first found.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT
from experiments.cookbook.text import load_stream

STEPS = 2000  # of the guide's
RANGES = {"lr": (1e-5, 1e-1, "log"), "batch_size": [8, 16, 32], "weight_decay": (0.0, 0.2)}


def train_on(share: float, scale: Reduction, config: Mapping[str, Any]) -> float:
    """The loss of the default's shape with other hyperparameters, trained on the first part of the text."""
    arrived = replace(load_stream(), train=load_stream().train[: int(share * len(load_stream().train))])
    return advance_training(start_training({**DEFAULT, **config}, scale, STEPS, arrived), scale, STEPS)


def retrain(share: float, folder: Path, scale: Reduction) -> hpo.Study:
    """A step of the pipeline: a search on what has arrived, which remembers the one before. Its log stays in the folder."""
    older = max(folder.glob("*.db"), default=None, key=lambda path: path.stat().st_mtime_ns)
    log = folder / f"{round(100 * share)}-percent.db"
    train, jobs = partial(train_on, share, scale), scale.count_trials(9)
    return hpo.Tuner(train, {"name": "loss"}, RANGES, max_jobs=jobs, max_parallel_jobs=1, warm_start=older, log=log).fit()


def retraining_pipeline(scale: Reduction) -> Outcome:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as empty:
        first = retrain(1 / 3, Path(folder), scale).best
        again = retrain(1.0, Path(folder), scale)
        cold = retrain(1.0, Path(empty), scale).best
    beside = {"default": train_on(1.0, scale, {}), "without the first search": cold.value}
    facts = {"first search": f"{first.value:.4f}", "began with": format_config(again.trial((0, 1)).config),
             "best": format_config(again.best.config)}  # fmt: skip
    return Outcome("loss", again.best.value, beside, facts=facts)
