"""Lengths against float64, from the smallest to the largest float32: of gradients, of matrices, of angles."""

from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.config import TrainConfig, split
from models.engines.cpu import kernels
from models.engines.cpu.engine import CPUEngine
from models.engines.distributed.group import ALONE
from models.engines.eager import EagerEngine
from models.engines.engine import Engine
from models.flat import clip, flatten
from models.gpt import GPT
from models.guard import Guard
from models.norms import cosine, length, normalise
from models.optimizers.muon import TINY, orthogonalise
from models.optimizers.rows import OPTIMIZERS
from models.precision import without_denormals
from tests.models.tiny import STEP, make

torch.set_num_threads(1)
CPU = torch.device("cpu")


@st.composite
def vectors(draw: st.DrawFn, lowest: int = -12) -> torch.Tensor:
    """Of a size between 10^lowest and the largest float32."""
    size = draw(st.integers(1, 40))
    numbers = np.random.default_rng(draw(st.integers(0, 10**6))).uniform(-1, 1, size)
    numbers[0] = 1.0
    return torch.tensor(numbers * 10.0 ** draw(st.floats(lowest, 38.4)), dtype=torch.float32)


@given(vectors())
def test_a_length_is_that_of_float64(x: torch.Tensor) -> None:
    for norm in (length, ALONE.norm):
        assert norm(x).item() == pytest.approx(x.double().norm().item(), rel=1e-5)


@given(vectors(), st.sampled_from([1e-3, 1.0, 1e4]))
def test_a_clipped_gradient_has_its_direction_and_its_length(x: torch.Tensor, bound: float) -> None:
    exact = x.double() * min(1.0, bound / (x.double().norm().item() + 1e-6))
    with without_denormals(CPU):
        clip(x, bound)
    torch.testing.assert_close(x.double(), exact, rtol=1e-4, atol=1e-6 * bound)


@pytest.mark.parametrize("bad", [inf, -inf, nan])
def test_what_is_not_finite_is_not_made_finite(bad: float) -> None:
    x = torch.tensor([1.0, bad, 3e38])
    assert not length(x).isfinite()
    clip(x, 1.0)
    assert not x.isfinite().all()


@given(vectors())
def test_a_guard_takes_what_is_finite(x: torch.Tensor) -> None:
    config = TrainConfig(nonfinite="skip", precision="fp16")
    guard = Guard(config)
    scale = guard.scaler.scale if guard.scaler else 1.0
    assert guard.check_step(x.clone(), config, length) and guard.skipped == 0
    assert guard.scaler is not None and guard.scaler.scale == scale
    assert not guard.check_step(torch.full((3,), inf), config, length)


@given(vectors(-3), vectors(-3))
def test_an_angle_is_that_of_float64(a: torch.Tensor, b: torch.Tensor) -> None:
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    exact = torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0, eps=0.0)
    assert cosine(a, b).item() == pytest.approx(exact.item(), abs=1e-5)


@given(vectors(0))
def test_muon_turns_matrices_of_any_size_alike(x: torch.Tensor) -> None:
    x = torch.outer(x, torch.tensor([1.0, -0.5, 0.25]))[None].mT.contiguous()
    exact = x.double() / x.double().norm()
    torch.testing.assert_close(normalise(x, (-2, -1), TINY).double(), exact, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(orthogonalise(x).double(), orthogonalise(exact), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("extra", [{}, {"noise_every": 1}, {"spike": 1e30}, {"nonfinite": "skip"}, {"hypergradient": 0.01}])
def test_a_step_whose_gradient_is_huge_is_the_clipped_one(
    optimizer: str, extra: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """2^100 times the gradient has the same direction, exactly."""
    weights = []
    for size in (1.0, 2.0**100):
        run = make({"optimizer": optimizer, "clip": 1e-3, **extra})
        plain = run.engine.gradient

        def gradient(*arguments: object, size: float = size, plain: object = plain, run: object = run) -> torch.Tensor:
            loss = plain(*arguments)  # type: ignore[operator]
            run.flat.grads.mul_(size)  # type: ignore[attr-defined]
            return loss  # type: ignore[no-any-return]

        monkeypatch.setattr(run.engine, "gradient", gradient)
        start = run.flat.weights.clone()
        metrics = run.advance(5 * STEP)[0]
        assert metrics["skipped"] == 0 and ("noise_every" not in extra or metrics["noise_scale"] > 0)
        weights.append(run.flat.weights - start)
    assert weights[0].norm() > 1e-3
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", [EagerEngine, pytest.param(CPUEngine, marks=pytest.mark.skipif(
    kernels.library() is None, reason="there are no kernels: no C compiler, or HPO_KERNELS=off"))])  # fmt: skip
@given(power=st.integers(-20, 100))
def test_gradients_grow_with_the_loss_and_nothing_else(kind: type[Engine], power: int) -> None:
    """By a power of two exactly: no pass squares a gradient on its way."""
    model_config, training = split({"layers": 1, "hidden": 8, "heads": 2, "vocabulary": 7, "context": 5, "bias": True})
    found = []
    for scale in (1.0, 2.0**power):
        model = GPT(model_config, seed=1)
        flat = flatten(model)
        engine = kind(model, flat, OPTIMIZERS["adamw"].load()(flat, training), training)
        engine.gradient(torch.arange(12).view(2, 6) % 7, 1.0, scale, 0)
        found.append(flat.grads.clone())
    assert torch.equal(found[0] * 2.0**power, found[1])
