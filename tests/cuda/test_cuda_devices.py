"""On several CUDA devices: one that is not the first, and one process a device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.device import open_device, use_device
from tests.cuda.device import CONFIGS, COUNT, DROPOUT, loss_of, make, one_device, two_devices
from tests.models.tiny import STEP

ROOT = Path(__file__).resolve().parents[2]


@one_device
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=f"device is 'cuda:{COUNT}', but this machine has {COUNT} CUDA devices"):
        make({}, device=f"cuda:{COUNT}")


@one_device
def test_a_device_may_be_named_by_its_number() -> None:
    assert loss_of({}, device="cuda:0") == pytest.approx(loss_of({}), rel=1e-3)


@two_devices
def test_a_device_is_current_while_a_run_works_on_it() -> None:
    with use_device(open_device("cuda:1")):
        assert torch.cuda.current_device() == 1
    assert torch.cuda.current_device() == 0


@two_devices
@pytest.mark.parametrize("engine", ["eager", "graph", "compile"])
def test_the_second_device_trains_as_the_first_and_leaves_that_alone(engine: str) -> None:
    expected = loss_of(CONFIGS["measured"], engine, "cuda:0", until=20)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(0)
    run = make(CONFIGS["measured"], engine, "cuda:1")
    assert run.advance(20 * STEP)[0]["loss"] == pytest.approx(expected, rel=0.02)
    assert torch.cuda.current_device() == 0
    assert torch.cuda.memory_allocated(0) <= before
    assert all(tensor.device.index == 1 for tensor in (run.flat.weights, run.flat.grads, run.optimizer.updates))


@two_devices
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_dropout_of_the_second_device_follows_from_the_seed(engine: str) -> None:
    losses = [loss_of(DROPOUT, engine, "cuda:1", seed, until=20) for seed in (0, 0, 1)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0] != pytest.approx(losses[2], rel=1e-3)


@two_devices
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    kinds = [{"micro_batch": 1}, {"sharding": "full", "tie": False}, {"sharding": "grads", "precision": "bf16"}]
    job = [{"config": config, "until": 12, "save": str(number)} for number, config in enumerate(kinds)]
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.models.two", str(tmp_path), "cuda"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for config, reply in zip(kinds, json.loads((tmp_path / "replies.json").read_text()), strict=True):
        alone = {name: value for name, value in config.items() if name != "sharding"}
        assert reply[0]["loss"] == pytest.approx(loss_of(alone, until=12), rel=0.02)
