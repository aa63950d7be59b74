"""A Trainer as a Run that ends at its own epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")

import hpo
from hpo.integrations.transformers import EpochRun
from tests.hpo.trainers import make_trainer

HORIZON = 24  # of steps; an epoch of 40 lines in batches of 4 has ten

pytestmark = pytest.mark.usefixtures("frozen")


@pytest.mark.parametrize(
    ("config", "length"),
    [({"num_train_epochs": 2}, 20), ({"epochs": 2, "batch_size": 16}, 6), ({"max_steps": 7}, 7), ({"epochs": 5}, HORIZON),
     ({"num_train_epochs": 1, "accumulation": 2}, 5)],
)  # fmt: skip
def test_a_trial_ends_at_its_own_epochs(config: dict[str, Any], length: int) -> None:
    """At its batch size, and at most at the horizon. A budget beyond it leaves it as it is; the rate falls over its length."""
    run = EpochRun(make_trainer, config, 0, HORIZON)
    run.advance(3)
    assert run.step == 3 and run.horizon == length
    losses = [run.advance(until)[0]["eval_loss"] for until in (length, HORIZON)]
    assert run.step == length and losses[0] == losses[1]
    assert run.trainer.lr_scheduler is not None
    assert run.trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(0.0, abs=1e-9)
    run.close()


def test_one_that_pauses_is_as_trained_at_once(tmp_path: Path) -> None:
    config = {"num_train_epochs": 1.5, "learning_rate": 3e-3}
    at_once, first, second = (EpochRun(make_trainer, config, 1, HORIZON) for _ in range(3))
    first.advance(4)
    first.save(str(tmp_path / "four"))
    second.load(str(tmp_path / "four"))
    assert second.advance(HORIZON)[0]["eval_loss"] == pytest.approx(at_once.advance(HORIZON)[0]["eval_loss"], rel=1e-6)
    assert second.step == at_once.step == 15


def test_epochs_are_a_hyperparameter_of_a_search() -> None:
    """With rungs beyond the end of some of its trials."""
    def build(config: Any, seed: int, horizon: int) -> EpochRun:
        return EpochRun(make_trainer, config, seed, horizon)

    space = {"learning_rate": (1e-4, 1e-1, "log"), "num_train_epochs": hpo.Int(1, 2)}
    study = hpo.minimize(build, space, "asha", 5, objectives={"eval_loss": "min"}, horizon=20, unit="steps", quiet=True)
    assert not [found.error for found in study.history.results.values() if found.error] and len(study.history.trials) == 5
