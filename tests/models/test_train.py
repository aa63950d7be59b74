"""TrainRun: the Run laws over optimizers, schedules, dropout, accumulation and units, and what is its own."""

import copy
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import exp, isnan, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import checkpoint
from models.data.batches import sampled_starts, sequences
from models.evaluate import Evaluation
from models.schedule import lr_at
from models.train import TrainRun
from tests.models.laws import RunLaws, timeless
from tests.models.tiny import CORPUS, STEP, TINY, make

torch.set_num_threads(1)

class OfTrainRun(RunLaws):
    overrides: Mapping[str, Any] = {}
    unit = "tokens"
    horizon, half = 60 * STEP, 20 * STEP + 7  # a budget that is not a whole number of steps

    def make(self, overrides: Mapping[str, Any]) -> TrainRun:
        return make({**self.overrides, **overrides}, 3, self.horizon, self.unit)


class TestAdamWCosine(OfTrainRun):
    pass


class TestSGDLinear(OfTrainRun):
    overrides = {"optimizer": "sgd", "schedule": "linear", "clip": 0.5, "tie": False, "bias": True}


class TestDropoutExponential(OfTrainRun):
    overrides = {"dropout": 0.2, "attention_dropout": 0.1, "schedule": "exponential", "warmup": 0.1}


class TestAccumulationWSD(OfTrainRun):
    overrides = {"micro_batch": 2, "dropout": 0.1, "schedule": "wsd", "label_smoothing": 0.1, "eval_every": 7}


class TestHalfPrecisionConstant(OfTrainRun):
    overrides = {"precision": "fp16", "schedule": "constant"}


class TestBrainFloat(OfTrainRun):
    overrides = {"precision": "bf16", "micro_batch": 1}


class TestSteps(OfTrainRun):
    unit, horizon, half = "steps", 60, 21


class TestEpochs(OfTrainRun):
    unit, horizon, half = "epochs", 4, 1
    overrides = {"batch": 16}


class TestFineTuning(OfTrainRun):
    overrides = {"epochs": 0.6}


class TestFLOPs(OfTrainRun):
    unit, horizon, half = "flops", 20_000_000, 8_000_000


def weights(run: TrainRun) -> torch.Tensor:
    return run.flat.weights.clone()


def test_it_learns_and_reports() -> None:
    run = make({"eval_every": 20})
    metrics, curve = run.advance(60 * STEP)
    assert metrics["loss"] < 0.75 * log(8)
    assert [position for position, _ in curve] == [20 * STEP, 40 * STEP, 60 * STEP]
    assert curve[-1][1] == metrics["loss"]
    assert (metrics["tokens"], metrics["steps"]) == (60 * STEP, 60)
    assert metrics["parameters"] == sum(weight.numel() for weight in run.model.parameters())
    assert metrics["flops"] == metrics["tokens"] * run.budget.flops_per_token
    assert metrics["seconds"] > 0 and metrics["tokens_per_second"] > 0


def test_the_loss_is_that_of_plain_torch_over_the_validation_set() -> None:
    run = make({"dropout": 0.3, "label_smoothing": 0.2})
    loss = run.advance(9 * STEP)[0]["loss"]
    starts = np.linspace(0, len(CORPUS.valid) - 9, 8).astype(int)
    ids = torch.tensor(np.stack([CORPUS.valid[start : start + 9] for start in starts]).astype(np.int64))
    with torch.no_grad():
        expected = F.cross_entropy(run.model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert loss == pytest.approx(expected.item(), rel=1e-6)


def test_training_equals_a_loop_written_with_torch() -> None:
    run = make({"weight_decay": 0.2, "clip": 0.3, "label_smoothing": 0.1})
    hand = make({})
    matrices = [weight for weight in hand.model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in hand.model.parameters() if weight.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.2}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99))
    for step in range(30):
        starts = sampled_starts(len(CORPUS.train), 8, 0, 4 * step, 4)
        ids = torch.from_numpy(sequences(CORPUS.train, starts, 8))
        optimizer.zero_grad(set_to_none=False)
        logits = hand.model(ids[:, :-1]).flatten(0, 1)
        F.cross_entropy(logits, ids[:, 1:].flatten(), label_smoothing=0.1).backward()
        torch.nn.utils.clip_grad_norm_(hand.model.parameters(), 0.3)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, 60, run.config)
        optimizer.step()
    run.advance(30 * STEP)
    torch.testing.assert_close(weights(run), weights(hand), rtol=1e-4, atol=1e-6)


def test_a_clone_equals_a_run_whose_rate_is_changed_by_hand(tmp_path: Path) -> None:
    hand = make({"lr": 1e-2})
    hand.advance(20 * STEP)
    hand.save(tmp_path / "parent")
    hand.config = replace(hand.config, lr=3e-3)
    hand.advance(40 * STEP)
    clone = make({"lr": 3e-3})
    clone.load(tmp_path / "parent")
    clone.advance(40 * STEP)
    assert torch.equal(weights(clone), weights(hand))


def test_a_clone_may_change_batch_and_optimizer(tmp_path: Path) -> None:
    parent = make({})
    parent.advance(20 * STEP)
    parent.save(tmp_path / "parent")
    clone = make({"batch": 8, "optimizer": "sgd"})
    clone.load(tmp_path / "parent")
    metrics, _ = clone.advance(41 * STEP)
    assert (metrics["tokens"], metrics["steps"]) == (40 * STEP, 30)
    assert clone.optimizer.updates == 10
    assert float(clone.optimizer.state["velocity"].abs().sum()) > 0


def test_the_bits_of_a_micro_batch_follow_from_its_first_sequence() -> None:
    """Not from what was drawn before, and not from where the batch begins; cut otherwise, other bits are drawn."""
    config = {"dropout": 0.3, "batch": 4, "micro_batch": 2}
    run, later, whole = make(config), make(config), make({**config, "micro_batch": 4})
    ids = run._batch()
    run._gradient(ids, 0, 2, False)  # draws
    run.engine.clear()
    expected = run._gradient(ids, 2, 2, True).item()
    later.tokens = 2 * later.size.context  # its first sequence is the other's third
    later.engine.clear()
    assert later._gradient(ids[2:], 0, 2, True).item() == expected
    assert torch.equal(run.flat.grads, later.flat.grads)
    losses = [one.advance(STEP)[0]["train_loss"] for one in (make(config), whole)]
    plain = [make({**config, "dropout": 0.0, "micro_batch": m}).advance(STEP)[0]["train_loss"] for m in (2, 4)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-6) and plain[0] == pytest.approx(plain[1], rel=1e-6)


@pytest.mark.parametrize("micro", [1, 2])
def test_micro_batches_train_as_one(micro: int) -> None:
    whole, parts = make({}), make({"micro_batch": micro})
    whole.advance(10 * STEP)
    metrics, _ = parts.advance(10 * STEP)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-4, atol=2e-5)
    assert metrics["train_loss"] == pytest.approx(whole.advance(10 * STEP)[0]["train_loss"], rel=1e-4)


def test_evaluation_changes_no_weight_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, watched = make({"dropout": 0.2}), make({"dropout": 0.2, "eval_every": 5})
    calls, measure = [], watched.validation.measure

    def count_measurement() -> Evaluation:
        calls.append(watched.steps)
        return measure()

    monkeypatch.setattr(watched.validation, "measure", count_measurement)
    plain.advance(20 * STEP)
    watched.advance(12 * STEP)
    watched.advance(12 * STEP)
    watched.advance(20 * STEP)
    assert calls == [5, 10, 12, 15, 20]
    assert torch.equal(weights(plain), weights(watched))


def test_the_schedule_takes_its_length_from_the_horizon() -> None:
    short, long = make({}, horizon=20 * STEP), make({}, horizon=60 * STEP)
    short.advance(20 * STEP)
    long.advance(20 * STEP)
    assert not torch.equal(weights(short), weights(long))
    fine = make({"epochs": 1.0})
    assert fine.budget.total_steps == (len(CORPUS.train) - 1) // 8 // 4


def test_a_budget_of_less_than_a_step_trains_nothing() -> None:
    run = make({})
    metrics, curve = run.advance(STEP - 1)
    assert metrics["steps"] == 0 and isnan(metrics["train_loss"])
    assert metrics["loss"] == pytest.approx(log(8), rel=0.05)
    assert curve == [(0, metrics["loss"])]


def test_epochs_end_training_and_see_every_sequence_once() -> None:
    run = make({"epochs": 1.0, "batch": 1}, horizon=100_000)
    metrics, _ = run.advance(100_000)
    assert metrics["steps"] == (len(CORPUS.train) - 1) // 8
    assert metrics["tokens"] == run.budget.epoch_tokens


def test_an_overflow_skips_the_update_and_the_schedule() -> None:
    run = make({"precision": "fp16"})
    run._step()
    assert run.guard.scaler is not None
    before, run.guard.scaler.scale = weights(run), float("inf")
    run._step()
    assert torch.equal(weights(run), before)
    assert (run.steps, run.skipped_steps, run.optimizer.updates.item()) == (2, 1, 1)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(
    "absurd", [{"lr": 1e300}, {"lr": 1e5, "weight_decay": 1e300}, {"lr": 1e160, "weight_decay": 1e160}]
)
def test_an_absurd_rate_diverges_and_never_raises(optimizer: str, absurd: dict[str, float]) -> None:
    run = make({**absurd, "optimizer": optimizer, "warmup": 0, "clip": 1e300})
    assert isnan(run.advance(60 * STEP)[0]["loss"])


def test_same_seed_same_run_and_another_seed_another() -> None:
    first, same, other = (make({}, seed=seed) for seed in (1, 1, 2))
    replies = [run.advance(10 * STEP) for run in (first, same, other)]
    assert timeless(replies[0]) == timeless(replies[1])
    assert replies[0][0]["loss"] != replies[2][0]["loss"]


def test_a_checkpoint_of_another_shape_names_file_and_parameter(tmp_path: Path) -> None:
    make({}).save(tmp_path / "small")
    with pytest.raises(
        ValueError, match=r"small does not fit: tokens.weight is \(8, 16\) in the file and \(8, 32\) in the model"
    ):
        make({"hidden": 32}).load(tmp_path / "small")
    others: dict[str, dict[str, Any]] = {"head.weight": {"tie": False}, "blocks.1.norm1.weight": {"layers": 2}}
    for name, overrides in others.items():
        with pytest.raises(ValueError, match=f"{name} is absent in the file"):
            make(overrides).load(tmp_path / "small")


def test_checkpoints_hold_no_hyperparameters(tmp_path: Path) -> None:
    """But for a digest of them, by which a run knows its own."""
    found = []
    for number, config in enumerate(({"lr": 0.5, "weight_decay": 0.3}, {"lr": 0.1})):
        make(config).save(tmp_path / str(number))
        found.append(checkpoint.read(tmp_path / str(number)))
    owners = [one.position["owner"] for one in found]
    said = [{**one.position, "owner": ""} for one in found]
    assert said[0] == said[1] and owners[0] != owners[1] and all(len(owner) == 16 for owner in owners)
    for part in ("weights", "state"):
        first, second = (getattr(one, part) for one in found)
        assert first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "minutes"}, "unit is 'minutes', but must be one of tokens, steps, epochs, flops"),
        ({"horizon": 0}, "horizon is 0"),
        ({"overrides": {"context": 5000}}, "context 5000 needs 5001"),
        ({"overrides": {"vocabulary": 3}}, "vocabulary is 3, but corpus 'pattern' needs 8"),
        ({"device": "tpu"}, "device is 'tpu', but must be cpu, cuda or cuda:N"),
        ({"threads": 0}, "threads is 0, but must be at least 1"),
        ({"overrides": {"learning_rate": 3}}, "learning_rate: not a hyperparameter"),
    ],
)
def test_errors_are_one_clear_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        config = {**TINY, **arguments.pop("overrides", {})}
        TrainRun(**{"config": config, "seed": 0, "horizon": 100, "corpus": CORPUS, **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_an_absent_device_is_named() -> None:
    with pytest.raises(ValueError, match="this machine has 0 CUDA devices; use cpu"):
        TrainRun(TINY, 0, 100, CORPUS, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_on_cuda_it_learns_as_on_cpu(precision: str, tmp_path: Path) -> None:
    config = {**TINY, "precision": precision, "dropout": 0.1, "attention_dropout": 0.1}
    here, there = (TrainRun(config, 0, 60 * STEP, CORPUS, device=device) for device in ("cpu", "cuda"))
    losses = [run.advance(60 * STEP)[0]["loss"] for run in (here, there)]
    assert exp(abs(losses[0] - losses[1])) < 1.2
    there.save(tmp_path / "cuda")
    here = TrainRun(config, 0, 60 * STEP, CORPUS)
    here.load(tmp_path / "cuda")
    assert here.advance(60 * STEP)[0]["loss"] == pytest.approx(losses[1], rel=2e-2)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_run_is_not_copied_behind_its_back(how: Callable[[TrainRun], object]) -> None:
    with pytest.raises(TypeError, match="save it, and load it"):
        how(make({}))


def test_a_part_of_the_text_is_trained_on() -> None:
    part, whole = make({"data_fraction": 0.25}), make({})
    assert len(part._text) == 450 and len(whole._text) == 1800
    starts = part._starts(len(part._text), 8, 0, 0, 500)
    assert starts.max() < 450 - 8 and part.advance(STEP)[0]["loss"] > 0
