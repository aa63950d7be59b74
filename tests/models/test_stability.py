"""Averages of weights, early stopping, policies for spikes and gradients that are not finite, the noise scale, z-loss."""

from math import inf, isnan, nan
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from models.average import Average
from models.config import TrainConfig, split
from models.guard import PATIENCE, SOON, Guard
from models.loss import token_loss
from models.scaling import NoiseScale
from models.stopping import Stopping
from models.train import TrainRun
from tests.models.tiny import STEP, make

torch.set_num_threads(1)


# -- loss ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_cross_entropy_and_the_size_of_the_normaliser(z_loss: float, smoothing: float) -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    targets = torch.tensor([[0, 1, 2], [3, 4, 0]])
    shares = (1 - smoothing) * F.one_hot(targets, 5) + smoothing / 5
    normaliser = logits.exp().sum(-1).log()
    expected = (normaliser - (shares * logits).sum(-1)).mean() + z_loss * normaliser.square().mean()
    mine = token_loss(logits, targets, TrainConfig(z_loss=z_loss, label_smoothing=smoothing))
    torch.testing.assert_close(mine, expected)


def test_z_loss_keeps_the_normaliser_near_one() -> None:
    def normaliser(run: TrainRun) -> float:
        run.advance(60 * STEP)
        with torch.no_grad():
            return float(run.model(run.validation.ids[:, :-1]).logsumexp(-1).abs().mean())

    assert normaliser(make({"z_loss": 0.1, "lr": 3e-2})) < 0.5 * normaliser(make({"lr": 3e-2}))


# -- average of weights --------------------------------------------------------------------------------------------------


def test_the_average_is_the_one_written_out() -> None:
    weights = torch.zeros(3)
    average, expected = Average(weights), torch.zeros(3)
    for t in range(1, 40):
        weights = torch.full((3,), float(t))
        average.follow(weights, t, 0.8)
        decay = min(0.8, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(average.values, expected)


def test_what_is_evaluated_is_the_average_and_training_is_untouched() -> None:
    plain, averaged = make({}), make({"ema": 0.9, "eval_every": 10})
    plain_loss, averaged_loss = (run.advance(40 * STEP)[0]["loss"] for run in (plain, averaged))
    assert torch.equal(plain.flat.weights, averaged.flat.weights)
    assert averaged.average is not None and averaged_loss != plain_loss
    plain.flat.weights.copy_(averaged.average.values)
    assert plain.validation.loss() == averaged_loss


def test_an_average_that_a_checkpoint_lacks_starts_from_its_weights(tmp_path: Path) -> None:
    parent = make({})
    parent.advance(10 * STEP)
    parent.save(tmp_path / "parent")
    heir = make({"ema": 0.9})
    heir.load(tmp_path / "parent")
    assert heir.average is not None and torch.equal(heir.average.values, parent.flat.weights)


# -- early stopping ------------------------------------------------------------------------------------------------------


def test_patience_counts_evaluations_without_a_better_loss() -> None:
    stopping = Stopping()
    for loss in (3.0, 2.0, 2.0, 2.5):
        stopping.observe(loss)
    assert stopping.waited == 2 and not stopping.is_over(3) and stopping.is_over(2) and not stopping.is_over(0)


def test_training_ends_early_and_stays_ended(tmp_path: Path) -> None:
    config = {"lr": 0.0, "eval_every": 5, "patience": 2}  # nothing gets better
    run = make(config)
    metrics, curve = run.advance(60 * STEP)
    assert metrics["steps"] == 15 and [p // STEP for p, _ in curve] == [5, 10, 15] and run.has_stopped
    run.save(tmp_path / "stopped")
    heir = make(config)
    heir.load(tmp_path / "stopped")
    assert heir.advance(60 * STEP)[0]["steps"] == 15
    patient = make({**config, "patience": 0})
    patient.load(tmp_path / "stopped")
    assert patient.advance(60 * STEP)[0]["steps"] == 60


def test_patience_without_evaluations_is_refused() -> None:
    with pytest.raises(ValueError, match="patience is 2, but needs eval_every above 0"):
        split({"patience": 2})


norm = torch.linalg.vector_norm


# -- steps that are not taken --------------------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_looked_at() -> None:
    guard = Guard(TrainConfig())
    assert guard.takes(torch.tensor([nan]), TrainConfig(), norm) and guard.skipped == 0


def test_a_spike_is_skipped_and_what_becomes_usual_is_taken_again() -> None:
    config = TrainConfig(spike=4.0)
    guard = Guard(config)
    assert all(guard.takes(torch.tensor([1.0]), config, norm) for _ in range(SOON))
    assert not guard.takes(torch.tensor([5.0]), config, norm) and guard.takes(torch.tensor([1.1]), config, norm)
    assert guard.takes(torch.tensor([3.9]), config, norm) and guard.skipped == 1
    taken = [guard.takes(torch.tensor([30.0]), config, norm) for _ in range(40)]
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


# -- the gradient noise scale --------------------------------------------------------------------------------------------


def test_the_noise_scale_of_known_gradients() -> None:
    """Examples whose gradients are G + noise of a known variance: B_simple is the trace over |G|^2."""
    generator, d = torch.Generator().manual_seed(0), 50
    true, noise = torch.full((d,), 0.2, dtype=torch.float64), NoiseScale(decay=0.998)
    for _ in range(3000):
        examples = true + torch.randn(16, d, generator=generator, dtype=torch.float64)
        small, big = examples[:4].mean(0), examples.mean(0)
        noise = noise.update(float(small @ small), float(big @ big), 4, 16)
    assert noise.scale == pytest.approx(d / (d * 0.04), rel=0.15)


@pytest.mark.parametrize("extra", [{}, {"micro_batch": 1}, {"precision": "fp16"}])
def test_measuring_it_changes_no_bit_and_reports_tokens(extra: dict[str, object]) -> None:
    plain, measured = make(extra), make({**extra, "noise_every": 2})
    plain.advance(40 * STEP)
    metrics, _ = measured.advance(40 * STEP)
    assert torch.equal(plain.flat.weights, measured.flat.weights)
    assert metrics["noise_scale"] == measured.noise.scale * 8 and metrics["noise_scale"] > 0
    assert measured.noise.weight == pytest.approx(1 - 0.99**20)


def test_a_part_of_the_text_is_trained_on() -> None:
    part, whole = make({"data_fraction": 0.25}), make({})
    assert len(part._text) == 450 and len(whole._text) == 1800
    starts = part._starts(len(part._text), 8, 0, 0, 500)
    assert starts.max() < 450 - 8 and part.advance(STEP)[0]["loss"] > 0


# -- denormal numbers ------------------------------------------------------------------------------------------------------


def denormal() -> float:
    return float((torch.tensor(1e-39) * 1.0).item())


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_0_while_training_and_only_then(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = TrainRun._step

    def watched(run: TrainRun) -> None:
        seen.append(denormal())
        if len(seen) == 3:
            raise KeyboardInterrupt
        step(run)

    monkeypatch.setattr(TrainRun, "_step", watched)
    torch.set_flush_denormal(before)
    try:
        run = make({})
        run.advance(2 * STEP)
        assert (denormal() == 0) is before
        with pytest.raises(KeyboardInterrupt):
            run.advance(4 * STEP)
        assert (denormal() == 0) is before
    finally:
        torch.set_flush_denormal(False)
    assert seen == [0.0, 0.0, 0.0]
