"""Shapes at their ends: heads of one feature, one token, one word, one layer. They train, or one sentence refuses them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import split
from models.engines.cpu import kernels
from models.engines.cpu.engine import CPUEngine
from models.engines.eager import EagerEngine
from models.engines.engine import Engine
from models.flat import flatten
from models.gpt import GPT
from models.optimizers.base import make_optimizer
from models.optimizers.rows import OPTIMIZERS
from models.precision import without_denormals
from models.predict.cost import parameters
from models.predict.memory import memory

torch.set_num_threads(1)
no_kernels = pytest.mark.skipif(kernels.library() is None, reason="there are no kernels: no C compiler, or HPO_KERNELS=off")


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3, 4, 6]))
    share = draw(st.floats(0.1, 0.5)) if draw(st.booleans()) else 0.0
    return {
        "layers": draw(st.integers(1, 2)), "heads": heads, "hidden": heads * draw(st.integers(1, 5)),
        "kv_heads": draw(st.sampled_from([one for one in range(1, heads + 1) if heads % one == 0])),
        "ff_ratio": draw(st.sampled_from([0.01, 1.0, 2.6])), "vocabulary": draw(st.integers(1, 9)),
        "context": draw(st.integers(1, 9)), "batch": draw(st.integers(1, 3)),
        "positions": draw(st.sampled_from(["learned", "rotary"])), "norm": draw(st.sampled_from(["layer", "rms"])),
        "qk_norm": draw(st.booleans()), "tie": draw(st.booleans()), "bias": draw(st.booleans()),
        "activation": draw(st.sampled_from(["gelu", "gelu_tanh", "relu2", "swiglu"])),
        "dropout": draw(st.sampled_from([0.0, share])), "attention_dropout": draw(st.sampled_from([0.0, share])),
        "layer_dropout": draw(st.sampled_from([0.0, share])), "optimizer": draw(st.sampled_from(sorted(OPTIMIZERS))),
        "init_std": 0.3,
    }  # fmt: skip


def trained(kind: type[Engine], shape: dict[str, Any]) -> tuple[float, torch.Tensor, torch.Tensor]:
    """(loss, gradient, weights after an update)."""
    size, training = split(shape)
    model = GPT(size, seed=1)
    flat = flatten(model)
    engine = kind(model, flat, make_optimizer(flat, training), training)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(size.words, (training.batch, size.context + 1), generator=generator)
    with without_denormals(torch.device("cpu")):
        engine.clear()
        loss = engine.gradient(ids, 1.0, 1.0, seed=3).item()
        gradient = flat.grads.clone()
        engine.update(1e-3)
    return loss, gradient, flat.weights


@no_kernels
@settings(deadline=None, max_examples=150)
@given(shapes())
def test_by_hand_and_through_autograd_any_shape_trains_alike(shape: dict[str, Any]) -> None:
    head = shape["hidden"] // shape["heads"]
    if shape["positions"] == "rotary" and head % 2:
        with pytest.raises(ValueError, match=f"hidden / heads is {head}, but must be even for rotary positions"):
            split(shape)
        return
    (loss, gradient, weights), (theirs, expected, _) = (trained(kind, shape) for kind in (CPUEngine, EagerEngine))
    assert loss == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=2e-3, atol=1e-4 * max(1.0, expected.abs().max().item()))
    assert weights.isfinite().all()
    assert memory(shape).peak >= 12 * parameters(split(shape)[0])
