"""On a CUDA device: the bytes that are predicted are those that torch allocates at most."""

from typing import Any

import pytest
import torch

from models.calibrate.steps import measure_in_child
from models.predict.memory import fits_memory, memory
from tests.cuda.device import one_device

pytestmark = one_device
# Large enough that the workspaces of libraries, which are no part of the formula, do not matter.
LARGE: dict[str, Any] = {
    "layers": 6, "hidden": 512, "heads": 8, "vocabulary": 2048, "context": 512, "batch": 32, "eval_tokens": 4096,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bf16": {"precision": "bf16"},
    "again": {"activation_checkpointing": True, "batch": 64},
    "bf16, again": {"precision": "bf16", "activation_checkpointing": True, "batch": 64},
    "50k words": {"vocabulary": 50257, "batch": 8, "precision": "bf16"},
    "modern": {"norm": "rms", "qk_norm": True, "positions": "rotary", "activation": "swiglu", "kv_heads": 2, "precision": "bf16"},
    "muon, dropout, averages": {"optimizer": "muon", "dropout": 0.1, "ema": 0.99, "noise_every": 1},
    "untied, adafactor, micro-batches": {"optimizer": "adafactor", "tie": False, "micro_batch": 8},
}


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_within_a_quarter(kind: str) -> None:
    config = {**LARGE, **KINDS[kind]}
    real = measure_in_child(config, "cuda", 1, repeats=3).peak
    assert memory(config, device="cuda").peak == pytest.approx(real, rel=0.25)


def test_what_does_not_fit_is_refused_before_it_runs() -> None:
    total = torch.cuda.get_device_properties(0).total_memory

    class Device:
        kind, available, kernels = "cuda", total, False

    assert fits_memory(LARGE, Device())
    assert not fits_memory({**LARGE, "hidden": 8192, "layers": 64}, Device())
