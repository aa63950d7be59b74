"""The hyperparameters that are searched, and the defaults: those of the guide, under the names of TrainingArguments.

The space is transformers' own default space, extended by the optimizer. The model from scratch has learning rates a hundred
times as high and twice as many epochs: it has nothing to forget, and everything to learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo import Categorical, Float, Int, Space

BATCH = "per_device_train_batch_size"
BATCHES = (4, 8, 16, 32, 64)
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class SearchSpace:
    """Ranges, as ours and as Optuna's; the names of its two optimizers are those of the library that trains."""

    rates: tuple[float, float]
    epochs: tuple[int, int]
    optimizers: tuple[str, str]
    default: Mapping[str, Any]

    def ours(self) -> Space:
        return Space({
            "learning_rate": Float(*self.rates, log=True), "num_train_epochs": Int(*self.epochs), "seed": Int(1, 40),
            BATCH: Categorical(BATCHES), "optim": Categorical(self.optimizers),
        })  # fmt: skip

    def suggest_all(self, trial: Any) -> dict[str, Any]:
        """A configuration from a trial of Optuna."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", *self.rates, log=True),
            "num_train_epochs": trial.suggest_int("num_train_epochs", *self.epochs),
            "seed": trial.suggest_int("seed", 1, 40),
            BATCH: trial.suggest_categorical(BATCH, BATCHES),
            "optim": trial.suggest_categorical("optim", self.optimizers),
        }

    def default_of(self, seed: int) -> dict[str, Any]:
        """The default configuration with a seed."""
        return {**self.default, "seed": seed}


def whole_steps(config: Mapping[str, Any], texts: int) -> int:
    """Optimizer steps of a whole training on so many texts: the last batch of an epoch may be smaller."""
    return -(-texts // int(config[BATCH])) * int(config["num_train_epochs"])


def most_steps(space: SearchSpace, texts: int) -> int:
    """Those of the longest training in a space."""
    return whole_steps({BATCH: min(BATCHES), "num_train_epochs": space.epochs[1]}, texts)


PRETRAINED = SearchSpace(
    (1e-6, 1e-4), (1, 5), ("sgd", "adamw_torch_fused"),
    {"learning_rate": 2e-5, "num_train_epochs": 3, BATCH: 64, "optim": "adamw_torch_fused"},
)  # fmt: skip
SCRATCH = SearchSpace(
    (1e-4, 1e-2), (1, 10), ("sgd", "adamw"),
    {"learning_rate": 2e-3, "num_train_epochs": 6, BATCH: 64, "optim": "adamw"},
)  # fmt: skip
