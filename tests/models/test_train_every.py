"""Resume and clone, bit for bit, for every optimizer with every schedule in every precision; and all laws for some."""

from collections.abc import Mapping
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.optimizers.rows import OPTIMIZERS
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


# -- what judges hyperparameters does not travel with weights ------------------------------------------------------------


def trained(run: TrainRun, folder: Path, until: int) -> Path:
    run.advance(until * STEP)
    run.save(folder / "donor")
    return folder / "donor"


def scaled_gradients(run: TrainRun, factor: float, patch: pytest.MonkeyPatch) -> None:
    plain = run._gradient

    def gradient(*arguments: Any) -> torch.Tensor:
        loss = plain(*arguments)
        run.flat.grads.mul_(factor)
        return loss

    patch.setattr(run, "_gradient", gradient)


@pytest.mark.parametrize("way", ["load", "adopt"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_clone_of_a_run_that_was_given_up_trains_on(
    optimizer: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps without end whose gradients are not finite: they were not taken, so that the weights are as good as before."""
    config = {"optimizer": optimizer, "nonfinite": "skip"}
    donor, resumed, clone = make(config), make(config), make({**config, "lr": 1e-3})
    donor.advance(5 * STEP)
    scaled_gradients(donor, float("inf"), monkeypatch)
    path = trained(donor, tmp_path, 40)
    assert donor.diverged and donor.flat.weights.isfinite().all()
    resumed.load(path)
    assert isnan(resumed.advance(60 * STEP)[0]["loss"]) and resumed.steps == donor.steps
    getattr(clone, way)(path)
    metrics = clone.advance(60 * STEP)[0]
    assert metrics["steps"] == 60 and metrics["loss"] < 3 and metrics["train_loss"] < 3
    assert metrics["skipped"] == donor.skipped_steps  # the schedule is behind by so many steps


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_clone_whose_weights_are_not_finite_has_diverged(optimizer: str, tmp_path: Path) -> None:
    donor, clone = make({"optimizer": optimizer}), make({"optimizer": optimizer, "lr": 1e-3})
    donor.flat.weights[0] = float("nan")
    clone.adopt(trained(donor, tmp_path, 3))
    metrics, curve = clone.advance(60 * STEP)
    assert isnan(metrics["loss"]) and metrics["steps"] == donor.steps and curve == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_clone_has_its_own_idea_of_a_usual_gradient(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"optimizer": optimizer, "spike": 5.0}
    donor, resumed, clone = make(config), make(config), make({**config, "lr": 2e-3})
    scaled_gradients(donor, 1e-6, monkeypatch)
    path = trained(donor, tmp_path, 30)
    resumed.load(path)
    assert resumed.advance(40 * STEP)[0]["skipped"] == 10
    clone.adopt(path)
    assert clone.advance(40 * STEP)[0]["skipped"] == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_clone_learns_its_own_rate_and_measures_its_own_noise(optimizer: str, tmp_path: Path) -> None:
    config = {"optimizer": optimizer, "hypergradient": 0.05, "noise_every": 2}
    donor, resumed, clone = make(config), make(config), make({**config, "lr": 2e-3})
    path = trained(donor, tmp_path, 20)
    resumed.load(path)
    assert resumed.optimizer.state["factor"] == donor.optimizer.state["factor"] != 1
    assert resumed.noise == donor.noise and donor.noise.weight > 0
    clone.adopt(path)
    assert clone.optimizer.state["factor"] == 1 and not clone.optimizer.state["change"].any()
    assert clone.noise.weight == 0 and clone.optimizer.updates == donor.optimizer.updates
    for name in clone.optimizer.moments:
        assert torch.equal(clone.optimizer.state[name], donor.optimizer.state[name])


def test_how_a_training_is_carried_out_makes_no_other_trial(tmp_path: Path) -> None:
    stopping = {"lr": 0.0, "eval_every": 5, "patience": 2}
    path = trained(make(stopping), tmp_path, 60)
    for means in ({"micro_batch": 2}, {"activation_checkpointing": True}, {"eval_tokens": 32}):
        resumed = make({**stopping, **means})
        resumed.load(path)
        assert resumed.has_stopped
    for other in (make({**stopping, "weight_decay": 0.0}), make(stopping, seed=1)):
        other.load(path)
        assert not other.has_stopped and other.steps == 15


def test_a_checkpoint_that_does_not_say_whose_it_is_is_resumed(tmp_path: Path) -> None:
    """As those of earlier versions."""
    path = trained(make({"lr": 0.0, "eval_every": 5, "patience": 2}), tmp_path, 60)
    saved = checkpoint.read(path)
    position = {name: value for name, value in saved.position.items() if name not in ("owner", "optimizer")}
    checkpoint.write(tmp_path / "earlier", checkpoint.Checkpoint(saved.weights, saved.state, position))
    resumed = make({"eval_every": 5, "patience": 2})
    resumed.load(tmp_path / "earlier")
    assert resumed.has_stopped


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
