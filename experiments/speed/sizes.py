"""What is trained: shapes by name, the same for every contender, and the text. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.data.batches import Corpus


@dataclass(frozen=True)
class Size:
    """A shape: `batch` sequences of `context` tokens a step, cut into micro-batches of `micro`."""

    layers: int
    hidden: int
    heads: int
    context: int
    batch: int
    micro: int | None = None
    vocabulary: int | None = None  # None: that of the text

    def config(self) -> dict[str, Any]:
        """In the names of `models`."""
        sizes = {"layers": self.layers, "hidden": self.hidden, "heads": self.heads, "context": self.context}
        return {**sizes, "batch": self.batch, "micro_batch": self.micro, "vocabulary": self.vocabulary}


CPU: Mapping[str, Size] = {
    "30k": Size(2, 32, 2, 32, 16),
    "1M": Size(4, 144, 4, 64, 16),
    "10M": Size(6, 384, 6, 256, 4),  # nanoGPT's character model, at a sixteenth of its batch
}
CUDA: Mapping[str, Size] = {
    "1M": Size(4, 144, 4, 256, 64),
    "10M": Size(6, 384, 6, 256, 64),
    "124M": Size(12, 768, 12, 1024, 64, 32, 50304),
    "350M": Size(24, 1024, 16, 1024, 32, 16, 50304),
}
# What everybody trains with.
TRAINING: Mapping[str, Any] = {
    "optimizer": "adamw", "lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0,
    "warmup": 20, "schedule": "cosine", "final_lr": 0.1,
}  # fmt: skip
STEPS = 400  # of the schedule; the loss is compared after STEPS_JUDGED
PEAKS: Mapping[str, float] = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16 FLOPs a second, data sheets


def text() -> Corpus:
    """Character Shakespeare: the corpus of published results where it is at hand, else the complete works."""
    from models.data.batches import load_corpus

    shared = Path(os.environ.get("HPO_DATA", "../shared/data")) / "corpora" / "tinyshakespeare.txt"
    return load_corpus(str(shared) if shared.is_file() else "shakespeare")


def peak_flops(device_name: str) -> float | None:
    """FLOPs a second of a device in bf16; None for one that is not known."""
    return next((flops for name, flops in PEAKS.items() if name in device_name), None)
