"""The hand-written backward passes against autograd's, in every form that a config can ask for."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import fused
from models.config import GPTConfig
from models.gpt import ACTIVATIONS, GPT

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"layers": 2, "hidden": 24, "heads": 4, "vocabulary": 19, "context": 12}
FORMS: list[dict[str, Any]] = [
    {},
    {"bias": True, "tie": False},
    {"activation": "gelu_tanh", "bias": True},
    {"activation": "relu2"},
    {"activation": "swiglu", "norm": "rms", "positions": "rotary", "kv_heads": 2, "qk_norm": True},
    {"activation": "swiglu", "bias": True, "parametrisation": "mup", "base_hidden": 8, "base_layers": 1},
    {"dropout": 0.2, "layer_dropout": 0.3, "embedding_dropout": 0.1, "attention_dropout": 0.1},
]


def gradients(form: dict[str, Any], housed: bool) -> list[Tensor]:
    model = GPT(GPTConfig(**SMALL, **form), seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
        weight.grad = torch.full_like(weight, 0.5)  # what lies there is added to
    if housed:
        fused.house(model)
    ids = torch.randint(19, (5, 13), generator=generator)
    noise = torch.Generator().manual_seed(3) if model.config.drops else None
    F.cross_entropy(model(ids[:, :-1], noise).flatten(0, 1), ids[:, 1:].flatten()).backward()
    return [weight.grad - 0.5 for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("housed", [True, False])
def test_gradients_are_those_of_autograd(form: dict[str, Any], housed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = gradients(form, housed)
    monkeypatch.setattr(fused, "suits", lambda x: False)
    theirs = gradients(form, False)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
        assert other.abs().max() > 1e-6


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_feedforward_by_finite_differences(activation: str, bias: bool, residual: bool) -> None:
    """In float64, where torch's gradcheck is sharp."""
    generator = torch.Generator().manual_seed(0)
    inner = 10 if activation == "swiglu" else 5
    shapes = [(2, 3, 4), (inner, 4), (inner,), (4, 5), (4,), (2, 3, 4)]
    x, up, up_bias, down, down_bias, added = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes
    )

    def f(x: Tensor, up: Tensor, down: Tensor, *rest: Tensor) -> Tensor:
        biases = rest[:2] if bias else (None, None)
        return fused._FeedForward.apply(x, up, biases[0], down, biases[1], activation, rest[-1] if residual else None)

    arguments = [x, up, down, *([up_bias, down_bias] if bias else []), *([added] if residual else [])]
    assert torch.autograd.gradcheck(f, arguments)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_linear_equals_torchs(bias: bool, residual: bool) -> None:
    layer, generator = nn.Linear(6, 4, bias=bias), torch.Generator().manual_seed(0)
    x, added = (torch.randn(3, 2, width, generator=generator, requires_grad=True) for width in (6, 4))
    mine = fused.linear(x, layer, added if residual else None)
    other = layer(x) + (added if residual else 0)
    torch.testing.assert_close(mine, other)
    inputs = [x, *layer.parameters(), *([added] if residual else [])]
    for one, two in zip(*(torch.autograd.grad(y.sin().sum(), inputs) for y in (mine, other)), strict=True):
        torch.testing.assert_close(one, two)


def test_a_gradient_goes_home_and_autograd_gets_none() -> None:
    layer, x = nn.Linear(3, 2), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for weight in layer.parameters():
        weight.grad = torch.zeros_like(weight)
    homes = [weight.grad for weight in layer.parameters()]
    fused.house(layer)
    assert torch.autograd.grad(fused.linear(x, layer).sum(), layer.weight, allow_unused=True) == (None,)
    torch.testing.assert_close(homes[0], x.sum(0).expand(2, 3))
    assert homes[1] is not None and homes[1].tolist() == [4.0, 4.0]
    layer.weight.home.fresh = True  # type: ignore[union-attr]
    for _ in range(2):  # written over, then added to
        fused.linear(x, layer).sum().backward()
    torch.testing.assert_close(homes[0], 2 * x.sum(0).expand(2, 3))


def test_what_is_compiled_or_cast_takes_the_plain_path() -> None:
    x = torch.ones(2)
    assert fused.suits(x) and not fused.suits(x.double()) and not fused.suits(x.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not fused.suits(x)
