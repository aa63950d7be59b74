"""Hugging Face's Trainer as a Run, and searches over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")

import torch
from transformers import Trainer, TrainingArguments

import hpo
from hpo.integrations.transformers import TrainerRun, set_arguments, tune
from tests.hpo.trainers import make_trainer

STEPS = 24  # two and a half epochs of ten steps


def weights(run: TrainerRun) -> list[torch.Tensor]:
    return [value.detach().clone() for value in run.trainer.model.parameters()]


def distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    """The largest difference relative to the largest weight."""
    most = max(float(x.abs().max()) for x in a)
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True)) / most


def train(config: dict[str, Any], *untils: int, seed: int = 3, folder: Path | None = None) -> TrainerRun:
    """A run through budgets; with a folder, each in a new run that loads what the one before has saved."""
    run = TrainerRun(make_trainer, config, seed, STEPS)
    for place, until in enumerate(untils):
        if place and folder is not None:
            run.save(str(folder / str(place)))
            run.close()
            run = TrainerRun(make_trainer, config, seed, STEPS)
            run.load(str(folder / str(place)))
        run.metrics = run.advance(until)[0]  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("untils", [(10, STEPS), (3, 7, 15, STEPS)])
def test_paused_and_resumed_is_as_trained_at_once(untils: tuple[int, ...], moved: bool, tmp_path: Path) -> None:
    """Also within an epoch, also in another run: learning rates, moments, dropout, data."""
    whole, paused = train({}, STEPS), train({}, *untils, folder=tmp_path if moved else None)
    assert (paused.step, paused.trainer.state.global_step) == (STEPS, STEPS)
    assert distance(weights(whole), weights(paused)) < 1e-6
    assert paused.metrics["eval_loss"] == pytest.approx(whole.metrics["eval_loss"], rel=1e-6)  # type: ignore[attr-defined]
    other = train({}, STEPS, seed=4)
    assert distance(weights(whole), weights(other)) > 1e-3, "another seed is another training"


def rates(run: TrainerRun, until: int) -> list[float]:
    """The learning rates of the steps to a budget, as the optimizer has them."""
    seen: list[float] = []
    step = run.trainer.training_step

    def training_step(*arguments: Any, **options: Any) -> Any:
        seen.append(run.trainer.optimizer.param_groups[0]["lr"])
        return step(*arguments, **options)

    run.trainer.training_step = training_step  # type: ignore[method-assign]
    run.advance(until)
    return seen


def test_a_clone_takes_over_weights_and_keeps_its_own_hyperparameters(tmp_path: Path) -> None:
    donor = train({"learning_rate": 1e-2, "weight_decay": 0.0}, 10)
    donor.save(str(tmp_path / "donor"))
    mine = {"learning_rate": 3e-3, "weight_decay": 0.3, "adam_beta2": 0.9}
    clone = TrainerRun(make_trainer, mine, 8, STEPS)
    clone.adopt(str(tmp_path / "donor"))
    assert clone.step == 10
    expected = rates(TrainerRun(make_trainer, mine, 8, STEPS), STEPS)
    assert rates(clone, 20) == pytest.approx(expected[10:20], rel=1e-9)
    group = clone.trainer.optimizer.param_groups[0]
    assert (group["weight_decay"], group["betas"], group["initial_lr"]) == (0.3, (0.9, 0.9), 3e-3)
    untouched = TrainerRun(make_trainer, {**mine, "learning_rate": 1e-12, "weight_decay": 0.0}, 8, STEPS)
    untouched.adopt(str(tmp_path / "donor"))
    untouched.advance(11)
    assert distance(weights(donor), weights(untouched)) < 1e-6, "it began with the donor's weights"


def test_a_clone_of_another_shape_or_optimizer_is_refused(tmp_path: Path) -> None:
    train({}, 5).save(str(tmp_path / "donor"))
    for config, about in (({"optim": "sgd"}, "another optimizer"), ({"width": 32}, "size mismatch|shape")):
        clone = TrainerRun(make_trainer, config, 8, STEPS)
        with pytest.raises((ValueError, RuntimeError), match=about):
            clone.adopt(str(tmp_path / "donor"))
            clone.advance(10)


def test_what_was_not_trained_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has not been trained yet"):
        TrainerRun(make_trainer, {}, 1, STEPS).save(str(tmp_path / "none"))


SPACE = {"learning_rate": (1e-4, 1e-1, "log"), "weight_decay": (0.0, 0.3)}


@pytest.mark.parametrize("optimizer", ["asha", "pbt"])
def test_schedulers_pause_resume_and_clone_trainers(optimizer: str) -> None:
    options: dict[str, Any] = {"asha": {"min_resource": 8, "max_resource": STEPS}}.get(optimizer, {
        "population": 4, "generations": 3, "max_resource": STEPS, "explore": list(SPACE)})  # fmt: skip
    made = hpo.make(optimizer, hpo.Space.of(SPACE), seed=1, **options)
    study = tune(make_trainer, SPACE, made, 6 if optimizer == "asha" else None, steps=STEPS, quiet=True)
    jobs = study.history.jobs.values()
    assert any(job.source is not None for job in jobs) and not any(r.error for r in study.history.results.values())
    assert study.best.until == STEPS and study.header.unit == "steps"
    for key in study.history.results:
        job = study.history.jobs[key]
        if key[1] == STEPS and study.history.is_own(key):
            whole = train(dict(job.config), STEPS, seed=job.seed)
            value = study.history.results[key].metrics["eval_loss"]
            assert whole.metrics["eval_loss"] == pytest.approx(value, rel=1e-6)  # type: ignore[attr-defined]


def test_results_of_worker_processes_come_out_again(tmp_path: Path) -> None:
    """Checkpoints are moved between processes, and the result is that of a training at once."""
    made = hpo.ASHA(hpo.Random(SPACE, seed=2), min_resource=8, max_resource=STEPS)
    options: dict[str, Any] = {"executor": "processes", "workers": 2, "log": tmp_path / "p.sqlite", "quiet": True}
    study = tune(make_trainer, SPACE, made, 4, steps=STEPS, **options)
    assert len(study.history.trials) == 4 and not any(result.error for result in study.history.results.values())
    for key, result in study.history.results.items():
        if key[1] == STEPS:
            run = train(dict(study.history.jobs[key].config), STEPS, seed=study.history.jobs[key].seed)
            assert run.metrics["eval_loss"] == pytest.approx(result.metrics["eval_loss"], rel=1e-5)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"lr": "0.5"}, {"learning_rate": 0.5}),
        ({"evaluation_strategy": "no", "optim": "adamw_hf"}, {"optim": "adamw_torch"}),
        ({"batch_size": 8.0, "epochs": 2}, {"per_device_train_batch_size": 8, "num_train_epochs": 2.0}),
        ({"logging_dir": "x"}, "no field of TrainingArguments; set the environment variable"),
        ({"layers": 3}, "'layers' is no field of TrainingArguments; a name of the model's own"),
        ({"learning_rate": "fast"}, "'learning_rate' is 'fast'; allowed is what float takes"),
        ({"per_device_train_batch_size": 2.5}, "allowed is an integer"),
    ],
)
def test_arguments_are_set_by_name_or_refused(config: dict[str, Any], expected: Any, tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    if isinstance(expected, str):
        with pytest.raises(ValueError) as raised:
            set_arguments(args, config)
        assert expected in str(raised.value) and "\n" not in str(raised.value)
    else:
        set_arguments(args, config)
        assert {name: getattr(args, name) for name in expected} == expected


def test_a_trainer_of_ones_own_stays_as_it_was() -> None:
    run = train({}, 6)
    assert isinstance(run.trainer, Trainer) and "evaluate" not in vars(run.trainer)
    folder = run.folder
    run.close()
    assert not folder.exists()
