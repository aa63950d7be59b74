"""Hugging Face's Trainer as a Run, and searches over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")

import torch
import transformers
from transformers import Trainer, TrainerCallback, TrainingArguments

import hpo
from hpo.integrations.transformers import TrainerRun, set_arguments, tune
from tests.hpo.trainers import Lines, make_model, make_trainer

STEPS = 24  # two and a half epochs of ten steps

pytestmark = pytest.mark.usefixtures("frozen")


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


def test_a_clone_of_a_trainer_that_was_trained_has_fresh_groups(tmp_path: Path) -> None:
    """Its last optimizer stands where its own training was, with the rate of that step."""
    train({"learning_rate": 1e-2}, 5).save(str(tmp_path / "donor"))
    mine = {"learning_rate": 3e-3, "weight_decay": 0.3}
    clone, fresh = train(mine, 20), TrainerRun(make_trainer, mine, 3, STEPS)
    for run in (clone, fresh):
        run.adopt(str(tmp_path / "donor"))
        assert run.step == 5
    assert rates(clone, 9) == pytest.approx(rates(fresh, 9), rel=1e-12)
    assert distance(weights(clone), weights(fresh)) < 1e-6


def sizes(run: TrainerRun, until: int) -> set[int]:
    """The sizes of the batches of the steps to a budget."""
    seen: set[int] = set()
    step = run.trainer.training_step

    def training_step(model: Any, inputs: dict[str, torch.Tensor], *others: Any) -> Any:
        seen.add(len(inputs["input_ids"]))
        return step(model, inputs, *others)

    run.trainer.training_step = training_step  # type: ignore[method-assign]
    run.advance(until)
    return seen


def test_a_clone_keeps_its_own_batch_size_and_patience(tmp_path: Path) -> None:
    """transformers takes the checkpoint's batch size where auto_find_batch_size is set, and callbacks as it says likewise."""
    options = {"auto_find_batch_size": True, "restore_callback_states_from_checkpoint": True, "logging_steps": 7}
    donor, clone = (TrainerRun(make_patient, {**options, "batch_size": size, "patience": size}, 8, STEPS) for size in (4, 8))
    assert sizes(donor, 10) == {4}
    next(one for one in donor.trainer.callback_handler.callbacks if isinstance(one, Patience)).left = 1
    donor.advance(12)
    donor.save(str(tmp_path / "donor"))
    clone.adopt(str(tmp_path / "donor"))
    assert (clone.step, sizes(clone, 14)) == (12, {8})
    (patience,) = (one for one in clone.trainer.callback_handler.callbacks if isinstance(one, Patience))
    assert patience.left == 8 and clone.trainer.state.logging_steps == 7


class Patience(TrainerCallback, transformers.trainer_callback.ExportableState):
    """A callback with a state that checkpoints hold."""

    def __init__(self, left: int = 0) -> None:
        self.left = left

    def state(self) -> dict[str, Any]:
        return {"args": {"left": self.left}, "attributes": {}}


def make_patient(config: dict[str, Any]) -> Trainer:
    trainer = make_trainer({name: value for name, value in config.items() if name != "patience"})
    trainer.add_callback(Patience(config["patience"]))
    return trainer


def make_owner(config: dict[str, Any]) -> Trainer:
    """A trainer with an optimizer and a schedule of its own."""
    trainer, model = make_trainer({}), make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 100)
    return Trainer(model, trainer.args, train_dataset=Lines(40, 0), eval_dataset=Lines(16, 1), optimizers=(optimizer, schedule))


def test_a_trainer_with_its_own_optimizer_resumes_and_is_no_clone(tmp_path: Path) -> None:
    whole, paused = (TrainerRun(make_owner, {}, 3, STEPS) for _ in range(2))
    whole.advance(STEPS)
    for until in (7, STEPS):
        paused.advance(until)
    assert distance(weights(whole), weights(paused)) < 1e-6
    paused.save(str(tmp_path / "donor"))
    clone = TrainerRun(make_owner, {}, 4, STEPS)
    with pytest.raises(ValueError, match="was given its own optimizer or scheduler, so a clone cannot keep its hyperparameters"):
        clone.adopt(str(tmp_path / "donor"))
    assert clone.step == 0 and clone.trainer.optimizer is not None, "it is as it was"


def test_a_refused_clone_is_as_it_was(tmp_path: Path) -> None:
    train({}, 5).save(str(tmp_path / "donor"))
    clone = train({"optim": "sgd"}, 3)
    with pytest.raises(ValueError, match="another optimizer"):
        clone.adopt(str(tmp_path / "donor"))
    assert clone.step == 3 and len(list(clone.folder.iterdir())) == 1
    assert rates(clone, 6) == pytest.approx(rates(TrainerRun(make_trainer, {"optim": "sgd"}, 3, STEPS), 6)[3:])


@pytest.mark.parametrize("name", ["num_train_epochs", "epochs", "max_steps"])
def test_a_configuration_does_not_say_how_long_to_train(name: str) -> None:
    about = f"{name!r} is in the configuration, but the study's horizon decides how long a trial is trained"
    with pytest.raises(ValueError, match=about):
        TrainerRun(make_trainer, {name: 3}, 1, STEPS)
    with pytest.raises(ValueError, match=about):
        tune(make_trainer, {**SPACE, name: (1, 9)}, "random", 2, steps=STEPS, quiet=True)


def make_plateau(config: dict[str, Any]) -> Trainer:
    trainer = make_owner({})
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizer)
    options: dict[str, Any] = {"optimizers": (trainer.optimizer, schedule)}
    return Trainer(trainer.model, trainer.args, train_dataset=Lines(40, 0), eval_dataset=Lines(16, 1), **options)


@pytest.mark.parametrize("kind", ["reduce_lr_on_plateau", "greedy", "ReduceLROnPlateau"])
def test_rates_that_hang_on_evaluations_are_refused(kind: str) -> None:
    config = {"eval_strategy": "steps", "lr_scheduler_type": kind}
    with pytest.raises(ValueError, match=f"the learning rate of '{kind}' hangs on evaluations"):
        TrainerRun(make_plateau if kind[0] == "R" else make_trainer, config, 1, STEPS)


def test_options_that_would_break_a_resumption_are_set() -> None:
    options = {"save_only_model": True, "ignore_data_skip": True, "save_total_limit": 1}
    whole, paused = train({}, STEPS), train(options, 7, 13, STEPS)
    assert distance(weights(whole), weights(paused)) < 1e-6


class Quit(TrainerCallback):
    """Stops a training after five steps."""

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
        control.should_training_stop = state.global_step >= 5
        return control


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Five batches of four lines, once."""

    def __init__(self) -> None:
        self.rows = iter([Lines(20, 0)[place] for place in range(20)])

    def __iter__(self) -> Any:
        return self.rows


@pytest.mark.parametrize("reason", ["callback", "data"])
def test_a_training_that_ends_before_its_budget_says_so(reason: str) -> None:
    def make(config: dict[str, Any]) -> Trainer:
        trainer = make_trainer(config)
        if reason == "callback":
            trainer.add_callback(Quit())
        else:
            trainer.train_dataset = Stream()
            trainer.accelerator.dataloader_config.dispatch_batches = False
        return trainer

    run = TrainerRun(make, {}, 3, STEPS)
    assert run.advance(4)[0]["eval_loss"] > 0 and run.step == 4
    again = TrainerRun(make, {}, 3, STEPS)
    with pytest.raises(RuntimeError, match=r"the training ended at step 5 of 9: its data ended, or another callback stopped it"):
        again.advance(9)
    study = tune(make, SPACE, "random", 1, steps=STEPS, quiet=True)
    (result,) = study.history.results.values()
    assert "the training ended at step 5 of 24" in str(result.error)


class Endless(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Five batches of four lines, as often as one likes; without a length."""

    def __iter__(self) -> Any:
        return iter([Lines(20, 0)[place] for place in range(20)])


def test_a_stream_is_resumed_in_its_first_pass_alone() -> None:
    def make(config: dict[str, Any]) -> Trainer:
        trainer = make_trainer(config)
        trainer.train_dataset = Endless()
        trainer.accelerator.dataloader_config.dispatch_batches = False
        return trainer

    whole, paused, late = (TrainerRun(make, {}, 3, STEPS) for _ in range(3))
    whole.advance(12)
    for until in (4, 12):
        paused.advance(until)
    assert distance(weights(whole), weights(paused)) < 1e-6
    late.advance(7)
    with pytest.raises(RuntimeError, match="the training data has no length and ended before step 7"):
        late.advance(12)


def test_loading_again_does_no_harm(tmp_path: Path) -> None:
    """Its own checkpoint, one of the same step, an earlier one; what was loaded is what is evaluated."""
    run = train({}, 5)
    run.save(str(tmp_path / "5"))
    at_five, loaded = run.advance(5)[0]["eval_loss"], TrainerRun(make_trainer, {}, 3, STEPS)
    loaded.load(str(tmp_path / "5"))
    assert loaded.advance(5)[0]["eval_loss"] == pytest.approx(at_five, rel=1e-6)
    run.load(str(run.checkpoint))
    run.load(str(tmp_path / "5"))
    run.advance(12)
    run.load(str(tmp_path / "5"))
    assert run.step == 5 and run.advance(5)[0]["eval_loss"] == pytest.approx(at_five, rel=1e-6)
    run.advance(STEPS)
    assert distance(weights(train({}, STEPS)), weights(run)) < 1e-6
    assert [path.name for path in run.folder.iterdir()] == [f"checkpoint-{STEPS}"]


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
        ({"per_device_train_batch_size": float("inf")}, "'per_device_train_batch_size' is inf; allowed is an integer"),
        ({"per_device_train_batch_size": True}, "allowed is an integer"),
        ({"seed": "12"}, {"seed": 12}),
        ({"learning_rate": 10**400}, "allowed is what float takes"),
        ({"learning_rate": None}, "'learning_rate' is None; allowed is what float takes"),
        ({"report_to": "none", "include_for_metrics": "none", "debug": "none"}, {"report_to": [], "include_for_metrics": []}),
        ({"debug": "underflow_overflow", "label_names": ("a",)}, {"debug": ["underflow_overflow"], "label_names": ["a"]}),
        ({"include_for_metrics": "loss"}, "'include_for_metrics' is 'loss'; allowed is a list"),
        ({"optim_target_modules": "all-linear"}, {"optim_target_modules": "all-linear"}),
        ({"group": 1, "eval_on_start": True}, "'group' is no field"),
        ({"eval_on_start": "False", "logging_first_step": "true", "greater_is_better": "False"},
         {"eval_on_start": False, "logging_first_step": True, "greater_is_better": False}),
        ({"eval_on_start": "no"}, "'eval_on_start' is 'no'; allowed is True or False"),
        ({"eval_on_start": 1}, "'eval_on_start' is 1; allowed is True or False"),
        ({"lr": 1e-3, "learning_rate": 1e-4}, "'lr' and 'learning_rate' are both the field 'learning_rate'; allowed is one of"),
        ({"batch_size": 8, "per_gpu_train_batch_size": 8}, "'batch_size' and 'per_gpu_train_batch_size' are both the field"),
        ({"warmup_steps": 0.25}, {"warmup_steps": 0.25}),
        ({"warmup_ratio": 0.1}, {"warmup_steps": 0.1}),
        ({"lr_scheduler_type": "cosine"}, {"lr_scheduler_type": transformers.SchedulerType.COSINE}),
        ({"lr_scheduler_type": "cosinus"}, "'lr_scheduler_type' is 'cosinus'; allowed is what SchedulerType takes"),
        ({"bf16": True}, {"mixed_precision": "bf16"}),
        ({"accelerator_config": {"even_batches": False}}, {}),
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
    for _ in range(2):
        run.close()
        assert not folder.exists()


def test_a_refused_configuration_leaves_the_arguments_as_they_were(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    with pytest.raises(ValueError, match="no field"):
        set_arguments(args, {"learning_rate": 0.5, "layers": 3})
    assert args.learning_rate == 5e-5
