"""What holds for every optimizer: everything in OPTIMIZERS passes by being listed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.config import TrainConfig
from models.flat import Flat, flatten
from models.optimizers.base import Optimizer, make_optimizer
from models.optimizers.lion import PIECE
from models.optimizers.rows import OPTIMIZERS
from tests.models.test_flat import Tiny, make_double, padding

RATES = {"hidden": 0.25, "table": 2.0, "vector": 3.0}
CONFIGS = [
    TrainConfig(optimizer=name, hypergradient=hypergradient) for name in OPTIMIZERS for hypergradient in (0.0, 0.01)
]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.optimizer + " learning its rate" * (config.hypergradient > 0))
def config(request: pytest.FixtureRequest) -> TrainConfig:
    return request.param


def make(config: TrainConfig, splits: bool = True) -> tuple[Tiny, Flat, Optimizer]:
    model = Tiny(splits)
    flat = flatten(model, RATES)
    return model, flat, make_optimizer(flat, config)


def gradient(flat: Flat, number: int, size: float = 1.0) -> None:
    """The gradient of step `number`: random, zero in the padding."""
    generator = torch.Generator().manual_seed(number)
    flat.grads.copy_(torch.randn(flat.grads.shape, generator=generator) * size).masked_fill_(padding(flat), 0.0)


def advance(flat: Flat, optimizer: Optimizer, config: TrainConfig, start: int, stop: int) -> None:
    for number in range(start, stop):
        gradient(flat, number)
        optimizer.step(1e-2 / (1 + number), config)


def test_state_is_named_and_counted(config: TrainConfig) -> None:
    _, flat, optimizer = make(config)
    assert set(optimizer.moments) <= set(optimizer.state)
    assert ("factor" in optimizer.state) == ("change" in optimizer.state) == (config.hypergradient > 0)
    assert all(value.dtype == torch.float32 for value in [*optimizer.state.values(), optimizer.updates])
    advance(flat, optimizer, config, 0, 3)
    assert optimizer.updates.shape == () and optimizer.updates.item() == 3


def test_a_rate_given_as_a_tensor_is_the_rate_given_as_a_number(config: TrainConfig) -> None:
    results = []
    for kind in (float, torch.tensor):
        _, flat = make_double(splits=True, rates=RATES)
        optimizer = make_optimizer(flat, config)
        for number in range(20):
            gradient(flat, number)
            lr = 1e-2 / (1 + number)
            optimizer.step(torch.tensor(lr, dtype=torch.float64) if kind is torch.tensor else lr, config)
        results.append(flat.weights)
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def test_a_step_reads_no_tensor_back(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the meta device have no values: whoever asks for one, or branches on one, raises."""

    def fused(*lists: list[Tensor], lr: Tensor, **numbers: float) -> None:
        assert lr.is_meta and all(tensor.is_meta for tensors in lists for tensor in tensors)

    for name in ("_fused_adamw_", "_fused_sgd_"):  # torch has none for this device
        monkeypatch.setattr(torch, name, fused)
    flat = flatten(Tiny(True), RATES)
    meta = Flat(flat.weights.to("meta"), flat.grads.to("meta"), flat.segments, flat.places, flat.splits)
    optimizer = make_optimizer(meta, config)
    optimizer.step(torch.empty((), device="meta"), config)


def test_state_and_updates_continue_bit_for_bit(config: TrainConfig) -> None:
    _, flat, optimizer = make(config)
    advance(flat, optimizer, config, 0, 7)
    saved = {name: value.clone() for name, value in optimizer.state.items()}
    weights, updates = flat.weights.clone(), optimizer.updates.item()
    advance(flat, optimizer, config, 7, 12)
    _, other, resumed = make(config)
    advance(other, resumed, config, 3, 5)  # what is there before must not matter
    other.weights.copy_(weights)
    resumed.restore(saved, updates)
    advance(other, resumed, config, 7, 12)
    assert torch.equal(flat.weights, other.weights)
    assert all(torch.equal(value, resumed.state[name]) for name, value in optimizer.state.items())
    assert torch.equal(optimizer.updates, resumed.updates)


def test_hyperparameters_are_those_of_each_step(config: TrainConfig) -> None:
    """An optimizer made with other hyperparameters, and a parent that trained with them, leave no trace."""
    other = replace(
        config, beta1=0.5, beta2=0.6, eps=0.1, momentum=0.3, weight_decay=0.0, hypergradient=config.hypergradient * 2
    )
    _, flat, optimizer = make(config)
    _, second, made_otherwise = make(other)
    advance(flat, optimizer, config, 0, 5)
    advance(second, made_otherwise, config, 0, 5)
    assert torch.equal(flat.weights, second.weights)


def test_another_optimizers_state_starts_from_zero(config: TrainConfig) -> None:
    for name in OPTIMIZERS:
        if name == config.optimizer:
            continue
        parent = replace(config, optimizer=name)
        _, flat, optimizer = make(parent)
        advance(flat, optimizer, parent, 0, 3)
        _, fresh_flat, fresh = make(config)
        _, other, clone = make(config)
        clone.restore(optimizer.state, optimizer.updates.item())
        advance(fresh_flat, fresh, config, 0, 3)
        advance(other, clone, config, 0, 3)
        assert torch.equal(fresh_flat.weights, other.weights)


def test_padding_stays_zero(config: TrainConfig) -> None:
    _, flat, optimizer = make(config)
    advance(flat, optimizer, config, 0, 20)
    assert not flat.weights[padding(flat)].any()
    assert not any(
        value[padding(flat)].any() for value in optimizer.state.values() if value.shape == flat.weights.shape
    )


def test_gradients_are_only_read(config: TrainConfig) -> None:
    _, flat, optimizer = make(config)
    gradient(flat, 0)
    before = flat.grads.clone()
    optimizer.step(1e-2, config)
    assert torch.equal(before, flat.grads)


def test_vectors_do_not_decay_and_matrices_do_by_rate_times_decay(config: TrainConfig) -> None:
    """Without a gradient nothing but the decay is left; the rates of segments are no part of it."""
    config = replace(config, weight_decay=0.5)
    _, flat, optimizer = make(config)
    before = flat.weights.clone()
    flat.grads.zero_()
    optimizer.step(0.1, config)
    for segment in flat.segments:
        part = slice(segment.start, segment.stop)
        torch.testing.assert_close(flat.weights[part], before[part] * (0.95 if segment.decayed else 1.0))


def test_rates_multiply_the_learning_rate(config: TrainConfig) -> None:
    config = replace(config, weight_decay=0.0)
    _, flat, optimizer = make(config)
    plain_model = Tiny(True)
    plain = flatten(plain_model)
    reference = make_optimizer(plain, config)
    before = flat.weights.clone()
    for each, one in ((flat, optimizer), (plain, reference)):
        gradient(each, 0)
        one.step(1e-2, config)
    for segment in flat.segments:
        part = slice(segment.start, segment.stop)
        moved, expected = (each.weights[part] - before[part] for each in (flat, plain))
        torch.testing.assert_close(moved, expected * RATES[segment.kind], rtol=1e-3, atol=1e-6)


def test_a_small_regression_is_learned(config: TrainConfig) -> None:
    model, flat, optimizer = make(config)
    rate = {"sgd": 0.03, "lion": 1e-3}.get(config.optimizer, 1e-2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 5, generator=generator)
    y = x @ torch.randn(5, 3, generator=generator)

    def loss() -> Tensor:
        flat.grads.zero_()
        value = (model(x) - y).square().mean()
        value.backward()
        return value.detach()

    first = loss()
    for _ in range(200):
        optimizer.step(rate, config)
        last = loss()
    assert last < first / 3


@pytest.mark.parametrize("lr", [0.0, 1e300, 1.7e308])
def test_absurd_rates_do_not_raise(config: TrainConfig, lr: float) -> None:
    config = replace(config, weight_decay=0.1 if lr < 1e308 else 1e308)
    _, flat, optimizer = make(config)
    before = flat.weights.clone()
    for number in range(3):
        gradient(flat, number)
        optimizer.step(lr, config)
        optimizer.step(torch.tensor(lr), config)
    assert torch.equal(before, flat.weights) if lr == 0 else not flat.weights.abs().max() < 1e6  # nan diverges too


def test_the_same_model_without_blocks_or_vectors(config: TrainConfig) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 3, bias=False))
    flat = flatten(model)
    optimizer = make_optimizer(flat, config)
    before = flat.weights.clone()
    advance(flat, optimizer, config, 0, 2)
    assert not torch.equal(before, flat.weights)


def test_lion_in_pieces_is_lion() -> None:
    """A buffer longer than a piece, against the formula on the whole of it."""
    config = TrainConfig(optimizer="lion")
    flat = flatten(torch.nn.Sequential(torch.nn.Linear(PIECE // 100, 250)))
    optimizer = OPTIMIZERS["lion"].load()(flat, config)
    before = flat.weights.clone()
    gradient(flat, 0)
    optimizer.step(1e-2, config)
    decay = torch.zeros_like(before)
    decay[: flat.segments[0].stop] = 0.1
    torch.testing.assert_close(flat.weights, before - 1e-2 * (flat.grads.sign() + decay * before))
    torch.testing.assert_close(optimizer.state["sign_momentum"], 0.01 * flat.grads)
