"""Resume and clone, bit for bit, for every optimizer with every schedule in every precision; and all laws for some."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from models.optimizers import OPTIMIZERS
from models.schedule import SHAPES
from models.train import TrainRun
from tests.models.laws import RunLaws, state, timeless
from tests.models.tiny import STEP, make

torch.set_num_threads(1)

PRECISIONS = ("float32", "bf16", "fp16")
EVERY = list(product(OPTIMIZERS, SHAPES, PRECISIONS))


@pytest.mark.parametrize(("optimizer", "schedule", "precision"), EVERY)
def test_resume_is_bit_for_bit_and_a_clone_uses_its_own_rate(
    optimizer: str, schedule: str, precision: str, tmp_path: Path
) -> None:
    config = {"optimizer": optimizer, "schedule": schedule, "precision": precision, "dropout": 0.1}
    whole, first, second = (make(config) for _ in range(3))
    expected = whole.advance(24 * STEP)
    first.advance(11 * STEP)
    first.save(tmp_path / "half")
    second.load(tmp_path / "half")
    assert timeless(second.advance(24 * STEP))[0] == timeless(expected)[0]
    assert state(second, tmp_path) == state(whole, tmp_path)
    clone, hand = make({**config, "lr": 1e-3}), make({**config, "lr": 1e-3})
    clone.load(tmp_path / "half")
    clone.advance(24 * STEP)
    assert state(clone, tmp_path) != state(whole, tmp_path)
    hand.load(tmp_path / "half")
    for until in (12, 17, 24):
        hand.advance(until * STEP)
    assert state(clone, tmp_path) == state(hand, tmp_path)


class OfTrainRun(RunLaws):
    overrides: Mapping[str, Any] = {}
    horizon, half = 60 * STEP, 20 * STEP + 7

    def make(self, overrides: Mapping[str, Any]) -> TrainRun:
        return make({**self.overrides, **overrides}, 3, self.horizon)


class TestLion(OfTrainRun):
    overrides = {"optimizer": "lion", "activation": "relu2"}


class TestMuonModern(OfTrainRun):
    overrides = {
        "optimizer": "muon", "positions": "rotary", "norm": "rms", "activation": "swiglu", "kv_heads": 1, "qk_norm": True,
        "parametrisation": "mup", "base_hidden": 8,
    }  # fmt: skip


class TestAdafactor(OfTrainRun):
    overrides = {"optimizer": "adafactor", "layer_dropout": 0.2, "embedding_dropout": 0.1, "z_loss": 1e-3}


class TestEverythingRemembered(OfTrainRun):
    """Averages, policies, measurements and a learned rate: all that a checkpoint has to hold besides moments."""

    overrides = {
        "ema": 0.9, "spike": 3.0, "hypergradient": 0.02, "noise_every": 3, "eval_every": 5, "patience": 50,
        "nesterov": True, "optimizer": "sgd", "data_fraction": 0.5, "micro_batch": 2,
    }  # fmt: skip


class TestNonfiniteSkipped(OfTrainRun):
    overrides = {"nonfinite": "skip", "precision": "fp16", "ema": 0.5}
    diverging = {"lr": 1e30, "clip": 0.0, "warmup": 0}
