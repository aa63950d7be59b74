"""Hypergradient descent of the learning rate: its sign, its size, its bounds, and autograd's own derivative."""

import pytest
import torch
from torch import Tensor, nn

from models.config import TrainConfig
from models.flat import Flat, flatten
from models.norms import cosine
from models.optimizers.base import Optimizer, Rate, make_optimizer
from models.optimizers.hypergradient import HIGHEST, LOWEST
from models.optimizers.rows import OPTIMIZERS
from tests.models.test_flat import make_double

CURVATURE = torch.logspace(0, 1, 48)


def quadratic(lr: float, config: TrainConfig, steps: int) -> tuple[float, float]:
    """(loss, factor) after so many steps on a quadratic of curvatures 1 to 10."""
    flat = flatten(nn.Sequential(nn.Linear(6, 8, bias=False)))
    flat.weights.fill_(1.0)
    optimizer = make_optimizer(flat, config)
    for _ in range(steps):
        flat.grads.copy_(CURVATURE * flat.weights)
        optimizer.step(lr, config)
    factor = optimizer.state["factor"].item() if config.hypergradient else 1.0
    return 0.5 * (CURVATURE * flat.weights.square()).sum().item(), factor


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_that_is_too_small_rises(name: str) -> None:
    plain = TrainConfig(optimizer=name, weight_decay=0.0, momentum=0.0)
    learning = TrainConfig(optimizer=name, weight_decay=0.0, momentum=0.0, hypergradient=0.05)
    before, _ = quadratic(1e-5, plain, 100)
    after, factor = quadratic(1e-5, learning, 100)
    assert factor > 10 and after < before


def test_a_rate_that_is_too_large_falls() -> None:
    config = TrainConfig(optimizer="sgd", weight_decay=0.0, momentum=0.0, hypergradient=0.05)
    loss, factor = quadratic(0.25, config, 100)  # 2 / 10 is where plain descent diverges
    assert factor < 0.8 and loss < 1.0
    assert quadratic(0.25, TrainConfig(optimizer="sgd", weight_decay=0.0, momentum=0.0), 100)[0] > 1e6


def test_the_direction_is_autograds_derivative_of_the_loss_by_the_rate() -> None:
    """One step of SGD, then the loss on other data, differentiated by the rate of that step."""
    config = TrainConfig(optimizer="sgd", weight_decay=0.0, momentum=0.0, hypergradient=0.01)
    model, flat = make_double()
    optimizer = OPTIMIZERS["sgd"].load()(flat, config)
    x, y = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)
    start = {name: weight.detach().clone().requires_grad_() for name, weight in model.named_parameters()}

    def loss(weights: dict[str, Tensor], batch: Tensor) -> Tensor:
        return (torch.func.functional_call(model, weights, (batch,)) - batch[:, :3]).square().mean()

    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(loss(start, x), list(start.values()), create_graph=True)
    moved = {name: weight - lr * grad for (name, weight), grad in zip(start.items(), first, strict=True)}
    second = torch.autograd.grad(loss(moved, y), [lr, *moved.values()])
    hypergradient = second[0].item()  # d loss(w - lr g) / d lr
    norms = [sum(grad.square().sum().item() for grad in grads) ** 0.5 for grads in (first, second[1:])]

    for batch in (x, y):
        flat.grads.zero_()
        loss(dict(model.named_parameters()), batch).backward()
        optimizer.step(0.1, config)
    expected = 1 - config.hypergradient * hypergradient / (norms[0] * norms[1])
    assert optimizer.state["factor"].item() == pytest.approx(expected, rel=1e-12)
    assert abs(expected - 1) > 1e-4


def test_the_first_step_is_that_of_the_schedule() -> None:
    results = []
    for hypergradient in (0.0, 0.5):
        config = TrainConfig(hypergradient=hypergradient)
        _, flat = make_double()
        flat.grads.fill_(1.0)
        OPTIMIZERS["adamw"].load()(flat, config).step(0.1, config)
        results.append(flat.weights)
    torch.testing.assert_close(*results, rtol=1e-12, atol=0)


def make_constant(hypergradient: float) -> tuple[Flat, Optimizer, TrainConfig]:
    config = TrainConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0, hypergradient=hypergradient)
    flat = flatten(nn.Sequential(nn.Linear(6, 8, bias=False)))
    flat.weights.zero_()
    flat.grads.fill_(1.0)
    return flat, OPTIMIZERS["sgd"].load()(flat, config), config


@pytest.mark.parametrize("hypergradient", [0.5, 3.0, 1e300])
def test_the_factor_stays_within_its_bounds(hypergradient: float) -> None:
    flat, optimizer, config = make_constant(hypergradient)
    for _ in range(40):
        optimizer.step(1e-3, config)
    assert optimizer.state["factor"] == HIGHEST
    for _ in range(80):
        flat.grads.neg_()
        optimizer.step(1e-3, config)
    assert optimizer.state["factor"] == LOWEST


def test_a_schedule_at_zero_and_a_gradient_that_is_not_finite_teach_nothing() -> None:
    flat, optimizer, config = make_constant(0.1)
    optimizer.step(0.0, config)
    optimizer.step(1e-3, config)
    assert optimizer.state["factor"] == 1
    flat.grads[0] = float("nan")
    optimizer.step(0.0, config)
    assert optimizer.state["factor"] == 1


def test_a_run_that_learned_no_rate_starts_at_a_factor_of_one() -> None:
    _, parent, config = make_constant(0.0)
    parent.step(1e-3, config)
    _, clone, learning = make_constant(0.1)
    clone.step(1e-3, learning)
    clone.step(1e-3, learning)
    clone.restore(parent.state, parent.updates.item())
    assert clone.state["factor"] == 1 and not clone.state["change"].any() and clone.updates == 1
    assert torch.equal(clone.state["velocity"], parent.state["velocity"])


class Stateless(Optimizer):
    """Plain gradient descent: it has no moments by which it could tell whose state it is given."""

    moments = ()

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        self.flat.weights.sub_(self.flat.grads * lr)


def test_an_optimizer_without_moments_takes_over_no_foreign_rate() -> None:
    config = TrainConfig(hypergradient=0.1)
    flat, parent, _ = make_constant(0.1)
    for _ in range(3):
        parent.step(1e-3, config)
    own, clone = Stateless(flat, config), Stateless(flat, config)
    for _ in range(3):
        own.step(1e-3, config)
    clone.restore(own.state, own.updates.item())
    assert clone.state["factor"] == own.state["factor"] != 1 and clone.updates == 3
    clone.restore(own.state, own.updates.item(), learned=False)
    assert clone.state["factor"] == 1 and clone.updates == 3
    clone.restore(parent.state, parent.updates.item())
    assert parent.state["factor"] != 1
    assert clone.state["factor"] == 1 and not clone.state["change"].any() and clone.updates == 0


def test_cosines_of_tiny_and_huge_vectors() -> None:
    a = torch.tensor([1.0, 1.0])
    for size in (1e-18, 1.0, 1e17):
        assert cosine(a * size, torch.tensor([1.0, 0.0]) * size).item() == pytest.approx(0.5**0.5)
    assert cosine(a, torch.zeros(2)) == 0 and cosine(a * float("inf"), a) == 0
