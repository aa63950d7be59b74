"""What the tests on a CUDA device share: why they are skipped elsewhere, and runs that are large enough to be told apart."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from models.train import TrainRun
from tests.models.tiny import CORPUS, STEP, TINY

HORIZON = 60 * STEP
COUNT = torch.cuda.device_count() if torch.cuda.is_available() else 0
one_device = pytest.mark.skipif(COUNT < 1, reason="needs a CUDA device, and this machine has none")
two_devices = pytest.mark.skipif(COUNT < 2, reason=f"needs two CUDA devices, and this machine has {COUNT}")

# Of every kind of option one, so that a config more tells something new.
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "micro-batches, lion": {"optimizer": "lion", "lr": 1e-3, "micro_batch": 2},
    "modern, muon": {
        "positions": "rotary", "norm": "rms", "activation": "swiglu", "optimizer": "muon", "qk_norm": True, "kv_heads": 1,
    },
    "bf16, adafactor": {"precision": "bf16", "optimizer": "adafactor", "z_loss": 1e-4},
    "bf16, modern": {"precision": "bf16", "norm": "rms", "qk_norm": True, "positions": "rotary"},
    "fp16": {"precision": "fp16", "optimizer": "sgd", "lr": 0.1},
    "measured": {"ema": 0.9, "noise_every": 2, "hypergradient": 0.02, "spike": 20.0},
    "again": {"activation_checkpointing": True, "layers": 2},
    "heads of one feature": {"hidden": 8, "heads": 8, "bias": True},
}  # fmt: skip
DROPOUT: Mapping[str, Any] = {"dropout": 0.2, "attention_dropout": 0.1, "layer_dropout": 0.1}


def make(config: Mapping[str, Any], engine: str = "eager", device: str = "cuda", seed: int = 0) -> TrainRun:
    return TrainRun({**TINY, **config}, seed, HORIZON, CORPUS, device=device, engine=engine)


def loss_of(config: Mapping[str, Any], engine: str = "eager", device: str = "cuda", seed: int = 0, until: int = 60) -> float:
    return make(config, engine, device, seed).advance(until * STEP)[0]["loss"]
