"""A tuner in the words of managed services, over a training script that prints its test loss (guide B, 2).

The script is digits.py, and stays as it is. Nine jobs, three at once, the ranges of the usual example: rates from 0.001 to 0.1,
batch sizes from 32 to 512. Beside the script's own defaults.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import hpo
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction

SCRIPT = Path(__file__).with_name("digits.py")
EPOCHS = 8
OBJECTIVE = {"name": "average test loss", "regex": r"Test set: Average loss: ([0-9.]+)", "type": "Minimize"}
RANGES = {"lr": (0.001, 0.1), "batch-size": [32, 64, 128, 256, 512]}


def managed_tuner(scale: Reduction) -> Outcome:
    words = [sys.executable, str(SCRIPT), f"--epochs={EPOCHS}"]
    with tempfile.TemporaryDirectory() as folder:
        tuner = hpo.Tuner(
            [*words, "{flags}"], OBJECTIVE, RANGES, strategy="Bayesian", max_jobs=scale.count_trials(9), max_parallel_jobs=3,
            early_stopping="Auto", max_resource=EPOCHS, folder=folder, seed=scale.seed,
        )  # fmt: skip
        tuner.fit()
        alone = {"lr": [0.01], "batch-size": [64]}
        default = hpo.Tuner([*words, "{flags}"], OBJECTIVE, alone, "Grid", 1, folder=f"{folder}/default", quiet=True)
        default.fit()
    jobs = tuner.dataframe()
    worst, seconds = jobs[OBJECTIVE["name"]].max(), jobs["seconds"].sum()
    facts = {"jobs": jobs["status"].value_counts().to_dict(), "best": format_config(tuner.best().config),
             "worst": f"{worst:.4f}", "seconds of all jobs": f"{seconds:.0f}"}  # fmt: skip
    return Outcome(OBJECTIVE["name"], tuner.best().value, {"default": default.best().value}, facts=facts)
