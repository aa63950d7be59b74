"""Predictions against real steps, and what is stored of a machine."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.calibrate.machine import Machine, machine, operations, predict, rate_at, update_operations
from models.calibrate.steps import Stopwatch, measured_in_child, run_of
from models.engines.cpu import engine as cpu
from models.engines.cpu.kernels import library
from models.optimizers.rows import OPTIMIZERS
from models.predict.memory import Layout, Parts, memory

SMALL = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 65, "context": 64, "batch": 8, "eval_tokens": 512}
FAST: list[dict[str, Any]] = [
    SMALL,
    {
        **SMALL,
        "layers": 4,
        "hidden": 128,
        "positions": "rotary",
        "norm": "rms",
        "activation": "swiglu",
        "optimizer": "muon",
    },
    {**SMALL, "layers": 1, "hidden": 32, "vocabulary": 2000, "dropout": 0.1, "optimizer": "sgd", "micro_batch": 4},
    {**SMALL, "qk_norm": True, "kv_heads": 2, "norm": "rms"},
    {**SMALL, "precision": "bf16"},
    {**SMALL, "activation_checkpointing": True},
    {**SMALL, "vocabulary": 50257, "batch": 2},
    {**SMALL, "noise_every": 1},
]
LARGE = {**SMALL, "layers": 3, "hidden": 256, "vocabulary": 2000, "context": 128, "batch": 16}  # about 100 MB


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return machine(cache=tmp_path_factory.mktemp("machine"))


@pytest.mark.parametrize("config", FAST)
def test_seconds_are_within_a_factor_of_two(here: Machine, config: dict[str, Any]) -> None:
    run = run_of(config, "cpu", 1)
    torch.set_num_threads(1)
    real = Stopwatch(run.device, 1)(run._step)
    assert real / 2 < predict(config, here).seconds_per_step < 2 * real


def test_memory_is_within_a_quarter(here: Machine) -> None:
    real = measured_in_child(LARGE, "cpu", 1, repeats=2)
    assert predict(LARGE, here).peak_bytes - here.base == pytest.approx(real.peak - real.base, rel=0.25)
    assert here.base == pytest.approx(real.base, rel=0.1)


# -- arithmetic on a machine that is made up ---------------------------------------------------------------------------

FLAT = {name: [(1, 1e9)] for name in ("float32", "bf16", "fp16", "kernels")}
ONE = [(1, 1e9)]
EXCESS = dict.fromkeys(FLAT, 1.0)
MADE_UP = Machine("cpu", 1, "2", FLAT, FLAT, ONE, ONE, FLAT, ONE, 1e9, 0.0, 0.0, EXCESS, 10**8, 10**9, True)


def test_a_config_that_is_too_large_does_not_fit() -> None:
    assert predict(SMALL, MADE_UP).fits
    assert not predict({**SMALL, "hidden": 2048, "layers": 12}, MADE_UP).fits
    assert predict(SMALL, MADE_UP).peak_bytes == 10**8 + memory(SMALL).process + MADE_UP.slack


def test_without_kernels_attention_and_memory_are_those_of_autograd() -> None:
    faster = {**FLAT, "kernels": [(1, 2e9)]}
    ours = replace(MADE_UP, attention=faster)
    theirs = replace(ours, kernels=False)
    assert predict(SMALL, theirs).peak_bytes == 10**8 + memory(SMALL, kernels=False).process + MADE_UP.slack
    assert predict(SMALL, theirs).parts["attention"] == pytest.approx(2 * predict(SMALL, ours).parts["attention"])
    normed = {**SMALL, "qk_norm": True}
    assert predict(normed, theirs).parts["attention"] == predict(normed, ours).parts["attention"]


def test_twice_the_batch_takes_twice_the_work() -> None:
    once, twice = (predict({**SMALL, "batch": batch}, MADE_UP).parts for batch in (8, 16))
    assert twice["products"] == pytest.approx(2 * once["products"])
    assert twice["update"] == once["update"]
    cut = predict({**SMALL, "batch": 16, "micro_batch": 8}, MADE_UP).parts
    assert cut["products"] == pytest.approx(twice["products"])


def test_checkpointing_costs_a_third_of_the_blocks() -> None:
    usual, again = (predict({**SMALL, "activation_checkpointing": on}, MADE_UP).parts for on in (False, True))
    assert again["attention"] == pytest.approx(4 / 3 * usual["attention"])


@pytest.mark.parametrize(("every", "micro", "more"), [(1, None, 0.5), (4, None, 0.125), (1, 4, 0.5), (1, 2, 0.25)])
def test_measuring_noise_takes_another_pass_over_half_of_the_batch(every: int, micro: int | None, more: float) -> None:
    """Or over a micro-batch, where that is less."""
    usual, measured = (
        predict({**SMALL, "micro_batch": micro, "noise_every": n}, MADE_UP).parts for n in (0, every)
    )
    for part in ("products", "attention", "elementwise"):
        assert measured[part] == pytest.approx((1 + more) * usual[part])


def test_logits_cost_their_time_and_output_maps_their_weights() -> None:
    slow = replace(MADE_UP, output={**FLAT, "float32": [(1, 1e6)]}, loss=[(1, 1e6)])
    few, many = ({**SMALL, "vocabulary": words, "activation_checkpointing": True} for words in (100, 1000))
    assert predict(many, slow).parts["output"] == pytest.approx(10 * predict(few, slow).parts["output"])
    assert predict(many, slow).parts["loss"] == pytest.approx(10 * predict(few, slow).parts["loss"])
    assert predict({**SMALL, "vocabulary": 100}, slow).parts["loss"] == 0  # by hand it is a kernel of its own


def test_rates_lie_between_their_neighbours() -> None:
    table = [(1, 10.0), (100, 1000.0)]
    assert [rate_at(table, size) for size in (0.1, 1, 10, 100, 1000)] == pytest.approx([10, 10, 100, 1000, 1000])


def test_a_machine_is_measured_once(here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def calibrated(*device: Any) -> Machine:
        asked.append(device)
        return here

    monkeypatch.setattr("models.calibrate.machine.calibrate", calibrated)
    assert machine(cache=tmp_path).overhead == here.overhead
    assert machine(cache=tmp_path) == machine(cache=tmp_path)
    assert asked == [("cpu", 1)]
    monkeypatch.setattr("models.calibrate.machine.version", lambda name: "another torch")
    machine(cache=tmp_path)
    assert len(asked) == 2


def test_a_machine_that_an_earlier_version_stored_is_measured_again(
    here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.calibrate.machine.calibrate", lambda *device: here)
    machine(cache=tmp_path)
    (stored,) = tmp_path.iterdir()
    known = json.loads(stored.read_text())
    del known["kernels"]
    stored.write_text(json.dumps(known))
    assert machine(cache=tmp_path) == here
    assert json.loads(stored.read_text())["kernels"] == here.kernels


# -- operations --------------------------------------------------------------------------------------------------------


class Calls(TorchDispatchMode):
    """Counts the operations of torch; as a library, those of the kernels."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(library(), name)

        def counted(*args: Any) -> Any:
            self.count += 1
            return kernel(*args)

        return counted


EXTRAS: list[dict[str, Any]] = [
    {}, {"norm": "rms", "positions": "rotary"}, {"qk_norm": True, "kv_heads": 1}, {"dropout": 0.1, "bias": True},
    {"activation": "swiglu", "layer_dropout": 0.1}, {"z_loss": 1e-4, "label_smoothing": 0.1}, {"attention_dropout": 0.1},
    {"qk_norm": True, "norm": "rms", "positions": "rotary"}, {"micro_batch": 2}, {"embedding_dropout": 0.1},
    {"activation_checkpointing": True}, {"activation_checkpointing": True, "norm": "rms", "positions": "rotary"},
    *({"optimizer": name} for name in OPTIMIZERS), {"optimizer": "lion", "hypergradient": 0.1, "ema": 0.9},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("extra", [*EXTRAS, {"precision": "bf16", "activation": "swiglu"}])
def test_operations_are_those_that_are_called(
    extra: dict[str, Any], kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels and library() is None:
        pytest.skip("there is no C compiler for the kernels")
    calls = Calls()
    monkeypatch.setattr(cpu, "library", lambda: calls if kernels else None)
    run = run_of({**SMALL, **extra}, "cpu", 1)
    run._step()  # the first one makes buffers, too
    calls.count = 0
    with calls:
        run._step()
    passes = sum(operations(Parts(run.size, run.config, Layout.of(run.config), kernels=kernels)))
    counted = run.accumulation * passes + update_operations(run.size, run.config)
    assert counted == pytest.approx(calls.count, rel=0.1)
