"""Learning rates against torch.optim.lr_scheduler, and the edges."""

import pytest
import torch
from torch.optim import lr_scheduler

from models.config import TrainConfig
from models.schedule import lr_at, warmup_steps

TOTAL, WARM, LR = 100, 10, 0.3


def torch_rates(schedule: str, floor: float) -> list[float]:
    """The rates of torch's schedulers: LinearLR as warm-up, then the one of that name."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    after = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "linear": lambda: lr_scheduler.LinearLR(optimizer, 1.0, floor, TOTAL - WARM),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, TOTAL - WARM, floor * LR),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, floor ** (1 / (TOTAL - WARM))),
    }[schedule]
    warm = lr_scheduler.LinearLR(optimizer, 1 / WARM, 1.0, WARM - 1)
    both = lr_scheduler.SequentialLR(optimizer, [warm, after()], [WARM])
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()
    return rates


@pytest.mark.parametrize("floor", [0.1, 0.01, 0.9])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "exponential"])
def test_rates_equal_torchs(schedule: str, floor: float) -> None:
    config = TrainConfig(lr=LR, schedule=schedule, final_lr=floor, warmup=WARM)
    ours = [lr_at(step, TOTAL, config) for step in range(TOTAL)]
    assert ours == pytest.approx(torch_rates(schedule, floor), rel=1e-9)


def test_warmup_stable_decay() -> None:
    config = TrainConfig(lr=1.0, schedule="wsd", final_lr=0.2, warmup=10, decay_fraction=0.4)
    rates = [lr_at(step, 100, config) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:61] == [1.0] * 51
    assert rates[60:] == pytest.approx([1 - 0.8 * step / 40 for step in range(41)])


def test_a_ratio_of_warmup_is_one_of_all_steps() -> None:
    assert warmup_steps(400, TrainConfig(warmup=0.05)) == 20
    assert warmup_steps(400, TrainConfig(warmup=7)) == 7
    assert warmup_steps(400, TrainConfig(warmup=0)) == warmup_steps(400, TrainConfig(warmup=0.0)) == 0


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "exponential", "wsd"])
@pytest.mark.parametrize("warmup", [0, 5, 0.5, 500])
@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_rates_stay_within_their_bounds_and_end_at_the_floor(schedule: str, warmup: float, decay: float) -> None:
    config = TrainConfig(lr=2.0, schedule=schedule, warmup=warmup, final_lr=0.1, decay_fraction=decay)
    rates = [lr_at(step, 50, config) for step in range(60)]
    assert all(0 < rate <= 2.0 for rate in rates)
    if warmup < 50 and schedule != "constant" and not (schedule == "wsd" and decay == 0):
        assert rates[50:] == pytest.approx([0.2] * 10)
    assert lr_at(0, 1, config) > 0
