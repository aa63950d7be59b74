"""The trial to which a checkpoint belongs: a digest of configuration and seed. Imports no torch.

The state that judges hyperparameters (early stopping, guards, the noise scale, a learned rate, a divergence) belongs to the trial
with these hyperparameters. So a checkpoint names its trial, and a run of another trial leaves this state out (`TrainRun.adopt`).
"""

import hashlib
import json
from dataclasses import fields
from typing import Any

from models.config import GPTConfig, TrainConfig

# How a training is carried out, and on how much text it is judged. The same trial may go on with other values of these: its
# weights are the same up to rounding.
MEANS = ("micro_batch", "activation_checkpointing", "sharding", "offload", "eval_tokens", "save_every", "keep")


def owner(size: GPTConfig, training: TrainConfig, seed: int) -> str:
    """The digest of a trial. Names with their defaults are left out, so that a name that is added later changes no digest."""
    said = [*_said(size), *_said(training), ["seed", seed]]
    return hashlib.blake2b(json.dumps(sorted(said)).encode(), digest_size=8).hexdigest()


def _said(config: GPTConfig | TrainConfig) -> list[list[Any]]:
    found = ((field.name, getattr(config, field.name), field.default) for field in fields(config))
    return [[name, value] for name, value, default in found if name not in MEANS and value != default]
