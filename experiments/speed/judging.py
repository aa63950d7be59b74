"""What all loops share: the options that everybody trains with, the loss that everybody is judged by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.speed.sizes import TRAINING
from models.config import TrainConfig
from models.data.batches import sequences, validation_starts

JUDGED = 64 * 1024  # validation tokens
CONFIG = TrainConfig(**TRAINING)


@torch.no_grad()
def validation_loss(logits: Callable[[Tensor], Tensor], corpus: Any, context: int, device: torch.device) -> float:
    """Nats per token over the validation sequences on which ours is judged as well."""
    starts = validation_starts(len(corpus.valid), context, JUDGED)
    every = torch.from_numpy(sequences(corpus.valid, starts, context)).to(device)
    total = sum(
        F.cross_entropy(logits(ids).flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum").double().item()
        for ids in every.split(max(1, 4096 // context))
    )
    return total / (every.size(0) * context)


def count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
