"""Whose a checkpoint is: a configuration and a seed, told apart by a digest. Imports no torch.

What judges hyperparameters (early stopping, guards, the noise scale, a learned rate, a divergence) belongs to the trial whose
hyperparameters they are. So a checkpoint says whose it is, and a run that is another's takes over the weights alone.
"""

import hashlib
import json
from dataclasses import fields
from typing import Any

from models.config import GPTConfig, TrainConfig

# How a training is carried out, and on how much text it is judged. The same trial may go on by another of them: its weights
# are the same up to rounding.
MEANS = ("micro_batch", "activation_checkpointing", "sharding", "offload", "eval_tokens")


def owner(size: GPTConfig, training: TrainConfig, seed: int) -> str:
    """The digest of a trial. Names at their defaults are not in it, so that a name that is added later changes none."""
    said = [*_said(size), *_said(training), ["seed", seed]]
    return hashlib.blake2b(json.dumps(sorted(said)).encode(), digest_size=8).hexdigest()


def _said(config: GPTConfig | TrainConfig) -> list[list[Any]]:
    found = ((field.name, getattr(config, field.name), field.default) for field in fields(config))
    return [[name, value] for name, value, default in found if name not in MEANS and value != default]
