"""Tapes: what is played back has the bits of what was recorded, and what cannot be played back is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.benchmark.peers.shortcuts.tape import Tape, Unplayable

Function = Callable[[torch.Tensor], torch.Tensor]
CONSTANT = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(4, 3)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_gradient(f: Function, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    value = f(x)
    return value, torch.autograd.grad(value, [x])[0]


def taped(f: Function, x: torch.Tensor) -> Callable[..., tuple[torch.Tensor, ...]]:
    tape = Tape()
    with tape:
        outputs = with_gradient(f, x)
    return tape.compile([x], outputs)


# -- the same bits ------------------------------------------------------------------------------------------------------


def likelihood(x: torch.Tensor) -> torch.Tensor:
    scaled = CONSTANT * x.exp()
    K = (-0.5 * torch.cdist(scaled, scaled, compute_mode="use_mm_for_euclid_dist") ** 2).exp() + torch.eye(4, dtype=torch.float64)
    L = torch.linalg.cholesky(K)
    return L.diagonal().log().sum() + torch.cholesky_solve(CONSTANT[:, :1], L).square().sum()


def written_over(x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros(3, dtype=torch.float64)
    y.add_(x).mul_(2.0)
    return (y.clamp_min_(0.1).exp_() + torch.ones_like(x).add_(x.square())).sum()


def the_same_twice(x: torch.Tensor) -> torch.Tensor:
    return (x.exp() * x.exp() + (CONSTANT + 1.0).sum() * (CONSTANT + 1.0).sum()).sum()


@pytest.mark.parametrize("f", [likelihood, written_over, the_same_twice])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_what_is_played_has_the_bits_of_what_was_recorded(f: Function, seed: int) -> None:
    x, elsewhere = numbers(seed, 3).requires_grad_(), numbers(seed + 1, 3).requires_grad_()
    play = taped(f, x)
    for point in (x, elsewhere, x):
        with torch.no_grad():
            played = play(point)
        assert all(torch.equal(a, b) for a, b in zip(played, with_gradient(f, point), strict=True))


def test_only_what_is_needed_is_done_again() -> None:
    x = numbers(0, 3).requires_grad_()
    tape = Tape()
    with tape:
        value = the_same_twice(x)
        x.sin().cos()
    graph = str(tape.compile([x], [value]).graph)  # type: ignore[attr-defined]
    assert graph.count("aten::exp") == 1
    assert graph.count("aten::sum") == 1  # that of the constants was computed once and for all
    assert "aten::sin" not in graph and "aten::cos" not in graph


def test_a_tape_leaves_what_it_records_as_it_is() -> None:
    x = numbers(0, 3).requires_grad_()
    with Tape():
        recorded = with_gradient(likelihood, x)
    assert all(torch.equal(a, b) for a, b in zip(recorded, with_gradient(likelihood, x), strict=True))


# -- what is refused ----------------------------------------------------------------------------------------------------


def random(x: torch.Tensor) -> torch.Tensor:
    return (x * torch.rand(3, dtype=torch.float64)).sum()


def two_names(x: torch.Tensor) -> torch.Tensor:
    y = x.exp()
    first = y[:1]
    y.add_(1.0)
    return y.sum() + first.sum()


def outside(x: torch.Tensor) -> torch.Tensor:
    return CONSTANT.clone().view(-1)[:3].mul(x).sum() + CONSTANT.mul_(1.0).sum()


@pytest.mark.parametrize(
    ("f", "why"), [(random, "random numbers"), (two_names, "another name"), (outside, "was there before")]
)
def test_what_cannot_be_played_is_refused(f: Function, why: str) -> None:
    tape, x = Tape(), numbers(0, 3).requires_grad_()
    with tape:
        value = f(x)
    with pytest.raises(Unplayable, match=why):
        tape.compile([x], [value])


def test_an_output_that_no_input_made_is_refused() -> None:
    tape, x = Tape(), numbers(0, 3)
    with tape:
        x.exp()
    with pytest.raises(Unplayable, match="not computed"):
        tape.compile([x], [CONSTANT])
