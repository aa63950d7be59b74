"""What guide A searches: four numbers of a shape, and nine hyperparameters, as ranges and as `trial.suggest_*`.

A hidden width that the heads do not divide cannot be built. A space leaves it out by a constraint; an objective with a trial of
Optuna's raises TrialPruned, as it would there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna import TrialPruned

import hpo

SHAPES: dict[str, list[int]] = {
    "layers": [6, 12, 24], "hidden": [512, 768, 1024], "heads": [8, 12, 16], "ff": [2048, 3072, 4096],
}  # fmt: skip
NINE: dict[str, Any] = {
    **SHAPES, "lr": (1e-5, 1e-3, "log"), "batch_size": [8, 16, 32], "epochs": hpo.Int(2, 5), "warmup_steps": hpo.Int(100, 1000),
    "weight_decay": (0.0, 0.2),
}  # fmt: skip
# GPT-2's shape, and what the Trainer takes for the other five where nothing is said.
DEFAULT: dict[str, Any] = {
    "layers": 12, "hidden": 768, "heads": 12, "ff": 3072, "lr": 5e-5, "batch_size": 8, "epochs": 3, "warmup_steps": 0,
    "weight_decay": 0.0,
}  # fmt: skip


def has_whole_heads(config: Mapping[str, Any]) -> bool:
    """Heads share the hidden width evenly: 63 of the 81 shapes."""
    return bool(config["hidden"] % config["heads"] == 0)


def build_space(ranges: Mapping[str, Any], seed: int) -> hpo.Space:
    """A space of such hyperparameters, only with shapes that can be built; all trainings have the same seed."""
    return hpo.Space({**hpo.Space.of(ranges).parameters, "seed": hpo.Const(seed)}, constraints=[has_whole_heads])


def suggest_shape(trial: Any) -> dict[str, Any]:
    """The shape, with any number of layers. Raises TrialPruned where it cannot be built."""
    shape = {"layers": trial.suggest_int("layers", 6, 24)}
    shape |= {name: trial.suggest_categorical(name, SHAPES[name]) for name in ("hidden", "heads", "ff")}
    if not has_whole_heads(shape):
        raise TrialPruned
    return shape


def suggest_training(trial: Any) -> dict[str, Any]:
    """Rate, batch size, warm-up and weight decay."""
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1e-3, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [8, 16, 32]),
        "warmup_steps": trial.suggest_int("warmup_steps", 100, 1000),
        "weight_decay": trial.suggest_float("weight_decay", 0.0, 0.2),
    }
