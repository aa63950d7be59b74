"""The rules that scale what was tuned: worked examples, identities, a simulated gradient, and the Step Law's own runs."""

import csv
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.config import TrainConfig, split
from models.scaling import (
    Adam,
    Noise,
    NoiseScale,
    batch_at,
    critical_batch,
    examples_factor,
    for_data,
    for_devices,
    noise_scale,
    scale_adam,
    scale_lr,
    scale_lr_by_noise,
    speedup,
    step_law,
    steps_factor,
    weight_decay_for,
)
from tests.models.tiny import STEP, make

ROOT = Path(__file__).resolve().parents[2]
STEPLAW, CONTEXT = "tables/steplaw_dense_clean.csv", 2048
sizes = st.floats(1, 1e6)


# -- another batch size ------------------------------------------------------------------------------------------------


def test_16_devices_become_32() -> None:
    tuned = {"batch": 352, "lr": 5e-5, "warmup": 0.02, "layers": 2}
    linear, root = (for_devices(tuned, 22, 16, 32, rule) for rule in ("linear", "sqrt"))
    assert linear == {**tuned, "batch": 704, "lr": pytest.approx(1e-4, rel=1e-12)}
    assert root == {**tuned, "batch": 704, "lr": pytest.approx(5e-5 * math.sqrt(2), rel=1e-12)}
    assert tuned["batch"] == 352


def test_devices_by_adams_rule_make_an_allowed_config() -> None:
    carried = for_devices({"micro_batch": 22}, 22, 16, 32, "adam")
    expected = Adam(1e-3 * math.sqrt(2), 0.8, 0.98, 1e-8 / math.sqrt(2))
    assert [carried[name] for name in Adam._fields] == pytest.approx(list(expected), rel=1e-12)
    assert split(carried)[1].accumulation(32) == 1
    assert TrainConfig.lr == 1e-3 and TrainConfig.batch == 16  # the class's defaults are what absent names take


@given(sizes, sizes, sizes, st.sampled_from(["linear", "sqrt"]))
def test_rules_compose_and_undo_themselves(batch: float, middle: float, last: float, rule: str) -> None:
    there = scale_lr(scale_lr(0.1, batch, middle, rule), middle, last, rule)
    assert there == pytest.approx(scale_lr(0.1, batch, last, rule), rel=1e-9)
    assert scale_lr(there, last, batch, rule) == pytest.approx(0.1, rel=1e-9)


def test_adams_rule_is_the_papers() -> None:
    assert scale_adam(Adam(1e-3, 0.9, 0.999, 1e-8), 256, 1024) == pytest.approx((2e-3, 0.6, 0.996, 5e-9))
    assert scale_adam(Adam(1e-3, 0.0, 0.999, 1e-8), 256, 1024).beta1 == 0
    assert scale_adam(Adam(1e-3, 0.99, 0.999, 1e-8), 1, 100).beta1 == 0  # as far as it goes


@given(st.floats(0.01, 1), st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_adams_rule_undoes_itself(k: float, beta1: float, beta2: float) -> None:
    adam = Adam(1e-3, beta1, beta2, 1e-8)
    assert scale_adam(scale_adam(adam, 1, k), k, 1) == pytest.approx(adam, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scale_lr(1e-3, 8, 16, "cubic"), "rule is 'cubic', but must be one of linear, sqrt"),
        (lambda: scale_lr(1e-3, 0, 16, "sqrt"), "batch is 0, but must be a finite number above 0"),
        (lambda: scale_adam(Adam(1e-3, 0.9, 0.99, 1e-8), 1, 16), "must be at most 10 for beta1 0.9"),
        (lambda: for_devices({"batch": 8}, 22, 16, 32, "linear"), "batch is 8, but must be 22 x 16 devices = 352"),
        (lambda: for_devices({}, 22, 16, 0, "linear"), "new_devices is 0, but"),
        (lambda: for_devices({}, 22, 16, 32, "cubic"), "must be one of linear, sqrt, adam"),
        (lambda: noise_scale(1.0, 1.0, 8, 8), "small is 8, but must be below big, which is 8"),
        (lambda: NoiseScale(decay=1.0), r"decay is 1.0, but must be a number in \[0, 1\)"),
        (lambda: batch_at(1.0, 100), r"efficiency is 1.0, but must be a number in \(0, 1\)"),
        (lambda: critical_batch(8, 100, 8, 90), "new_batch is 8, but must differ from batch"),
        (lambda: critical_batch(8, 100, 16, 110), "steps are 100 at batch 8 and 110 at 16, but must be fewer"),
        (lambda: critical_batch(8, 100, 16, 40), "for more examples"),
        (lambda: step_law(0, 1e9), "parameters is 0, but"),
        (lambda: for_data({}, 1e6, 1e8, "cubic"), "rule is 'cubic', but must be one of keep, horizon, step_law"),
    ],
)
def test_what_is_not_allowed_is_said_in_a_sentence(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


# -- the gradient noise scale ------------------------------------------------------------------------------------------


def squared_norms(rng: np.random.Generator, mean: np.ndarray, sd: float, small: int, parts: int) -> tuple[float, float]:
    """(mean squared norm of `parts` gradients over `small` examples each, that of the gradient over all)."""
    gradients = mean + sd * rng.standard_normal((parts, small, mean.size)).mean(axis=1)
    return float((gradients**2).sum(axis=1).mean()), float((gradients.mean(axis=0) ** 2).sum())


def test_exact_norms_give_back_their_terms() -> None:
    signal, variance = 0.25, 12.0
    found = noise_scale(signal + variance / 4, signal + variance / 64, 4, 64)
    assert found == pytest.approx((signal, variance)) and found.scale == pytest.approx(48)


def test_estimates_are_unbiased_on_a_simulated_gradient() -> None:
    rng = np.random.default_rng(0)
    mean, sd = rng.standard_normal(20) / 10, 1.0
    found = np.array([noise_scale(*squared_norms(rng, mean, sd, 2, 4), 2, 8) for _ in range(4000)])
    expected = np.array([float(mean @ mean), 20 * sd**2])
    error = found.std(axis=0) / math.sqrt(len(found))
    assert (abs(found.mean(axis=0) - expected) < 4 * error).all()
    assert found[:, 0].min() < 0  # a single one may be, so ratios of single ones are no estimate


def test_the_running_scale_finds_the_true_one() -> None:
    rng = np.random.default_rng(1)
    mean, seen = rng.standard_normal(50) / 4, NoiseScale(decay=0.998)
    for _ in range(4000):
        seen = seen.update(*squared_norms(rng, mean, 1.0, 2, 4), 2, 8)
    assert seen.scale == pytest.approx(50 / float(mean @ mean), rel=0.1)


def test_averages_are_not_biased_by_their_start() -> None:
    seen = NoiseScale().update(3.0, 1.0, 1, 4)
    assert seen.noise == pytest.approx(noise_scale(3.0, 1.0, 1, 4))
    assert seen.update(3.0, 1.0, 1, 4).noise == pytest.approx(seen.noise)


def test_the_running_scale_is_saved_as_floats_and_goes_on_alike() -> None:
    draw = random.Random(2)
    norms = [(draw.random() + 1, draw.random()) for _ in range(20)]
    whole = halted = NoiseScale()
    for at, pair in enumerate(norms):
        whole = whole.update(*pair, 2, 8)
        halted = NoiseScale(**halted.state()) if at == 10 else halted
        halted = halted.update(*pair, 2, 8)
    assert halted == whole and all(type(value) is float for value in whole.state().values())


def test_a_scale_without_evidence_or_signal() -> None:
    assert math.isnan(NoiseScale().scale) and math.isnan(NoiseScale().noise.signal)
    assert NoiseScale().update(math.inf, 1.0, 1, 4) == NoiseScale().update(1.0, math.nan, 1, 4) == NoiseScale()
    assert Noise(-0.1, 3.0).scale == math.inf and Noise(0.5, -3.0).scale == 0


# -- what a batch size costs -------------------------------------------------------------------------------------------


@given(sizes, sizes)
def test_steps_and_examples_trade_off_on_the_hyperbola(batch: float, noise: float) -> None:
    assert (steps_factor(batch, noise) - 1) * (examples_factor(batch, noise) - 1) == pytest.approx(1)
    assert batch_at(1 / examples_factor(batch, noise), noise) == pytest.approx(batch, rel=1e-4)


def test_at_the_noise_scale_both_are_twice_the_least() -> None:
    assert steps_factor(100, 100) == examples_factor(100, 100) == 2 and batch_at(0.5, 100) == 100
    assert speedup(1, 2, 1e9) == pytest.approx(2) and speedup(1e9, 2e9, 1) == pytest.approx(1)


@given(sizes, st.floats(1.1, 100), sizes)
def test_the_critical_batch_is_the_noise_scale_that_made_the_steps(batch: float, ratio: float, noise: float) -> None:
    steps, new_steps = (1000 * steps_factor(size, noise) for size in (batch, batch * ratio))
    if steps > 1.001 * new_steps and batch < 1000 * noise and noise < 1000 * batch:  # else lost in rounding
        assert critical_batch(batch, steps, batch * ratio, new_steps) == pytest.approx(noise, rel=1e-3)


def test_a_known_noise_scale_bounds_both_rules() -> None:
    assert scale_lr_by_noise(0.1, 8, 16, 1e9) == pytest.approx(scale_lr(0.1, 8, 16, "linear"))
    assert scale_lr_by_noise(0.1, 8, 16, 1e9, power=0.5) == pytest.approx(scale_lr(0.1, 8, 16, "sqrt"))
    assert scale_lr_by_noise(0.1, 8e6, 16e6, 8) == pytest.approx(0.1, rel=1e-4)


# -- more data ---------------------------------------------------------------------------------------------------------


class Trained(NamedTuple):
    lr: float
    batch: float  # in sequences
    loss: float


Task = tuple[float, float]  # parameters, tokens


@pytest.fixture(scope="module")
def tasks(shared_data: Callable[[str], Path]) -> dict[Task, list[Trained]]:
    found: dict[Task, list[Trained]] = {}
    with shared_data(STEPLAW).open(newline="") as file:
        for row in csv.DictReader(file):
            run = Trained(float(row["lr"]), float(row["bs"]), float(row["smooth loss"]))
            found.setdefault((float(row["N"]), float(row["D"])), []).append(run)
    return found


def best(runs: list[Trained]) -> Trained:
    return min(runs, key=lambda run: run.loss)


def excess(runs: list[Trained], lr: float, batch: float) -> float:
    """How much more loss, as a share, the run nearest to (lr, batch) has than the best."""
    near = min(runs, key=lambda run: math.hypot(math.log2(run.lr / lr), math.log2(run.batch / batch)))
    return near.loss / best(runs).loss - 1


def pairs(tasks: dict[Task, list[Trained]]) -> Iterator[tuple[Task, Task]]:
    """Tasks of one model, the second with more data."""
    yield from ((a, b) for a in tasks for b in tasks if a[0] == b[0] and a[1] < b[1])


def test_the_step_law_lies_near_the_best_runs(tasks: dict[Task, list[Trained]]) -> None:
    assert len(tasks) == 17
    laws = {task: step_law(*task) for task in tasks}
    lost = [excess(runs, laws[task].lr, laws[task].batch / CONTEXT) for task, runs in tasks.items()]
    assert max(lost) < 0.004 and 0.0008 < sum(lost) / len(lost) < 0.0011  # published: 0.09 %
    for task, runs in tasks.items():
        assert abs(math.log2(best(runs).lr / laws[task].lr)) < 1
        assert abs(math.log2(best(runs).batch * CONTEXT / laws[task].batch)) < 1


@pytest.mark.parametrize("rule", ["keep", "horizon", "step_law"])
def test_what_was_best_on_less_data_is_carried_to_more_as_the_page_says(
    tasks: dict[Task, list[Trained]], rule: str
) -> None:
    lost = []
    for less, more in pairs(tasks):
        tuned = best(tasks[less])
        carried = for_data({"lr": tuned.lr, "batch": round(tuned.batch)}, less[1], more[1], rule)
        lost.append(100 * excess(tasks[more], carried["lr"], carried["batch"]))
    assert len(lost) == 22
    row = f"| `{rule}` | {sum(lost) / len(lost):.2f} % | {max(lost):.1f} % |"
    assert row in (ROOT / "models" / "README.md").read_text(encoding="utf-8")


def test_the_step_law_is_the_papers_formula() -> None:
    lr, batch = step_law(1e9, 1e11)
    assert lr == pytest.approx(1.79 * (1e9) ** -0.713 * (1e11) ** 0.307)
    assert batch == pytest.approx(0.58 * (1e11) ** 0.571)


@given(st.floats(1e6, 1e10), st.floats(1e6, 1e12), st.floats(1, 100))
def test_carrying_by_the_law_is_the_law_at_both_ends(parameters: float, tokens: float, ratio: float) -> None:
    (lr, batch), (new_lr, new_batch) = step_law(parameters, tokens), step_law(parameters, tokens * ratio)
    carried = for_data({"lr": lr, "batch": round(batch)}, tokens, tokens * ratio, "step_law")
    assert carried["lr"] == pytest.approx(new_lr, rel=1e-9)
    assert carried["batch"] == pytest.approx(new_batch, rel=1e-2, abs=2)


def test_from_a_hundredth_of_the_data() -> None:
    tuned = {"lr": 1e-3, "batch": 16, "warmup": 0.02}
    assert for_data(tuned, 1e6, 1e8, "keep") == tuned
    assert for_data(tuned, 1e6, 1e8, "horizon") == {**tuned, "lr": pytest.approx(1e-3 * 100**-0.32)}
    assert for_data(tuned, 1e6, 1e8, "step_law") == {**tuned, "batch": 222, "lr": pytest.approx(1e-3 * 100**0.307)}
    assert split(for_data({}, 1e8, 1e6, "step_law"))[1].batch == 1


def test_weights_average_over_the_same_part_of_the_training() -> None:
    decay = weight_decay_for(0.1, 1e-3, 1000, 1e-3, 100_000)
    assert decay == pytest.approx(0.001)
    assert decay * 1e-3 * 100_000 == pytest.approx(0.1 * 1e-3 * 1000)
    assert weight_decay_for(0.1, 5e-5, 1000, 1e-4, 500) == pytest.approx(0.1)  # the linear rule changes nothing


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
