"""Learning rates against torch.optim.lr_scheduler and transformers.get_scheduler, as functions of tokens, and the edges."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from experiments.schedules import COMMAND, draw_schedules, main
from models.budget import Budget
from models.config import RULES, TrainConfig
from models.schedule import SHAPES, decay_period, lr_at, lr_at_tokens, warmup_steps

ROOT = Path(__file__).resolve().parents[2]
TOTAL, WARM, LR = 100, 10, 0.3


def rates(config: TrainConfig, total: int = TOTAL, until: int | None = None) -> list[float]:
    return [lr_at(step, total, config) for step in range(until or total)]


def replay(scheduler: Any, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """The rates that a scheduler of torch's kind sets."""
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def plain() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)


def torch_rates(schedule: str, floor: float) -> list[float]:
    """The rates of torch's schedulers: LinearLR as warm-up, then the one of that name."""
    optimizer = plain()
    after = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "linear": lambda: lr_scheduler.LinearLR(optimizer, 1.0, floor, TOTAL - WARM),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, TOTAL - WARM, floor * LR),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, floor ** (1 / (TOTAL - WARM))),
    }[schedule]
    warm = lr_scheduler.LinearLR(optimizer, 1 / WARM, 1.0, WARM - 1)
    return replay(lr_scheduler.SequentialLR(optimizer, [warm, after()], [WARM]), optimizer, TOTAL)


def hugging_rates(name: str, steps: int, **specific: Any) -> list[float]:
    """The rates of transformers' schedulers, whose warm-up is step / W."""
    transformers = pytest.importorskip("transformers")
    optimizer = plain()
    scheduler = transformers.get_scheduler(name, optimizer, WARM, TOTAL, scheduler_specific_kwargs=specific or None)
    return replay(scheduler, optimizer, steps)


# -- references --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", [0.1, 0.01, 0.9])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "exponential"])
def test_rates_equal_torchs(schedule: str, floor: float) -> None:
    config = TrainConfig(lr=LR, schedule=schedule, final_lr=floor, warmup=WARM)
    assert rates(config) == pytest.approx(torch_rates(schedule, floor), rel=1e-9)


def test_a_decay_rate_of_095_equals_torchs_exponential_lr() -> None:
    optimizer = plain()
    reference = replay(lr_scheduler.ExponentialLR(optimizer, 0.95), optimizer, TOTAL)
    config = TrainConfig(lr=LR, schedule="exponential", decay_rate=0.95, decay_every=1, final_lr=0, warmup=0)
    assert rates(config) == pytest.approx(reference, rel=1e-9)


@pytest.mark.parametrize(
    ("schedule", "name", "floor", "specific"),
    [
        ("constant", "constant_with_warmup", 0.5, {}),
        ("linear", "linear", 0.0, {}),
        ("cosine", "cosine", 0.0, {}),
        ("cosine", "cosine_with_min_lr", 0.25, {"min_lr_rate": 0.25}),
        ("wsd", "warmup_stable_decay", 0.0, {"num_decay_steps": 20, "decay_type": "linear"}),
        ("wsd", "warmup_stable_decay", 0.25, {"num_decay_steps": 20, "decay_type": "linear", "min_lr_ratio": 0.25}),
    ],
)
def test_rates_after_the_warmup_equal_transformers(schedule: str, name: str, floor: float, specific: Any) -> None:
    config = TrainConfig(lr=LR, schedule=schedule, final_lr=floor, warmup=WARM, decay_fraction=0.2)
    reference = hugging_rates(name, TOTAL, **specific)
    assert rates(config)[WARM:] == pytest.approx(reference[WARM:], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "make", "arguments"),
    [
        ("constant", "get_constant_schedule_with_warmup", {}),
        ("linear", "get_linear_schedule_with_warmup", {"num_training_steps": TOTAL}),
        ("cosine", "get_cosine_schedule_with_warmup", {"num_training_steps": TOTAL}),
        ("wsd", "get_wsd_schedule", {"num_training_steps": TOTAL, "num_decay_steps": 20}),
    ],
)
def test_the_warmup_is_one_step_ahead_of_transformers(schedule: str, make: str, arguments: dict[str, int]) -> None:
    """As schedule.py says: theirs begins with an update at a rate of 0, ours ends one step earlier."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    optimizer = plain()
    theirs = replay(getattr(transformers, make)(optimizer, num_warmup_steps=WARM, **arguments), optimizer, TOTAL)
    ours = rates(TrainConfig(lr=LR, schedule=schedule, final_lr=0, warmup=WARM, decay_fraction=0.2))
    assert theirs[0] == 0 and ours[0] == pytest.approx(LR / WARM)
    assert ours[: WARM - 1] == pytest.approx(theirs[1:WARM]) and ours[WARM - 1] == pytest.approx(LR)
    assert theirs[WARM - 1] == pytest.approx(LR * (WARM - 1) / WARM)


def test_inverse_sqrt_equals_transformers_whose_count_starts_at_zero() -> None:
    """Theirs is 0 at its step 0, then ours: Vaswani et al. count from 1, too."""
    config = TrainConfig(lr=LR, schedule="inverse_sqrt", final_lr=0, warmup=WARM)
    reference = hugging_rates("inverse_sqrt", TOTAL + 1, timescale=WARM)
    assert rates(config) == pytest.approx(reference[1:], rel=1e-9)


def test_inverse_sqrt_is_the_formula_of_the_paper() -> None:
    width, warm = 512, 4000
    config = TrainConfig(lr=width**-0.5 * warm**-0.5, schedule="inverse_sqrt", final_lr=0, warmup=warm)
    for number in (1, 100, 3999, 4000, 4001, 100_000):
        paper = width**-0.5 * min(number**-0.5, number * warm**-1.5)
        assert lr_at(number - 1, 100_000, config) == pytest.approx(paper, rel=1e-12)


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_every_schedule_that_is_allowed_is_there() -> None:
    assert [RULES["schedule"].check("schedule", name) for name in SHAPES] == [*SHAPES]
    with pytest.raises(ValueError, match="must be one of " + ", ".join(SHAPES)):
        RULES["schedule"].check("schedule", "sawtooth")


def test_warmup_stable_decay() -> None:
    config = TrainConfig(lr=1.0, schedule="wsd", final_lr=0.2, warmup=10, decay_fraction=0.4)
    seen = rates(config, 100, 101)
    assert seen[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert seen[10:61] == [1.0] * 51
    assert seen[60:] == pytest.approx([1 - 0.8 * step / 40 for step in range(41)])


def test_a_decay_rate_takes_effect_once_a_period_after_the_warmup_down_to_the_floor() -> None:
    config = TrainConfig(lr=1.0, schedule="exponential", decay_rate=0.5, decay_every=20, final_lr=0.2, warmup=10)
    assert [lr_at(step, 100, config) for step in (9, 10, 30, 50, 70, 1000)] == pytest.approx(
        [1, 1, 0.5, 0.25, 0.2, 0.2]
    )


def test_ratios_are_of_all_steps() -> None:
    assert warmup_steps(400, TrainConfig(warmup=0.05)) == 20
    assert warmup_steps(400, TrainConfig(warmup=7)) == 7
    assert warmup_steps(400, TrainConfig(warmup=0)) == warmup_steps(400, TrainConfig(warmup=0.0)) == 0
    assert decay_period(400, TrainConfig(decay_every=0.05)) == 20
    assert decay_period(400, TrainConfig(decay_every=7)) == 7
    assert decay_period(10, TrainConfig(decay_every=0.01)) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "exponential", "wsd"])
@pytest.mark.parametrize("warmup", [0, 5, 0.5])
@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_rates_end_at_the_floor(schedule: str, warmup: float, decay: float) -> None:
    config = TrainConfig(lr=2.0, schedule=schedule, warmup=warmup, final_lr=0.1, decay_fraction=decay)
    assert rates(config, 50, 60)[50:] == pytest.approx([0.2] * 10)


@st.composite
def configs(draw_: st.DrawFn) -> TrainConfig:
    share = st.floats(0.01, 0.99)
    return TrainConfig(
        lr=draw_(st.sampled_from([1e-8, 3e-4, 1.0, 1e6])),
        schedule=draw_(st.sampled_from(list(SHAPES))),
        warmup=draw_(st.one_of(st.integers(0, 300), share)),
        final_lr=draw_(st.one_of(st.sampled_from([1e-9, 0.5, 1.0]), share)),
        decay_fraction=draw_(st.floats(0, 1)),
        decay_rate=draw_(st.one_of(st.none(), share)),
        decay_every=draw_(st.one_of(st.integers(1, 300), share)),
    )


@given(configs(), st.integers(1, 200))
def test_rates_rise_in_the_warmup_and_never_after_within_their_bounds(config: TrainConfig, total: int) -> None:
    warm = warmup_steps(total, config)
    seen = rates(config, total, max(warm, total) + 20)
    assert seen[:warm] == sorted(seen[:warm])
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in zip(seen[warm:], seen[warm + 1 :], strict=False))
    assert all(0 < rate <= config.lr * (1 + 1e-12) for rate in seen)
    assert all(rate >= config.lr * config.final_lr * (1 - 1e-12) for rate in seen[warm:])


@given(configs(), st.integers(2, 200))
def test_the_warmup_ends_at_the_full_rate_and_goes_over_without_a_jump(config: TrainConfig, total: int) -> None:
    warm = warmup_steps(total, config)
    if warm:
        assert lr_at(warm - 1, total, config) == pytest.approx(config.lr, rel=1e-15)
    if warm < total and not (config.schedule == "wsd" and warm == total - 1):
        first = lr_at(warm, total, config) / config.lr
        exact = math.sqrt(warm / (warm + 1)) if warm and config.schedule == "inverse_sqrt" else 1.0
        assert first == pytest.approx(max(config.final_lr, exact))


@given(configs(), st.integers(1, 200), st.integers(0, 10**9))
def test_rates_are_defined_past_the_end(config: TrainConfig, total: int, beyond: int) -> None:
    rate = lr_at(total + beyond, total, config)
    assert isinstance(rate, float) and 0 < rate <= config.lr * (1 + 1e-12)


def test_a_floor_of_zero_is_reached_without_error() -> None:
    for schedule in SHAPES:
        config = TrainConfig(schedule=schedule, final_lr=0, decay_rate=0.5, decay_every=1, warmup=0)
        assert 0 <= lr_at(10**6, 100, config) <= config.lr


# -- over tokens -------------------------------------------------------------------------------------------------------


def budget(step_tokens: int, horizon: int = 64_000, unit: str = "tokens", **more: Any) -> Budget:
    return Budget(unit, horizon, step_tokens, epoch_tokens=32_000, flops_per_token=7, **more)


@pytest.mark.parametrize("schedule", SHAPES)
def test_ratios_make_batch_sizes_agree_over_tokens(schedule: str) -> None:
    config = TrainConfig(lr=1.0, schedule=schedule, warmup=0.25, decay_rate=0.5, decay_every=0.25)
    for tokens in range(16_000, 64_000, 1000):
        small, large = (lr_at_tokens(tokens, budget(size), config) for size in (10, 100))
        assert small == pytest.approx(large, abs=0.01)  # they differ within a step of the larger


def test_a_warmup_in_steps_takes_more_tokens_of_a_larger_batch() -> None:
    config = TrainConfig(lr=1.0, schedule="constant", warmup=10)
    assert lr_at_tokens(99, budget(10), config) == 1.0
    assert lr_at_tokens(99, budget(100), config) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("unit", "horizon"), [("tokens", 64_000), ("steps", 640), ("epochs", 2), ("flops", 7 * 64_000)], ids=str
)
def test_the_rate_of_a_token_is_that_of_its_step_in_every_unit(unit: str, horizon: int) -> None:
    config = TrainConfig(schedule="cosine")
    for tokens in (0, 99, 100, 32_050, 63_999, 70_000):
        assert lr_at_tokens(tokens, budget(100, horizon, unit), config) == lr_at(tokens // 100, 640, config)


def test_epochs_set_the_length_over_tokens_too() -> None:
    config = TrainConfig(schedule="linear", epochs=1.0, warmup=0)
    assert lr_at_tokens(31_900, budget(100, epochs=1.0), config) == lr_at(319, 320, config)


# -- the figure --------------------------------------------------------------------------------------------------------


def test_the_figure_names_every_schedule_and_comes_out_the_same_twice(tmp_path: Path) -> None:
    first, second = draw_schedules(), draw_schedules()
    assert first == second
    text = first.decode()
    assert text.startswith("<?xml") and all(f">{name}</text>" in text for name in SHAPES)
    assert "dc:date" not in text
    main(["--to", str(tmp_path / "a.svg")])
    assert (tmp_path / "a.svg").read_bytes() == first


def test_the_figure_of_the_page_is_there_and_says_how_it_was_drawn() -> None:
    committed = (ROOT / "models" / "schedules.svg").read_text(encoding="utf-8")
    assert all(f">{name}</text>" in committed for name in SHAPES)
    assert COMMAND in (ROOT / "models" / "README.md").read_text(encoding="utf-8")


def test_schedules_import_no_torch() -> None:
    code = "import sys, models.schedule, models.scaling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
