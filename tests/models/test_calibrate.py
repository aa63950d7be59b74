"""Predictions against real steps, and what is stored of a machine."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.calibrate import calibration
from models.calibrate.command import main
from models.calibrate.comparison import random_config
from models.calibrate.machine import Machine, rate_at
from models.calibrate.seconds import predict
from models.calibrate.steps import Measured, Stopwatch, measure_in_child, run_of
from models.calibrate.store import machine, machine_path, write_machine
from models.config import split
from models.predict.activations import ActivationTerms
from models.predict.cost import cost
from models.predict.memory import memory
from models.predict.traffic import attention_traffic, autograd_bytes

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
    """Without fp16, which takes some CPUs seconds a product."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(calibration.PRECISIONS, "fp16")
        return machine(cache=tmp_path_factory.mktemp("machine"))


@pytest.mark.slow
def test_every_precision_is_measured() -> None:
    found = calibration.calibrate()
    assert {*found.matmul} == {*found.output} == {*found.logits} == {*calibration.PRECISIONS} == {*found.excess} - {"kernels"}
    assert all(rate > 0 for name in ("matmul", "output", "packing", "logits") for _, rate in getattr(found, name)["fp16"])


@pytest.mark.parametrize("config", FAST)
def test_seconds_are_within_a_factor_of_two(here: Machine, config: dict[str, Any]) -> None:
    run = run_of(config, "cpu", 1)
    torch.set_num_threads(1)
    real = Stopwatch(run.device, 1)(run._step)
    assert real / 2 < predict(config, here).seconds_per_step < 2 * real


def test_memory_is_within_a_quarter(here: Machine) -> None:
    real = measure_in_child(LARGE, "cpu", 1, repeats=2)
    assert predict(LARGE, here).peak_bytes - here.base == pytest.approx(real.peak - real.base, rel=0.25)
    assert here.base == pytest.approx(real.base, rel=0.1)


# -- arithmetic on a machine that is made up ---------------------------------------------------------------------------

FLAT = {name: [(1, 1e9)] for name in ("float32", "bf16", "fp16", "kernels")}
ONE = [(1, 1e9)]
EXCESS = dict.fromkeys(FLAT, 1.0)
BOTH = {"autograd": ONE, "kernels": ONE}
CODE = {"float32": 0, "bf16": 10**7, "fp16": 2 * 10**7}
MADE_UP = Machine(
    "cpu", 1, "2", FLAT, FLAT, BOTH, ONE, FLAT, FLAT, FLAT, BOTH, 1e9, 0.0, 0.0, EXCESS, CODE, 10**8, 10**9, True
)  # fmt: skip


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


def test_checkpointing_costs_a_third_of_the_blocks_and_their_elementwise_work_once_more() -> None:
    asked = {**SMALL, "norm": "rms", "positions": "rotary"}
    theirs = replace(MADE_UP, kernels=False)
    usual, again = (predict({**asked, "activation_checkpointing": on}, theirs).parts for on in (False, True))
    assert again["attention"] == pytest.approx(4 / 3 * usual["attention"])
    assert 1.2 < again["elementwise"] / usual["elementwise"] < 1.45


def test_elementwise_work_through_autograd_is_what_its_operations_move() -> None:
    config = {**SMALL, "precision": "bf16"}
    assert predict(config, MADE_UP).parts["elementwise"] == pytest.approx(autograd_bytes(ActivationTerms(*split(config))) / 1e9)


def test_norms_of_queries_and_keys_go_through_autograd_by_hand_too() -> None:
    usual, normed = ({**SMALL, "qk_norm": on, "norm": "rms"} for on in (False, True))
    parts = ActivationTerms(*split(normed))
    moved = parts.tokens * parts.config.layers * sum(attention_traffic(parts))
    more = predict(normed, MADE_UP).parts["elementwise"] - predict(usual, MADE_UP).parts["elementwise"]
    logs = 3 * 4 * parts.tokens * parts.config.layers * parts.config.heads  # of the attention by hand, which are not kept
    assert more == pytest.approx((moved - logs) / 1e9)


@pytest.mark.parametrize(("every", "micro", "more"), [(1, None, 0.5), (4, None, 0.125), (1, 4, 0.5), (1, 2, 0.25)])
def test_measuring_noise_takes_another_pass_over_half_of_the_batch(every: int, micro: int | None, more: float) -> None:
    """Or over a micro-batch, where that is less."""
    usual, measured = (
        predict({**SMALL, "micro_batch": micro, "noise_every": n}, MADE_UP).parts for n in (0, every)
    )
    for part in ("products", "attention", "elementwise"):
        assert measured[part] == pytest.approx((1 + more) * usual[part])


def test_logits_and_output_maps_have_rates_of_their_own() -> None:
    slow = replace(MADE_UP, packing={**FLAT, "float32": [(1, 1e6)]}, loss={"autograd": [(1, 1e6)], "kernels": [(1, 1e7)]})
    few, many = ({**SMALL, "vocabulary": words, "activation_checkpointing": True} for words in (100, 1000))
    told = [predict(config, slow).parts for config in (few, many)]
    assert told[1]["output"] == pytest.approx(10 * told[0]["output"])
    assert told[1]["loss"] == pytest.approx(10 * told[0]["loss"])
    assert predict({**SMALL, "vocabulary": 100}, slow).parts["loss"] == pytest.approx(told[0]["loss"] / 10)  # by hand


def test_a_narrow_model_with_many_words_waits_for_its_logits() -> None:
    """50k words at width 16: the products go through logits that no cache holds, whatever their FLOPs."""
    slow = replace(MADE_UP, logits={**FLAT, "float32": [(10**6, 1e12), (10**7, 1e9)]})
    narrow = {**SMALL, "hidden": 16, "vocabulary": 50257, "batch": 4}
    logits = 4 * 64 * 50257
    weights = 50257 * 16
    assert predict(narrow, slow).parts["output"] == pytest.approx(logits / 1e9 + weights / 1e9)
    twice = predict({**narrow, "batch": 8}, slow).parts["output"]
    assert twice == pytest.approx(2 * logits / 1e9 + weights / 1e9)  # weights are arranged once, whatever the tokens
    few = predict({**narrow, "vocabulary": 65}, slow).parts["output"]
    assert few < 1e-3 * predict(narrow, slow).parts["output"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_has_an_excess_and_code_of_its_own(precision: str) -> None:
    asked = {**SMALL, "precision": precision}
    slower = replace(MADE_UP, excess={**EXCESS, precision: 2.0})
    once, twice = (predict(asked, on).parts for on in (MADE_UP, slower))
    assert twice["products"] == pytest.approx(2 * once["products"])
    assert predict(asked, MADE_UP).peak_bytes == 10**8 + memory(asked).process + MADE_UP.slack + CODE[precision]


def test_by_hand_and_through_autograd_a_step_has_its_own_excess() -> None:
    slower = replace(MADE_UP, excess={**EXCESS, "kernels": 3.0})
    assert predict(SMALL, slower).parts["products"] == pytest.approx(3 * predict(SMALL, MADE_UP).parts["products"])
    asked = {**SMALL, "activation_checkpointing": True}
    assert predict(asked, slower) == predict(asked, MADE_UP)


def test_rates_lie_between_their_neighbours() -> None:
    table = [(1, 10.0), (100, 1000.0)]
    assert [rate_at(table, size) for size in (0.1, 1, 10, 100, 1000)] == pytest.approx([10, 10, 100, 1000, 1000])


def test_a_machine_is_measured_once(here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def calibrated(*device: Any) -> Machine:
        asked.append(device)
        return here

    monkeypatch.setattr("models.calibrate.store.calibrate", calibrated)
    assert machine(cache=tmp_path).overhead == here.overhead
    assert machine(cache=tmp_path) == machine(cache=tmp_path)
    assert asked == [("cpu", 1)]
    monkeypatch.setattr("models.calibrate.store.version", lambda name: "another torch")
    machine(cache=tmp_path)
    assert len(asked) == 2


def test_a_machine_that_an_earlier_version_stored_is_measured_again(
    here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.calibrate.store.calibrate", lambda *device: here)
    machine(cache=tmp_path)
    (stored,) = tmp_path.iterdir()
    known = json.loads(stored.read_text())
    del known["kernels"]
    stored.write_text(json.dumps(known))
    assert machine(cache=tmp_path) == here
    assert json.loads(stored.read_text())["kernels"] == here.kernels


# -- the configs of the check, and the command -------------------------------------------------------------------------


def test_random_configs_have_every_kind_that_was_predicted_badly() -> None:
    rng = random.Random(0)
    configs = [random_config(rng) for _ in range(100)]
    for config in configs:
        split(config)
    wanted = {
        "50k words at width 16": lambda c: c["vocabulary"] == 50257 and c["hidden"] == 16,
        "below 70k parameters": lambda c: cost(c).parameters < 70_000,
        "fp16": lambda c: c.get("precision") == "fp16",
        "bf16": lambda c: c.get("precision") == "bf16",
        "checkpointing": lambda c: "activation_checkpointing" in c,
        "noise at every step": lambda c: c.get("noise_every") == 1,
    }
    missing = [name for name, is_one in wanted.items() if not any(map(is_one, configs))]
    assert missing == []


def test_the_command_says_what_it_measured_and_where_it_is(
    here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    monkeypatch.setattr("models.calibrate.store.calibrate", lambda *device: here)
    main([])
    first = capsys.readouterr().out.splitlines()
    assert first[0].startswith("Speed and memory of cpu with 1 thread and torch")
    assert first[0].endswith(f"Measured now and written to {machine_path()}") and machine_path().exists()
    assert any("GFLOP/s" in line for line in first) and any("microseconds" in line for line in first)
    main([])
    again = capsys.readouterr().out.splitlines()
    assert again[0].endswith(f"Measured before and read from {machine_path()}") and again[1:] == first[1:]
    main(["--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(machine_path().read_text())


def test_the_check_prints_predictions_beside_measurements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    monkeypatch.setattr("models.calibrate.store.version", lambda name: "2")
    monkeypatch.setattr("models.calibrate.comparison.measure_in_child", lambda *asked: Measured(0.01, 10**8, 3 * 10**8))
    write_machine(machine_path(), MADE_UP)
    main(["--check", "--count", "3", "--seed", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Predicted and measured steps of 3 random configs of seed 2 on cpu")
    assert len(lines) == 2 + 2 + 3 + 1 + 2 and "median" in lines[-1] and lines[-2].startswith("seconds a step")
    main(["--check", "--count", "3", "--seed", "2", "--json"])
    found = json.loads(capsys.readouterr().out)
    rng = random.Random(2)
    assert [one["config"] for one in found["configs"]] == [random_config(rng) for _ in range(3)]
    assert found["summary"]["seconds"]["count"] == 3
