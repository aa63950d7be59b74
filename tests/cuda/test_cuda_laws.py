"""On a CUDA device: what resumes goes on as if it had not paused, and what is cloned is not judged by its donor.

Sums on a device are in no fixed order, so that equal means up to rounding, not bit for bit.
"""

from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.optimizers.rows import OPTIMIZERS
from tests.cuda.device import make, one_device
from tests.models.tiny import STEP

pytestmark = one_device
EVERY = [(optimizer, engine) for optimizer in OPTIMIZERS for engine in ("eager", "graph")]


@pytest.mark.parametrize(("optimizer", "engine"), EVERY)
@pytest.mark.parametrize("more", [{}, {"precision": "bf16"}, {"precision": "fp16", "ema": 0.9}])
def test_a_run_that_paused_goes_on(optimizer: str, engine: str, more: dict[str, Any], tmp_path: Path) -> None:
    config = {"optimizer": optimizer, "lr": 1e-3, **more}
    whole, first, second = (make(config, engine) for _ in range(3))
    expected = whole.advance(24 * STEP)[0]
    first.advance(11 * STEP)
    first.save(tmp_path / "half")
    second.advance(2 * STEP)  # a graph that has been recorded is to go on with what is loaded
    second.load(tmp_path / "half")
    found = second.advance(24 * STEP)[0]
    assert found["steps"] == 24 and found["loss"] == pytest.approx(expected["loss"], rel=2e-3)
    torch.testing.assert_close(second.flat.weights, whole.flat.weights, rtol=1e-2, atol=5e-3)
    assert second.optimizer.updates.item() == whole.optimizer.updates.item()


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_checkpoint_goes_from_one_kind_of_device_to_the_other(engine: str, tmp_path: Path) -> None:
    donor = make({}, engine)
    donor.advance(10 * STEP)
    donor.save(tmp_path / "there")
    here = make({}, device="cpu")
    here.load(tmp_path / "there")
    here.save(tmp_path / "back")
    there, back = (checkpoint.read(tmp_path / name) for name in ("there", "back"))
    assert there.position == back.position
    assert all((there.weights[name] == back.weights[name]).all() for name in there.weights)
    assert here.advance(20 * STEP)[0]["loss"] == pytest.approx(donor.advance(20 * STEP)[0]["loss"], rel=0.02)


@pytest.mark.parametrize(("optimizer", "engine"), EVERY)
def test_a_clone_of_a_run_that_stopped_trains_on(optimizer: str, engine: str, tmp_path: Path) -> None:
    stopping = {"optimizer": optimizer, "lr": 0.0, "eval_every": 2, "patience": 2}
    donor, resumed, clone = make(stopping, engine), make(stopping, engine), make({**stopping, "lr": 1e-3}, engine, seed=1)
    stopped = donor.advance(60 * STEP)[0]["steps"]
    donor.save(tmp_path / "stopped")
    resumed.load(tmp_path / "stopped")
    assert stopped < 60 and resumed.advance(60 * STEP)[0]["steps"] == stopped
    clone.adopt(tmp_path / "stopped")
    assert clone.advance(60 * STEP)[0]["steps"] > stopped


def test_a_clone_learns_its_own_rate_and_measures_its_own_noise(tmp_path: Path) -> None:
    config = {"hypergradient": 0.05, "noise_every": 2}
    donor, clone = make(config), make({**config, "lr": 2e-3})
    donor.advance(20 * STEP)
    donor.save(tmp_path / "donor")
    clone.adopt(tmp_path / "donor")
    assert donor.optimizer.state["factor"].item() != 1 and clone.optimizer.state["factor"].item() == 1
    assert clone.noise.weight == 0 and torch.equal(clone.flat.weights, donor.flat.weights)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_divergence_is_a_result_and_stays_one(engine: str, tmp_path: Path) -> None:
    diverging = {"lr": 1e30, "clip": 0.0, "warmup": 0, "optimizer": "sgd"}
    run, heir, clone = (make(diverging, engine) for _ in range(3))
    metrics = run.advance(40 * STEP)[0]
    assert isnan(metrics["loss"]) and metrics["steps"] <= 32
    run.save(tmp_path / "diverged")
    heir.load(tmp_path / "diverged")
    clone.adopt(tmp_path / "diverged")
    for later in (heir, clone):
        assert later.advance(60 * STEP)[0]["steps"] == metrics["steps"]
