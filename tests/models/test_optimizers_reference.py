"""Every optimizer against a reference: torch's, that of transformers, or a few lines written from the paper."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from models.config import TrainConfig
from models.flat import kind_of
from models.optimizers.base import make_optimizer
from models.optimizers.rows import OPTIMIZERS
from tests.models.test_flat import Tiny, flatten, make_double

Group = dict[str, Any]


class LionReference(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2, line by line."""

    def __init__(self, groups: list[Group], betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": 1.0})
        self.beta1, self.beta2 = betas
        self.m = {weight: torch.zeros_like(weight) for group in groups for weight in group["params"]}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for theta in group["params"]:
                g, m = theta.grad, self.m[theta]
                c = self.beta1 * m + (1 - self.beta1) * g
                theta -= group["lr"] * (torch.sign(c) + group["weight_decay"] * theta)
                self.m[theta] = self.beta2 * m + (1 - self.beta2) * g


def adamw(groups: list[Group], config: TrainConfig) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(groups, betas=(config.beta1, config.beta2), eps=config.eps, foreach=False)]


def sgd(groups: list[Group], config: TrainConfig) -> list[torch.optim.Optimizer]:
    return [torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.nesterov)]


def lion(groups: list[Group], config: TrainConfig) -> list[torch.optim.Optimizer]:
    return [LionReference(groups, (config.beta1, config.beta2))]


def muon(groups: list[Group], config: TrainConfig) -> list[torch.optim.Optimizer]:
    hidden = [group for group in groups if group["kind"] == "hidden"]
    rest = [group for group in groups if group["kind"] != "hidden"]
    ours = torch.optim.Muon(hidden, momentum=config.momentum, nesterov=True, adjust_lr_fn="match_rms_adamw")
    return [ours, *adamw(rest, config)]


def adafactor(groups: list[Group], config: TrainConfig) -> list[torch.optim.Optimizer]:
    optimization = pytest.importorskip("transformers.optimization")
    return [
        optimization.Adafactor(
            groups,
            lr=1.0,
            eps=(config.eps**2, 1e-3),
            clip_threshold=1.0,
            decay_rate=-0.8,
            beta1=config.beta1 or None,
            scale_parameter=False,
            relative_step=False,
            warmup_init=False,
        )
    ]


REFERENCES: dict[str, Callable[[list[Group], TrainConfig], list[torch.optim.Optimizer]]] = {
    "adamw": adamw,
    "sgd": sgd,
    "lion": lion,
    "muon": muon,
    "adafactor": adafactor,
}

CONFIGS = [
    TrainConfig(),
    TrainConfig(beta1=0.0, beta2=0.9, eps=1e-3, weight_decay=0.0),
    TrainConfig(beta2=0.999, weight_decay=1.0),
    TrainConfig(optimizer="sgd"),
    TrainConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0),
    TrainConfig(optimizer="sgd", momentum=0.95, weight_decay=0.3),
    TrainConfig(optimizer="sgd", momentum=0.9, nesterov=True),
    TrainConfig(optimizer="lion"),
    TrainConfig(optimizer="lion", beta1=0.95, beta2=0.98, weight_decay=0.0),
    TrainConfig(optimizer="muon"),
    TrainConfig(optimizer="muon", momentum=0.95, beta1=0.8, beta2=0.95, weight_decay=0.0),
    TrainConfig(optimizer="adafactor", beta1=0.0, eps=1e-15),
    TrainConfig(optimizer="adafactor", beta1=0.0, eps=1e-2, weight_decay=0.0),
    TrainConfig(optimizer="adafactor", beta1=0.9),
]
RATES = [{}, {"hidden": 0.25, "table": 2.0, "vector": 3.0}]


def name_of(value: Any) -> str:
    return value.optimizer if isinstance(value, TrainConfig) else "rates" if value else "plain"


def make_groups(named: list[tuple[str, Tensor]], config: TrainConfig, rates: dict[str, float]) -> list[Group]:
    """A group a kind, as the segments of the flat buffer: decayed by the rate of the schedule times weight_decay."""
    groups = []
    for kind in ("hidden", "table", "vector"):
        rate = rates.get(kind, 1.0)
        decay = 0.0 if kind == "vector" else config.weight_decay / rate
        params = [weight for name, weight in named if kind_of(name, weight) == kind]
        groups.append({"params": params, "kind": kind, "rate": rate, "weight_decay": decay})
    return groups


def make_reference(
    named: list[tuple[str, Tensor]], config: TrainConfig, rates: dict[str, float]
) -> Callable[[float], None]:
    """A function that makes one step of the reference at a learning rate."""
    optimizers = REFERENCES[config.optimizer](make_groups(named, config, rates), config)

    def step(lr: float) -> None:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group["rate"]
            optimizer.step()

    return step


@pytest.fixture
def exact_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.optim.Muon orthogonalises in bfloat16; here in the precision of the weights."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())


def rate_at(step: int, config: TrainConfig) -> float:
    """A rate that changes. Where the reference keeps the rates of the past in its first moment, it must not."""
    if config.optimizer == "adafactor" and config.beta1 > 0:
        return 3e-3
    return (1e-3 if config.optimizer == "lion" else 1e-2) / (1 + step / 50)


@pytest.mark.parametrize("rates", RATES, ids=name_of)
@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_weights_equal_the_references_over_two_hundred_steps(
    config: TrainConfig, rates: dict[str, float], exact_muon: None
) -> None:
    (ours, flat), theirs = make_double(rates=rates), Tiny().double()
    optimizer = make_optimizer(flat, config)
    step = make_reference(list(theirs.named_parameters()), config, rates)
    generator = torch.Generator().manual_seed(1)
    for number in range(200):
        x = torch.randn(8, 5, generator=generator, dtype=torch.float64)
        flat.grads.zero_()
        theirs.zero_grad()
        for model in (ours, theirs):
            (model(x) - x[:, :3]).square().mean().backward()
        optimizer.step(rate_at(number, config), config)
        step(rate_at(number, config))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_float32_weights_stay_within_rounding_of_the_references(config: TrainConfig, exact_muon: None) -> None:
    """The same gradients for both, so that nothing but the update itself is compared."""
    ours, theirs = Tiny(), Tiny()
    optimizer = make_optimizer(flatten(ours), config)
    step = make_reference(list(theirs.named_parameters()), config, {})
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.grad = torch.randn(mine.shape, generator=generator)
            cast(Tensor, mine.grad).copy_(other.grad)
        optimizer.step(1e-3, config)
        step(1e-3)
    tolerance = 2e-5 if config.optimizer == "muon" else 2e-6  # small singular values grow 485-fold, rounding as well
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stacked_matrices_are_updated_as_if_they_were_parameters_of_their_own(name: str, exact_muon: None) -> None:
    config = TrainConfig(optimizer=name, beta1=0.0)
    ours, flat = make_double(splits=True)
    named = []
    for key, weight in Tiny().double().named_parameters():
        parts = weight.detach().split(flat.splits.get(key, (weight.size(0),)))
        named += [(key, nn.Parameter(part.clone())) for part in parts]
    optimizer, step = OPTIMIZERS[name].load()(flat, config), make_reference(named, config, {})
    generator = torch.Generator().manual_seed(1)
    for number in range(20):
        for _, weight in named:
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        for key, mine in ours.named_parameters():
            grads = [cast(Tensor, weight.grad) for other, weight in named if other == key]
            cast(Tensor, mine.grad).copy_(torch.cat(grads))
        optimizer.step(1e-2 / (1 + number), config)
        step(1e-2 / (1 + number))
    for key, mine in ours.named_parameters():
        expected = torch.cat([weight for other, weight in named if other == key])
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-11)


def test_beta2_caps_adafactors_memory() -> None:
    """Vectors show it plainly: with a cap of 0.5, steps from the third on weight the newest squares by one half."""
    config = TrainConfig(optimizer="adafactor", beta1=0.0, beta2=0.5, eps=1e-15)
    _, flat = make_double()
    optimizer = OPTIMIZERS["adafactor"].load()(flat, config)
    squares, generator = 0.0, torch.Generator().manual_seed(1)
    for step in range(1, 9):
        gradient = torch.randn((), generator=generator, dtype=torch.float64)
        flat.grads.fill_(gradient)
        optimizer.step(1e-3, config)
        beta2 = min(0.5, 1 - step**-0.8)
        squares = beta2 * squares + (1 - beta2) * gradient.item() ** 2
        torch.testing.assert_close(
            optimizer.state["squares"], torch.full_like(optimizer.state["squares"], squares), rtol=1e-12, atol=0
        )
