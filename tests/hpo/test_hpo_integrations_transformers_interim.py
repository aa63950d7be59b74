"""A Trainer that is saved between two steps of a job."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("accelerate")

import hpo
from hpo.executors.checkpoints import Checkpoints
from hpo.executors.worker import Worker
from hpo.integrations.transformers import TrainerRun
from hpo.integrations.transformers.run import TrainerObjective
from hpo.job import Job, Result
from tests.hpo.test_hpo_integrations_transformers import STEPS, distance, train, weights
from tests.hpo.trainers import make_trainer

pytestmark = pytest.mark.usefixtures("frozen")


def test_saving_between_steps_changes_nothing_and_is_gone_on_from(tmp_path: Path) -> None:
    whole, run = train({}, STEPS), TrainerRun(make_trainer, {}, 3, STEPS)
    steps: list[int] = []

    def checkpoint() -> None:
        steps.append(run.trainer.state.global_step)
        if steps[-1] in (2, 13):
            run.save(str(tmp_path / str(steps[-1])))

    run.advance(STEPS, checkpoint)
    assert steps == list(range(1, STEPS))
    assert distance(weights(whole), weights(run)) == 0.0
    for step in (2, 13):
        heir = TrainerRun(make_trainer, {}, 3, STEPS)
        heir.load(str(tmp_path / str(step)))
        assert heir.step == step
        found = heir.advance(STEPS)[0]
        assert distance(weights(whole), weights(heir)) < 1e-6
        assert found["eval_loss"] == pytest.approx(whole.metrics["eval_loss"], rel=1e-6)  # type: ignore[attr-defined]
        heir.close()
    run.save(str(tmp_path / "end"))
    assert (tmp_path / "end" / "trainer_state.json").exists()


def test_a_worker_saves_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    result = Worker(TrainerObjective(make_trainer), STEPS, checkpoints, 0.0).execute(Job(0, {}, 3))
    assert isinstance(result, Result) and result.error is None
    part = checkpoints.interim_path((0, 3), 0)
    assert '"global_step": 2' in (part / "trainer_state.json").read_text(encoding="utf-8")
    again = Worker(TrainerObjective(make_trainer), STEPS, checkpoints, 0.0).execute(Job(0, {}, 3), {(0, 3): 1})
    assert isinstance(again, Result) and again.metrics["eval_loss"] == pytest.approx(result.metrics["eval_loss"], rel=1e-6)
    checkpoints.close()
    assert hpo.objective.is_saved_inside(TrainerRun(make_trainer, {}, 0, STEPS))
