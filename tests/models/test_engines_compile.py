"""The compiled engine trains as the eager one does, and compiles each shape once."""

from collections.abc import Callable
from importlib import import_module

import pytest
import torch

from tests.models.tiny import STEP, make

torch.set_num_threads(1)


@pytest.mark.slow  # compiles C++: half a minute a config
@pytest.mark.parametrize("config", [{}, {"positions": "rotary", "norm": "rms", "activation": "swiglu", "bias": True}])
def test_compiled_it_trains_as_eagerly(config: dict[str, object]) -> None:
    plain, compiled = make(config), make(config, engine="compile")
    for until in (3, 20):
        losses = [run.advance(until * STEP)[0]["loss"] for run in (plain, compiled)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
def test_compiled_dropout_follows_from_the_seed_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, same, other = (make({"dropout": 0.3}, seed, engine="compile") for seed in (0, 0, 1))
    losses = [run.advance(10 * STEP)[0]["loss"] for run in (first, same, other)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_another_learning_rate_recompiles_nothing() -> None:
    torch._dynamo.reset()  # what other tests compiled
    run = make({}, engine="compile")
    counters = torch._dynamo.utils.counters["stats"]  # type: ignore[attr-defined]
    before = counters["unique_graphs"]
    run.advance(2 * STEP)
    compiled = counters["unique_graphs"]
    assert compiled > before
    run.advance(20 * STEP)  # the schedule has another rate at every step
    assert counters["unique_graphs"] == compiled


def test_every_shape_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than torch compiles by itself. What is made of a shape is left to a backend that counts, so that no compiler
    of C++ is needed."""
    dynamo = import_module("torch._dynamo")
    dynamo.reset()
    seen: list[object] = []

    def counting(graph: Callable[..., object], inputs: object) -> Callable[..., object]:
        seen.append(graph)
        return graph

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: torch_compile(f, **{**options, "backend": counting}))
    with dynamo.config.patch(recompile_limit=8, accumulated_recompile_limit=8):
        for batch in range(1, 10):
            before = len(seen)
            run = make({"batch": batch}, engine="compile")
            loss = run.advance(8 * batch)[0]["loss"]
            assert len(seen) > before, f"the shape number {batch} was not compiled"
    assert loss == pytest.approx(make({"batch": 9}).advance(8 * 9)[0]["loss"], rel=1e-4)
