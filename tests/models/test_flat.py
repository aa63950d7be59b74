"""The flat buffers: what lies where, what decays, what shares memory; clipping."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.flat import KINDS, Flat, Segment, clip, flatten, scalar

torch.set_num_threads(1)


class Block(nn.Module):
    """Three stacked matrices, one tall, one wide, a norm and biases."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 18, bias=False)
        self.up = nn.Linear(6, 10)
        self.down = nn.Linear(10, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        return x + self.down(torch.tanh(self.up(q * k + v)))


class Tiny(nn.Module):
    """All kinds of parameters that a GPT has."""

    def __init__(self, splits: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.tokens = nn.Linear(5, 6, bias=False)
            self.blocks = nn.ModuleList(Block() for _ in range(3))
            self.norm = nn.LayerNorm(6)
            self.head = nn.Linear(6, 3)
        if splits:
            self.splits = {f"blocks.{i}.qkv.weight": (6, 6, 6) for i in range(3)}

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def make_double(splits: bool = False, rates: dict[str, float] | None = None) -> tuple[Tiny, Flat]:
    """A float64 model and its flat buffers: any difference in formula shows there, far below float32's rounding."""
    model = Tiny(splits).double()
    flat = flatten(model, rates or {})
    weights = torch.zeros_like(flat.weights, dtype=torch.float64)
    grads = torch.zeros_like(weights)
    for (name, weight), exact in zip(model.named_parameters(), Tiny(splits).double().parameters(), strict=True):
        offset, shape = flat.places[name]
        part = slice(offset, offset + weight.numel())
        weights[part] = exact.detach().reshape(-1)
        weight.grad = None  # float32, as flatten left it
        weight.data = weights[part].view(shape)
        weight.grad = grads[part].view(shape)
    return model, Flat(weights, grads, flat.segments, flat.places, flat.splits)


def padding(flat: Flat) -> Tensor:
    """True where the buffer holds no parameter."""
    mask = torch.ones_like(flat.weights, dtype=torch.bool)
    for offset, shape in flat.places.values():
        mask[offset : offset + torch.Size(shape).numel()] = False
    return mask


def test_flattening_changes_no_weight_and_shares_memory() -> None:
    model, plain = Tiny(), Tiny()
    flat = flatten(model)
    assert flat.weights.dtype == flat.grads.dtype == torch.float32
    for (name, weight), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        offset, shape = flat.places[name]
        assert torch.equal(weight, other) and weight.shape == shape
        assert weight.data_ptr() == flat.weights.data_ptr() + 4 * offset
        assert weight.grad is not None and weight.grad.data_ptr() == flat.grads.data_ptr() + 4 * offset
        assert offset % 16 == 0
    assert not flat.weights[padding(flat)].any() and padding(flat).any()


def test_segments_cover_the_buffer_in_the_order_of_kinds() -> None:
    flat = flatten(Tiny(), {"hidden": 0.5, "vector": 2.0})
    assert tuple(one.kind for one in flat.segments) == KINDS
    assert [one.decayed for one in flat.segments] == [True, True, False]
    assert [one.rate for one in flat.segments] == [0.5, 1.0, 2.0]
    assert flat.segments[0].start == 0 and flat.segments[-1].stop == flat.weights.numel()
    assert all(left.stop == right.start for left, right in zip(flat.segments, flat.segments[1:], strict=False))
    for name, (offset, shape) in flat.places.items():
        kind = "vector" if len(shape) == 1 else "hidden" if name.startswith("blocks.") else "table"
        assert next(one.kind for one in flat.segments if one.start <= offset < one.stop) == kind


def test_a_kind_without_parameters_has_no_segment() -> None:
    flat = flatten(nn.Sequential(nn.Linear(5, 7, bias=False)))
    assert flat.segments == (Segment("table", 0, 48, True, 1.0),)


@pytest.mark.parametrize("rates", [{"embedding": 1.0}, {"hidden": 0.0}, {"table": -1.0}, {"vector": float("nan")}])
def test_rates_that_make_no_sense_are_refused_by_name(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(rates))):
        flatten(Tiny(), rates)


@pytest.mark.parametrize("splits", [{"nothing": (1,)}, {"blocks.0.qkv.weight": (6, 6)}])
def test_splits_that_do_not_fit_are_refused_by_name(splits: Any) -> None:
    model = Tiny()
    model.splits = splits
    with pytest.raises(ValueError, match=next(iter(splits))):
        flatten(model)


def test_splits_are_those_of_the_model() -> None:
    assert flatten(Tiny()).splits == {}
    assert flatten(Tiny(splits=True)).splits["blocks.1.qkv.weight"] == (6, 6, 6)


def test_a_step_shrinks_by_rate_times_decay_whatever_the_rate_of_the_segment() -> None:
    assert Segment("hidden", 0, 16, True, rate=0.25).decay(0.1) * 0.25 == pytest.approx(0.1)
    assert Segment("vector", 0, 16, False, rate=0.25).decay(0.1) == 0


def test_scalars_stay_within_float32() -> None:
    assert scalar(0.5) == 0.5 and scalar(1e300) == 3e38 and scalar(-float("inf")) == -3e38


@pytest.mark.parametrize("bound", [0.0, 0.1, 1e6])
def test_clipping_equals_torchs(bound: float) -> None:
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    weight = torch.zeros(1000)
    weight.grad = gradient.clone()
    if bound:
        torch.nn.utils.clip_grad_norm_([weight], bound)
    clip(gradient, bound)
    torch.testing.assert_close(gradient, weight.grad, rtol=1e-6, atol=0)
