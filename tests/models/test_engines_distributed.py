"""Two real processes over gloo, started by torchrun: DDP and FSDP train as one process does, and checkpoints go round."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.config import split
from tests.models.tiny import STEP, make

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, dict[str, Any]] = {
    "ddp": {"micro_batch": 1, "ema": 0.8, "eval_every": 6},
    "ddp muon": {"optimizer": "muon", "noise_every": 4, "positions": "rotary", "activation": "swiglu", "norm": "rms"},
    "fsdp grads": {"sharding": "grads", "weight_decay": 0.3, "bias": True},
    "fsdp full": {"sharding": "full", "micro_batch": 1, "ema": 0.8, "optimizer": "lion", "lr": 1e-3, "tie": False},
    "fsdp again": {"sharding": "full", "activation_checkpointing": True, "layers": 2, "optimizer": "sgd", "spike": 50.0},
}
INSIDE = ("ddp", "fsdp full")  # saved between two steps


def torchrun(folder: Path, job: list[dict[str, Any]]) -> list[Any]:
    """The replies of rank 0 of two processes."""
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-m", "tests.models.two", str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "replies.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All jobs in one start of two processes: to 12 steps, and another run from there to 20."""
    folder = tmp_path_factory.mktemp("two")
    job = []
    for name, config in KINDS.items():
        job.append({"config": config, "until": 12, "save": f"{name} 12"})
        job.append({"config": config, "load": f"{name} 12", "until": 20, "save": f"{name} 20"})
    for name in INSIDE:
        config = KINDS[name]
        job.append({"config": config, "until": 40, "save": f"{name} 40"})
        job.append({"config": config, "until": 40, "inside": f"{name} part", "save": f"{name} 40 saved inside"})
        job.append({"config": config, "load": f"{name} part", "until": 40, "save": f"{name} 40 resumed"})
    job.append({"config": {"batch": 3}, "until": 1, "save": "none"})
    job.append({"config": {"sharding": "full", "optimizer": "muon"}, "until": 1, "save": "none"})
    replies = torchrun(folder, job)
    found = {"inside": replies[2 * len(KINDS) : -2], "errors": replies[-2:]}
    return folder, {**dict(zip(KINDS, zip(replies[0::2], replies[1::2], strict=False), strict=False)), **found}


def alone(name: str) -> Any:
    return make(KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_train_as_one(name: str, together: tuple[Path, dict[str, Any]]) -> None:
    folder, replies = together
    single = alone(name)
    for until, reply in zip((12, 20), replies[name], strict=True):
        metrics, curve = single.advance(until * STEP)
        assert reply[0]["loss"] == pytest.approx(metrics["loss"], rel=2e-4)
        assert reply[0]["train_loss"] == pytest.approx(metrics["train_loss"], rel=2e-4)
        assert [p for p, _ in reply[1]] == [p for p, _ in curve]
        if "noise_scale" in metrics:
            assert reply[0]["noise_scale"] > 0
        saved = checkpoint.read(folder / f"{name} {until}")
        for parameter, weight in single.model.named_parameters():
            theirs = torch.from_numpy(saved.weights[parameter])
            torch.testing.assert_close(theirs, weight.detach(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", KINDS)
def test_one_process_goes_on_from_the_checkpoint_of_two(name: str, together: tuple[Path, dict[str, Any]]) -> None:
    folder, replies = together
    heir = alone(name)
    heir.load(folder / f"{name} 12")
    assert heir.optimizer.updates.item() == 12
    metrics, _ = heir.advance(20 * STEP)
    assert metrics["loss"] == pytest.approx(replies[name][1][0]["loss"], rel=2e-4)


@pytest.mark.slow
def test_two_processes_go_on_from_the_checkpoint_of_one(tmp_path: Path) -> None:
    job, expected = [], []
    for name, config in KINDS.items():
        single = alone(name)
        single.advance(12 * STEP)
        single.save(tmp_path / f"{name} one")
        job.append({"config": config, "load": f"{name} one", "until": 20, "save": f"{name} after"})
        expected.append(single.advance(20 * STEP)[0]["loss"])
    for reply, loss in zip(torchrun(tmp_path, job), expected, strict=True):
        assert reply[0]["loss"] == pytest.approx(loss, rel=2e-4)


def test_what_cannot_be_spread_is_refused_on_all_alike(together: tuple[Path, dict[str, Any]]) -> None:
    batch, optimizer = together[1]["errors"]
    assert "batch is 3, but must be divisible by 2 devices = 2" in batch
    assert "optimizer is 'muon', but sharding 'full' needs adamw, sgd or lion" in optimizer
    with pytest.raises(ValueError, match="offload is True, but works with sharding grads or full only"):
        split({"offload": True})


@pytest.mark.parametrize("name", INSIDE)
def test_two_processes_save_inside_a_job(name: str, together: tuple[Path, dict[str, Any]]) -> None:
    folder, replies = together
    replies = replies["inside"][3 * INSIDE.index(name) :][:3]
    assert checkpoint.read(folder / f"{name} part").position["steps"] == 32
    whole = (folder / f"{name} 40").read_bytes()
    for reply, how in zip(replies[1:], ("saved inside", "resumed"), strict=True):
        assert (folder / f"{name} 40 {how}").read_bytes() == whole
        assert reply[0]["loss"] == replies[0][0]["loss"]
        assert reply[1] == replies[0][1]
