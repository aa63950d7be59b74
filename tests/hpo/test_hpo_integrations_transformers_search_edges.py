"""`trainer.hyperparameter_search` on our optimizers: what is easily got wrong in a Trainer's arguments, and with checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("optuna")

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState

import hpo
from hpo.integrations.transformers import register
from hpo.integrations.transformers.shared import list_evaluations
from tests.hpo.test_hpo_integrations_transformers_search import asha, make_model, make_trainer, rates, stock
from tests.hpo.trainers import Lines

Trial = Any

pytestmark = pytest.mark.usefixtures("frozen")


@pytest.fixture
def ours() -> Iterator[None]:
    with register():
        yield


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("options", "before", "saved"),
    [
        ({"save_strategy": "epoch", "num_train_epochs": 2}, {"num_train_epochs": 4}, True),  # an earlier search left newer ones
        ({"save_strategy": "best", "metric_for_best_model": "loss", "warmup_steps": 15, "learning_rate": 3.0}, None, False),
        ({"save_strategy": "steps", "save_steps": 2, "scheduler": asha, "num_train_epochs": 4}, None, False),  # stopped at 15
        ({"save_strategy": "steps", "save_steps": 5, "eval_strategy": "steps", "eval_steps": 99}, None, True),
    ],
)
def test_a_checkpoint_holds_the_weights_of_the_objective_or_there_is_none(
    options: dict[str, Any], before: dict[str, Any] | None, saved: bool, tmp_path: Path
) -> None:
    def search(options: dict[str, Any]) -> tuple[Trainer, Any]:
        fields = dict(options)
        scheduler, rate = fields.pop("scheduler", None), fields.pop("learning_rate", None)
        trainer = make_trainer(tmp_path, **fields)
        space = rates if rate is None else lambda trial: {"learning_rate": trial.suggest_float("learning_rate", rate, rate + 1)}
        return trainer, trainer.hyperparameter_search(space, n_trials=3, sampler="random", scheduler=scheduler, evaluations=4)

    if before is not None:
        search({**options, **before})
    trainer, best = search(options)
    assert (best.run_summary.checkpoint is not None) == saved
    assert (trainer.model is not None) == saved
    if saved:
        assert trainer.evaluate()["eval_loss"] == pytest.approx(best.objective, rel=1e-6)


@pytest.mark.usefixtures("ours")
def test_what_is_to_be_caught_does_not_end_the_search_of_a_trainer(tmp_path: Path) -> None:
    def make() -> Trainer:
        trainer, steps = make_trainer(tmp_path, max_steps=1), []
        step = trainer.training_step

        def training_step(*arguments: Any, **options: Any) -> Any:
            steps.append(1)
            if len(steps) < 4:
                raise ValueError("a bad batch")
            return step(*arguments, **options)

        trainer.training_step = training_step  # type: ignore[method-assign]
        return trainer

    with pytest.raises(RuntimeError, match="catch=ValueError goes on"):
        make().hyperparameter_search(rates, n_trials=5, sampler="random")
    for space in (rates, {"learning_rate": (1e-4, 1e-1, "log")}):
        best = make().hyperparameter_search(space, n_trials=5, sampler="random", catch=ValueError)
        errors = [result.error for result in best.run_summary.study.history.results.values()]
        assert errors == ["ValueError: a bad batch"] * 3 + [None] * 2


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Forty lines without a length."""

    def __iter__(self) -> Iterator[Any]:
        rows = Lines(40, 0)
        return (rows[place] for place in range(40))


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("data", "options"),
    [
        (Lines(40, 0), {"dataloader_drop_last": True, "per_device_train_batch_size": 16, "num_train_epochs": 4}),
        (Stream(), {"eval_strategy": "steps", "eval_steps": 2, "max_steps": 8}),
        (Lines(40, 0), {"lr_scheduler_type": "reduce_lr_on_plateau", "num_train_epochs": 4}),
        (Lines(40, 0), {"eval_strategy": "steps", "eval_steps": 2, "max_steps": 12, "eval_delay": 6}),
    ],
)
def test_clones_have_the_schedule_of_their_own_training(data: Any, options: dict[str, Any], tmp_path: Path) -> None:
    """At every step the rate is that of a training of one's own, and nothing is counted that is not evaluated."""
    seen: list[tuple[int, float]] = []  # the step, and which part of its rate the optimizer has

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            seen.append((state.global_step, round(others["optimizer"].param_groups[0]["lr"] / args.learning_rate, 6)))

    def make(folder: str) -> Trainer:
        trainer = make_trainer(tmp_path / folder, **options)
        trainer.train_dataset = data
        trainer.add_callback(Look())
        return trainer

    alone = make("alone")
    alone.train()
    expected = set(seen)
    best = make("pbt").hyperparameter_search(
        {"learning_rate": (1e-4, 1e-2, "log")}, n_trials=None, sampler="random",
        scheduler=lambda sampler: hpo.PBT(sampler, population=4, generations=4, max_resource=4),
    )  # fmt: skip
    study = best.run_summary.study
    assert {result.error for result in study.history.results.values()} == {None}
    assert any(job.source is not None and job.source[0] != job.trial for job in study.history.jobs.values())
    assert study.header.horizon == len(list_evaluations(alone.state)) == 4
    assert set(seen) == expected


@pytest.mark.usefixtures("ours")
def test_epochs_that_nobody_can_count_are_refused_in_a_sentence(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=8)
    trainer.train_dataset = Stream()
    with pytest.raises(ValueError, match="no length, so its epochs cannot be counted; give `evaluations=`"):
        trainer.hyperparameter_search(rates, n_trials=1)


@pytest.mark.usefixtures("ours")
def test_a_value_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    """A field's name with a slip, where model_init takes the trial: it may ask for what hp_space has asked for, and no more."""
    def slip(trial: Trial) -> dict[str, Any]:
        return {"learnign_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1)}

    with pytest.raises(ValueError, match="'learnign_rate' is no field of TrainingArguments, and no name that hp_space has asked"):
        make_trainer(tmp_path, make_model).hyperparameter_search(slip, n_trials=1)
    space = {"width": [8, 16]}
    best = make_trainer(tmp_path, make_model, max_steps=1).hyperparameter_search(space, n_trials=1, sampler="random")
    assert set(best.hyperparameters) == {"width"}


@pytest.mark.usefixtures("ours")
def test_a_search_without_evaluations_is_refused_unless_the_trainer_has_its_own(tmp_path: Path) -> None:
    class Own(Trainer):
        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            return super().get_eval_dataloader(Lines(8, 1))

    args = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True, max_steps=1, save_strategy="no", disable_tqdm=True)
    with pytest.raises(ValueError, match="the trainer has no eval_dataset"):
        Trainer(model_init=make_model, args=args, train_dataset=Lines(8, 0)).hyperparameter_search(rates, n_trials=1)
    assert Own(model_init=make_model, args=args, train_dataset=Lines(8, 0)).hyperparameter_search(rates, n_trials=1).objective > 0


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("objective", "direction", "allowed"),
    [
        (lambda metrics: [metrics["eval_loss"], 1.0], "minimize", "a number"),
        (lambda metrics: None, "minimize", "a number"),
        (lambda metrics: metrics["eval_loss"], ["minimize", "maximize"], "2 numbers, one a direction"),
    ],
)
def test_what_is_no_objective_is_told_in_a_sentence(objective: Any, direction: Any, allowed: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=1)
    with pytest.raises(ValueError, match=f"compute_objective returned .*; allowed is {allowed}"):
        trainer.hyperparameter_search(rates, objective, 2, direction, sampler="random")


@pytest.mark.usefixtures("ours")
def test_clones_go_on_with_their_own_values(tmp_path: Path) -> None:
    """Beside it: a Trainer that resumes from a checkpoint goes on at the checkpoint's rate, whatever it was told."""
    seen: list[tuple[int, float, float]] = []  # the step, the rate that was told, and the optimizer's

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            seen.append((state.global_step, args.learning_rate, others["optimizer"].param_groups[0]["lr"]))

    def make(folder: str) -> Trainer:
        trainer = make_trainer(tmp_path / folder, num_train_epochs=4, lr_scheduler_type="constant", save_strategy="epoch")
        trainer.add_callback(Look())
        return trainer

    best = make("pbt").hyperparameter_search(
        {"learning_rate": (1e-4, 1e-1, "log")}, n_trials=None, sampler="random",
        scheduler=lambda sampler: hpo.PBT(sampler, population=4, generations=4, max_resource=4),
    )  # fmt: skip
    study = best.run_summary.study
    clones = [job for job in study.history.jobs.values() if job.source is not None and job.source[0] != job.trial]
    assert clones and not any(result.error for result in study.history.results.values())
    assert {round(told / rate, 6) for _, told, rate in seen} == {1.0}
    assert {job.config["learning_rate"] for job in clones} <= {told for step, told, _ in seen if step}, "and they were trained"
    assert best.objective == min(result.metrics["eval_loss"] for key, result in study.history.results.items() if key[1] == 4)
    checkpoint = next((tmp_path / "pbt").glob("run-*/checkpoint-5"))
    stock, before = make("stock"), len(seen)
    stock.args.learning_rate = 0.5
    stock.train(resume_from_checkpoint=str(checkpoint))
    assert all(rate < 0.5 for _, _, rate in seen[before:])


def test_a_training_without_an_evaluation_has_one_before_its_last_checkpoint(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, eval_strategy="steps", eval_steps=5, eval_delay=100, save_strategy="steps", save_steps=15)
    with register():
        best = trainer.hyperparameter_search(rates, n_trials=1, sampler="random")
    assert best.run_summary.checkpoint is not None
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best.objective, rel=1e-6)


class CountEvaluations(TrainerCallback, ExportableState):
    """A callback that never begins anew by itself."""

    def __init__(self) -> None:
        self.count = 0
        self.seen: list[int] = []

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"count": self.count}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.seen.append(self.count)

    def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.count += 1


def test_a_callback_begins_anew_with_every_trial(tmp_path: Path) -> None:
    """With the stock backend it goes on where the trial before ended."""
    seen = []
    for mine in (False, True):
        trainer, callback = make_trainer(tmp_path / str(mine)), CountEvaluations()
        trainer.add_callback(callback)
        if mine:
            with register():
                trainer.hyperparameter_search(rates, n_trials=3, sampler="random")
        else:
            stock(trainer, rates, 3)
        seen.append(callback.seen)
    assert seen == [[0, 3, 6], [0, 0, 0]]
