"""On a CUDA device: every engine trains as the eager one, every precision as a CPU in float32, and nothing is waited for."""

from importlib import import_module
from typing import Any

import pytest
import torch

from tests.cuda.device import CONFIGS, DROPOUT, loss_of, make, one_device
from tests.models.tiny import STEP

pytestmark = one_device


@pytest.mark.parametrize("name", CONFIGS)
def test_a_device_trains_as_a_cpu_does(name: str) -> None:
    """Up to rounding: TF32 products, and half precision where it is asked for."""
    expected = loss_of({**CONFIGS[name], "precision": "float32"}, device="cpu")
    assert loss_of(CONFIGS[name]) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_graph_trains_as_eagerly(name: str) -> None:
    """Activation checkpointing and the second shape of `noise_every` among them."""
    assert loss_of(CONFIGS[name], "graph") == pytest.approx(loss_of(CONFIGS[name]), rel=0.02)


@pytest.mark.parametrize("name", ["plain", "bf16, modern", "again"])
def test_what_is_compiled_trains_as_eagerly(name: str) -> None:
    assert loss_of(CONFIGS[name], "compile", until=20) == pytest.approx(loss_of(CONFIGS[name], until=20), rel=0.02)


def test_a_graph_has_one_recording_a_shape() -> None:
    run = make({"noise_every": 2}, "graph")
    run.advance(6 * STEP)
    assert {shape[0] for shape in run.engine._passes} == {2, 4}  # type: ignore[attr-defined]


def test_a_gradient_is_the_same_whatever_records_it() -> None:
    """Of one pass, where no training adds up what rounding does."""
    found = []
    for engine, config in (("eager", {}), ("graph", {}), ("eager", CONFIGS["again"]), ("graph", CONFIGS["again"])):
        run = make({**config, "layers": 2}, engine)
        ids = run._batch()
        for _ in range(3):  # the first one of a graph is the recording
            run.engine.clear()
            run.engine.gradient(ids, 1.0, 1.0, seed=1)
        found.append(run.flat.grads.clone())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_dropout_follows_from_the_seed(engine: str) -> None:
    def gradient(seed: int, disturbed: bool) -> torch.Tensor:
        run = make(DROPOUT, engine)
        ids = run._batch()
        for number in (3, seed):  # the first is the recording
            if disturbed:
                torch.rand(5, device="cuda")
            run.engine.clear()
            run.engine.gradient(ids, 1.0, 1.0, seed=number)
        return run.flat.grads.clone()

    plain, again, other = gradient(7, False), gradient(7, True), gradient(8, False)
    torch.testing.assert_close(plain, again, rtol=1e-4, atol=1e-6)
    assert (plain - other).abs().max() > 1e-3


def test_what_is_computed_again_drops_the_same_bits() -> None:
    found = []
    for again in (False, True):
        run = make({**DROPOUT, "layers": 2, "activation_checkpointing": again})
        run.engine.gradient(run._batch(), 1.0, 1.0, seed=5)
        found.append(run.flat.grads.clone())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)


def test_a_graph_of_what_is_drawn_again_is_refused() -> None:
    with pytest.raises(ValueError, match="must be eager or compile for activation_checkpointing with dropout"):
        make({**DROPOUT, "activation_checkpointing": True}, "graph")


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lion", "muon", "adafactor"])
def test_a_step_waits_for_nothing(engine: str, optimizer: str) -> None:
    run = make({"precision": "bf16", "optimizer": optimizer}, engine)
    run.advance(20 * STEP)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            run._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_gradient_whose_norm_is_beyond_float32_is_clipped(engine: str) -> None:
    run = make({"clip": 1.0}, engine)
    run.flat.grads.fill_(1e30)
    before = run.flat.weights.clone()
    run.engine.update(1e-3)
    assert run.flat.grads.norm().item() == pytest.approx(1.0, rel=1e-3)
    assert (run.flat.weights - before).abs().max() > 1e-4


def test_every_shape_is_compiled() -> None:
    import_module("torch._dynamo").reset()
    counters: Any = import_module("torch._dynamo.utils").counters["stats"]
    for batch in (1, 2, 3):
        before = counters["unique_graphs"]
        make({"batch": batch}, "compile").advance(2 * 8 * batch)
        assert counters["unique_graphs"] > before
