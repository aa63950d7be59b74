"""Steps that are not taken: spikes, and gradients that are not finite."""

from math import inf, isnan, nan

import pytest
import torch

from models.config import TrainConfig
from models.guard import PATIENCE, SOON, Guard
from tests.models.tiny import STEP, make

torch.set_num_threads(1)


norm = torch.linalg.vector_norm


def test_without_a_policy_nothing_is_looked_at() -> None:
    guard = Guard(TrainConfig())
    assert guard.check_step(torch.tensor([nan]), TrainConfig(), norm) and guard.skipped == 0


def test_a_spike_is_skipped_and_what_becomes_usual_is_taken_again() -> None:
    config = TrainConfig(spike=4.0)
    guard = Guard(config)
    assert all(guard.check_step(torch.tensor([1.0]), config, norm) for _ in range(SOON))
    assert not guard.check_step(torch.tensor([5.0]), config, norm) and guard.check_step(torch.tensor([1.1]), config, norm)
    assert guard.check_step(torch.tensor([3.9]), config, norm) and guard.skipped == 1
    taken = [guard.check_step(torch.tensor([30.0]), config, norm) for _ in range(40)]
    assert not taken[0] and taken[-1]


def test_one_bad_batch_does_no_harm_under_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose gradient is a million times too long, in the middle of training."""

    def loss(policy: float) -> float:
        run = make({"spike": policy, "clip": 0.0, "optimizer": "sgd", "lr": 0.1})
        plain, calls = run._gradient, []

        def gradient(*arguments: object) -> torch.Tensor:
            result = plain(*arguments)  # type: ignore[arg-type]
            calls.append(1)
            if len(calls) == 30:
                run.flat.grads.mul_(1e6)
            return result

        monkeypatch.setattr(run, "_gradient", gradient)
        metrics, _ = run.advance(60 * STEP)
        assert metrics["skipped"] == (1 if policy else 0)
        return metrics["loss"]

    guarded, harmed = loss(10.0), loss(0.0)
    assert guarded < 2.0 and (isnan(harmed) or harmed > guarded + 0.5)


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_gradient_that_is_not_finite(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make({"nonfinite": policy})
    plain, calls = run._gradient, []

    def gradient(*arguments: object) -> torch.Tensor:
        result = plain(*arguments)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 10:
            run.flat.grads[3] = inf
            return result * inf
        return result

    monkeypatch.setattr(run, "_gradient", gradient)
    metrics, _ = run.advance(60 * STEP)
    if policy == "stop":
        assert isnan(metrics["loss"]) and metrics["steps"] <= 16
    else:
        assert metrics["loss"] < 2.0 and metrics["skipped"] == 1 and metrics["train_loss"] < 3


def test_a_run_that_is_never_finite_diverges_whatever_the_policy() -> None:
    metrics, _ = make({"nonfinite": "skip", "lr": 1e30, "clip": 0.0, "warmup": 0}).advance(60 * STEP)
    assert isnan(metrics["loss"]) and metrics["skipped"] > PATIENCE
