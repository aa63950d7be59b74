"""The flat optimizers against torch's, over many steps of a changing rate."""

from typing import Any

import pytest
import torch
from torch import nn

from models.config import TrainConfig
from models.optim import OPTIMIZERS, clip, flatten

torch.set_num_threads(1)


def make_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 3, bias=False), nn.Linear(3, 1))


def make_torch(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [w for w in model.parameters() if w.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [w for w in model.parameters() if w.dim() < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=1.0, betas=(config.beta1, config.beta2), eps=config.eps)


CONFIGS = [
    TrainConfig(),
    TrainConfig(beta1=0.0, beta2=0.9, eps=1e-3, weight_decay=0.0),
    TrainConfig(beta2=0.999, weight_decay=1.0),
    TrainConfig(optimizer="sgd"),
    TrainConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0),
    TrainConfig(optimizer="sgd", momentum=0.99, weight_decay=0.3),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_weights_equal_torchs_over_two_hundred_steps(config: TrainConfig) -> None:
    ours, theirs = make_model().double(), make_model().double()
    flat = flatten(ours)
    # In float64 the two must agree far below float32's rounding: any difference in formula would show.
    flat = type(flat)(flat.weights.double(), flat.grads.double(), flat.matrices, flat.places)
    for weight, (offset, shape) in zip(
        ours.parameters(), (flat.places[n] for n, _ in ours.named_parameters()), strict=True
    ):
        part = slice(offset, offset + weight.numel())
        weight.data, weight.grad = flat.weights[part].view(shape), flat.grads[part].view(shape)
    optimizer, reference = OPTIMIZERS[config.optimizer](flat), make_torch(theirs, config)
    generator = torch.Generator().manual_seed(1)
    for step in range(200):
        rate = 1e-2 / (1 + step / 50)
        x = torch.randn(8, 5, generator=generator, dtype=torch.float64)
        flat.grads.zero_()
        reference.zero_grad()
        ours(x).square().mean().backward()
        theirs(x).square().mean().backward()
        optimizer.step(rate, config)
        for group in reference.param_groups:
            group["lr"] = rate
        reference.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_float32_weights_stay_within_rounding_of_torchs(config: TrainConfig) -> None:
    """The same gradients for both, so that nothing but the update itself is compared."""
    ours, theirs = make_model(), make_model()
    flat = flatten(ours)
    optimizer, reference = OPTIMIZERS[config.optimizer](flat), make_torch(theirs, config)
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            gradient = torch.randn(mine.shape, generator=generator)
            assert mine.grad is not None
            mine.grad.copy_(gradient)
            other.grad = gradient
        optimizer.step(1e-3, config)
        for group in reference.param_groups:
            group["lr"] = 1e-3
        reference.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_flattening_changes_no_weight_and_shares_memory() -> None:
    model, plain = make_model(), make_model()
    flat = flatten(model)
    for (name, weight), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        offset, shape = flat.places[name]
        assert torch.equal(weight, other) and weight.shape == shape
        assert weight.data_ptr() == flat.weights.data_ptr() + 4 * offset
        assert weight.grad is not None and weight.grad.data_ptr() == flat.grads.data_ptr() + 4 * offset
        assert offset % 16 == 0 and (offset < flat.matrices) == (weight.dim() >= 2)


@pytest.mark.parametrize("bound", [0.0, 0.1, 1e6])
def test_clipping_equals_torchs(bound: float) -> None:
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    weight = torch.zeros(1000)
    weight.grad = gradient.clone()
    if bound:
        torch.nn.utils.clip_grad_norm_([weight], bound)
    clip(gradient, bound)
    torch.testing.assert_close(gradient, weight.grad, rtol=1e-6, atol=0)
