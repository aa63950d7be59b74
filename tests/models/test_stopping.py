"""Early stopping."""

from pathlib import Path

import pytest
import torch

from models.config import split
from models.stopping import Stopping
from tests.models.tiny import STEP, make

torch.set_num_threads(1)


def test_patience_counts_evaluations_without_a_better_loss() -> None:
    stopping = Stopping()
    for loss in (3.0, 2.0, 2.0, 2.5):
        stopping.observe(loss)
    assert stopping.waited == 2 and not stopping.is_over(3) and stopping.is_over(2) and not stopping.is_over(0)


def test_training_ends_early_and_stays_ended(tmp_path: Path) -> None:
    config = {"lr": 0.0, "eval_every": 5, "patience": 2}  # nothing gets better
    run = make(config)
    metrics, curve = run.advance(60 * STEP)
    assert metrics["steps"] == 15 and [p // STEP for p, _ in curve] == [5, 10, 15] and run.has_stopped
    run.save(tmp_path / "stopped")
    heir = make(config)
    heir.load(tmp_path / "stopped")
    assert heir.advance(60 * STEP)[0]["steps"] == 15
    patient = make({**config, "patience": 0})
    patient.load(tmp_path / "stopped")
    assert patient.advance(60 * STEP)[0]["steps"] == 60


def test_patience_without_evaluations_is_refused() -> None:
    with pytest.raises(ValueError, match="patience is 2, but needs eval_every above 0"):
        split({"patience": 2})
