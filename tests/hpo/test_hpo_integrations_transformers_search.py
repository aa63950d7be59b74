"""`trainer.hyperparameter_search` on our optimizers, beside the stock backend of transformers."""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("optuna")

import optuna
import torch
from transformers import (
    EarlyStoppingCallback,
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import hpo
from hpo.integrations.transformers import register
from hpo.integrations.transformers.shared import list_evaluations
from tests.hpo.trainers import CONTEXT, WORDS, Lines

optuna.logging.set_verbosity(optuna.logging.ERROR)
Trial = Any

pytestmark = pytest.mark.usefixtures("frozen")


def make_model(trial: Trial = None) -> GPT2LMHeadModel:
    width = 16 if trial is None else trial.suggest_categorical("width", [8, 16])
    shape = GPT2Config(vocab_size=WORDS, n_positions=CONTEXT, n_embd=width, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
                       loss_type="ForCausalLMLoss")  # fmt: skip
    return GPT2LMHeadModel(shape)


def make_trainer(folder: Path, model_init: Callable[..., Any] = lambda: make_model(), **options: Any) -> Trainer:
    """Three epochs of five steps, evaluated after each."""
    said: dict[str, Any] = {
        "per_device_train_batch_size": 8, "report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_strategy": "no",
        "learning_rate": 1e-2, "num_train_epochs": 3, "eval_strategy": "epoch", "save_strategy": "no", **options,
    }  # fmt: skip
    args = TrainingArguments(str(folder), **said)
    trainer = Trainer(model_init=model_init, args=args, train_dataset=Lines(40, 0), eval_dataset=Lines(16, 1))
    trainer.remove_callback(PrinterCallback)
    return trainer


def rates(trial: Trial) -> dict[str, Any]:
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True), "seed": trial.suggest_int("seed", 1, 40)}


@pytest.fixture
def ours() -> Iterator[None]:
    with register():
        yield


def train_by(trainer: Trainer, values: dict[str, Any]) -> list[float]:
    """Evaluation losses of a training of one's own with these values."""
    for name, value in values.items():
        setattr(trainer.args, name, value)
    trainer.train()
    return [one["eval_loss"] for one in list_evaluations(trainer.state).values()]


def asha(sampler: Any) -> Any:
    return hpo.ASHA(sampler, min_resource=1, max_resource=3)


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("scheduler", [None, asha])
def test_the_best_run_comes_out_again_by_its_hyperparameters(scheduler: Any, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "a")
    best = trainer.hyperparameter_search(rates, n_trials=7, sampler="random", scheduler=scheduler)
    assert set(best.hyperparameters) == {"learning_rate", "seed"} and best.run_summary.seed == best.hyperparameters["seed"]
    losses = train_by(make_trainer(tmp_path / "b"), best.hyperparameters)
    assert best.objective == pytest.approx(losses[-1], rel=1e-6)
    study = best.run_summary.study
    assert study.header.horizon == 3 and study.best.metrics["eval_loss"] == best.objective
    assert [value for _, value in study.best.curve] == pytest.approx(losses, rel=1e-6)
    stopped = [number for number in study.history.trials if study.history.trials[number][-1][1] < 3]
    assert bool(stopped) == (scheduler is not None)
    assert trainer.args.learning_rate == 1e-2, "the trainer has its own arguments again"
    assert not list((tmp_path / "a").glob("*/checkpoint-*")), "nothing was to be saved"
    assert train_by(trainer, best.hyperparameters) == pytest.approx(losses, rel=1e-6), "and trains as before"


def stock(trainer: Trainer, space: Any, trials: int, seed: int = 0, **options: Any) -> Any:
    return trainer.hyperparameter_search(space, n_trials=trials, sampler=optuna.samplers.RandomSampler(seed), **options)


def record_rates(trainer: Trainer) -> list[float]:
    """Weight decay at the beginning of every training, as it is filled."""
    seen: list[float] = []

    class Look(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            seen.append(args.weight_decay)

    trainer.add_callback(Look())
    return seen


def sometimes(trial: Trial) -> dict[str, Any]:
    if trial.suggest_categorical("decays", [True, False]):
        return {"weight_decay": trial.suggest_float("weight_decay", 0.1, 0.3)}
    return {}


def test_nothing_leaks_from_the_trial_before(tmp_path: Path) -> None:
    def model_init(trial: Trial = None) -> Any:
        return make_model()

    leaks = []
    for name in ("stock", "ours"):
        trainer = make_trainer(tmp_path / name, model_init, num_train_epochs=1, max_steps=1)
        seen = record_rates(trainer)
        values: list[bool] = []

        def space(trial: Trial, values: list[bool] = values) -> dict[str, Any]:
            found = sometimes(trial)
            values.append(bool(found))
            return found

        if name == "stock":
            stock(trainer, space, 8)
            expected = values
        else:
            with register():
                best = trainer.hyperparameter_search(space, n_trials=8, sampler="random")
            jobs = best.run_summary.study.history.jobs.values()
            expected = [bool(job.config["decays"]) for job in jobs]
        leaks.append(sum(decay > 0 and not own for decay, own in zip(seen, expected, strict=True)))
    assert leaks[0] > 0 and leaks[1] == 0


def first_weights(folder: Path, mine: bool) -> tuple[list[float], list[float]]:
    """A weight of every trial's new model, and what its own seed would give."""
    seen: list[float] = []

    def model_init() -> Any:
        model = make_model()
        seen.append(float(next(model.parameters()).detach().flatten()[0]))
        return model

    trainer, seeds = make_trainer(folder, model_init, max_steps=1), []
    seen.clear()  # that of the constructor

    def space(trial: Trial) -> dict[str, Any]:
        seeds.append(trial.suggest_int("seed", 1, 40))
        return {"seed": seeds[-1]}

    if mine:
        with register():
            best = trainer.hyperparameter_search(space, n_trials=5, sampler="random")
        seeds = [int(job.config["seed"]) for job in best.run_summary.study.history.jobs.values()]
    else:
        stock(trainer, space, 5)
    expected = []
    for seed in seeds:
        torch.manual_seed(seed)
        expected.append(float(next(make_model().parameters()).detach().flatten()[0]))
    return seen[:5], expected


def test_a_trial_has_its_own_seed_from_its_first_weight_on(tmp_path: Path) -> None:
    seen, expected = first_weights(tmp_path / "stock", mine=False)
    assert seen != expected and seen[1:] == expected[:-1], "the stock backend is one trial late"
    seen, expected = first_weights(tmp_path / "ours", mine=True)
    assert seen == expected


def far(trial: Trial) -> dict[str, Any]:
    """Rates that grow during the training until it gets worse."""
    return {"learning_rate": trial.suggest_float("learning_rate", 0.5, 5.0)}


@pytest.mark.parametrize("scheduler", [None, asha])
def test_the_best_model_of_a_trial_counts_and_not_its_last(scheduler: Any, tmp_path: Path) -> None:
    options = {"save_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss", "save_total_limit": 1,
               "warmup_steps": 15}  # fmt: skip
    trainer = make_trainer(tmp_path / "stock", **options)
    found = stock(trainer, far, 4)
    folder = tmp_path / "stock" / f"run-{found.run_id}"
    assert trainer.model is None and folder.is_dir()
    with register():
        trainer = make_trainer(tmp_path / "ours", **options)
        best = trainer.hyperparameter_search(far, n_trials=4, sampler="random", scheduler=scheduler, seed=3)
    study = best.run_summary.study
    curves = [result.curve for key, result in study.history.results.items() if key[1] == 3]
    assert any(curve[-1][1] > min(value for _, value in curve) for curve in curves), "otherwise there is nothing to see"
    assert best.objective == min(value for curve in curves for _, value in curve)
    checkpoint = Path(best.run_summary.checkpoint)
    assert checkpoint.parent == tmp_path / "ours" / f"run-{best.run_id}"
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best.objective, rel=1e-6), "the trainer holds the best model"
    for run in (tmp_path / "ours").glob("run-*"):
        whole = study.history.trials[int(run.name[4:])][-1][1] == 3
        assert len(list(run.glob("checkpoint-*"))) <= (1 if whole else 2)
    objective = found.objective
    again = train_by(make_trainer(tmp_path / "again", **options), found.hyperparameters)
    assert objective == pytest.approx(again[-1], rel=1e-6), "the stock backend tells the last evaluation"


def make_watched(models: list[weakref.ref[Any]], counts: list[int]) -> Any:
    """A model, and how many of those before are still there."""
    gc.collect()
    counts.append(sum(one() is not None for one in models))
    model = make_model()
    models.append(weakref.ref(model))
    return model


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("scheduler", [None, lambda sampler: hpo.ASHA(sampler, max_resource=6, reduction_factor=2)])
def test_patience_is_a_trials_own_and_survives_a_pause(scheduler: Any, tmp_path: Path) -> None:
    """A training of one's own with early stopping ends where the trial did."""
    def make() -> Trainer:
        trainer = make_trainer(tmp_path / "x", num_train_epochs=6, save_strategy="epoch", load_best_model_at_end=True,
                               metric_for_best_model="loss", warmup_steps=30)  # fmt: skip
        trainer.add_callback(EarlyStoppingCallback(2))
        return trainer

    found = make().hyperparameter_search(far, n_trials=5, sampler="random", scheduler=scheduler, seed=3)
    study = found.run_summary.study
    ends = {}
    for key, result in study.history.results.items():
        ends[key[0]] = max(ends.get(key[0], ((), 0.0)), (key, len(result.curve)))
    assert any(len(keys) > 1 for keys in study.history.trials.values()) == (scheduler is not None)
    stopped = 0
    for number, (key, evaluations) in ends.items():
        trainer = make()
        losses = train_by(trainer, dict(study.history.jobs[key].config))
        assert evaluations == min(len(losses), key[1]), number
        stopped += len(losses) < 6
    assert stopped > 1


def test_no_model_is_kept_between_trials(tmp_path: Path) -> None:
    alive: dict[bool, list[int]] = {}
    for mine in (False, True):
        models: list[weakref.ref[Any]] = []
        counts = alive.setdefault(mine, [])

        trainer = make_trainer(tmp_path / str(mine), partial(make_watched, models, counts))
        counts.clear()
        if mine:
            with register():
                trainer.hyperparameter_search(rates, n_trials=5, sampler="random", scheduler=asha)
        else:
            pruner = optuna.pruners.ThresholdPruner(upper=0.0)  # every trial
            with pytest.raises(ValueError, match="No trials are completed"):
                stock(trainer, rates, 5, pruner=pruner)
    assert max(alive[False][1:]) >= 1, "the stock backend keeps a pruned trial's model"
    assert max(alive[True][1:]) == 0


def wide(trial: Trial) -> dict[str, Any]:
    return {"per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [8, 16])}


def break_at(trainer: Trainer, batch: int) -> None:
    """A trainer that runs out of memory with batches of a size."""
    step = trainer.training_step

    def training_step(*arguments: Any, **options: Any) -> Any:
        if trainer.args.per_device_train_batch_size == batch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(*arguments, **options)

    trainer.training_step = training_step  # type: ignore[method-assign]


def test_a_trial_out_of_memory_fails_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "stock")
    break_at(trainer, 16)
    with pytest.raises(torch.OutOfMemoryError):
        stock(trainer, wide, 6)
    trainer = make_trainer(tmp_path / "ours")
    break_at(trainer, 16)
    with register():
        best = trainer.hyperparameter_search(wide, n_trials=6, sampler="random")
    results = best.run_summary.study.history.results.values()
    assert best.hyperparameters == {"per_device_train_batch_size": 8}
    assert {result.error for result in results} == {None, "OutOfMemoryError: CUDA out of memory"}


@pytest.mark.usefixtures("ours")
def test_a_model_of_the_trials_own_shape_grows_the_space(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, make_model)
    best = trainer.hyperparameter_search(rates, n_trials=5, sampler="gp", hp_name=lambda trial: f"width-{trial.params['seed']}")
    assert set(best.hyperparameters) == {"learning_rate", "seed", "width"}
    study = best.run_summary.study
    assert "width" in study.space.parameters and len(study.history.trials) == 5
    assert {job.config["width"] for job in study.history.jobs.values()} == {8, 16}


@pytest.mark.usefixtures("ours")
def test_a_space_and_several_objectives(tmp_path: Path) -> None:
    space = {"learning_rate": (1e-4, 1e-1, "log"), "optim": ["sgd", "adamw_torch"]}
    trainer = make_trainer(tmp_path)
    front = trainer.hyperparameter_search(
        space, lambda metrics: [metrics["eval_loss"], -metrics["eval_loss"]], 4, ["minimize", "maximize"], sampler="random"
    )
    assert len(front) >= 1 and all(set(run.hyperparameters) == set(space) for run in front)
    assert all(run.objective[0] == -run.objective[1] for run in front)


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("space", [rates, {"learning_rate": (1e-4, 1e-1, "log"), "seed": hpo.Int(1, 40)}])
def test_what_is_known_is_tried_first(space: Any, tmp_path: Path) -> None:
    default = {"learning_rate": 0.02, "seed": 7}
    trainer = make_trainer(tmp_path)
    best = trainer.hyperparameter_search(space, n_trials=2, sampler="random", first=[default], log=tmp_path / "log.sqlite")
    jobs = list(best.run_summary.study.history.jobs.values())
    assert [dict(job.config) == default for job in jobs] == [True, False]
    assert best.objective <= train_by(make_trainer(tmp_path), default)[-1]
    again = trainer.hyperparameter_search(space, n_trials=2, sampler="random", first=[default], log=tmp_path / "log.sqlite")
    assert len(again.run_summary.study.history.jobs) == 2
    with pytest.raises(ValueError, match="learning_rate"):
        trainer.hyperparameter_search(space, n_trials=2, sampler="random", first=[{"learning_rate": 3.0, "seed": 1}])


@pytest.mark.usefixtures("ours")
def test_the_default_space_and_a_log_that_goes_on(tmp_path: Path) -> None:
    def search(folder: str, trials: int) -> Any:
        trainer = make_trainer(tmp_path / folder, eval_strategy="no")
        trainer.train_dataset = Lines(8, 0)
        return trainer.hyperparameter_search(n_trials=trials, sampler="tpe", log=tmp_path / f"{folder}.jsonl")

    search("parts", 2)
    parts, whole = search("parts", 4), search("whole", 4)
    assert parts[:3] == whole[:3]
    assert set(parts.hyperparameters) == {"learning_rate", "num_train_epochs", "seed", "per_device_train_batch_size"}
    assert [event.canonical() for event in parts.run_summary.study.history.events if event.kind == "finish"].__len__() == 4


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"timeout": 3}, "timeout is an argument of Optuna's backend; here there is seconds"),
        ({"pruner": None}, "here there is scheduler"),
        ({"hp_space": lambda trial: {"layers": trial.suggest_int("layers", 1, 2)}}, "'layers' is no field of TrainingArguments"),
        ({"hp_space": lambda trial: {"logging_dir": "x"}}, "set the environment variable"),
        ({"scheduler": "asha", "eval_strategy": "no"}, "eval_strategy is 'no'"),
        ({"scheduler": "asha", "save_strategy": "best", "metric_for_best_model": "loss"}, "save_strategy is 'best'"),
        ({"direction": "down"}, "allowed are minimize and maximize"),
        ({"directions": ["minimize"]}, "here there is direction, which may be a list"),
        ({"sampler": optuna.samplers.RandomSampler()}, "a name of hpo.OPTIMIZERS and a function of (space, seed)"),
        ({"scheduler": optuna.pruners.MedianPruner()}, "a name of hpo.OPTIMIZERS and a function of a sampler"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    fields = {name: options.pop(name) for name in ("eval_strategy", "save_strategy", "metric_for_best_model") if name in options}
    trainer = make_trainer(tmp_path, **fields)
    trainer.train = None  # type: ignore[assignment, method-assign]
    with pytest.raises((TypeError, ValueError)) as raised:
        trainer.hyperparameter_search(**{"hp_space": rates, "n_trials": 2, **options})
    assert expected in str(raised.value) and "\n" not in str(raised.value)


def test_registering_is_undone(tmp_path: Path) -> None:
    with register():
        assert type(make_trainer(tmp_path / "a").hyperparameter_search(rates, n_trials=1).run_summary.study) is hpo.Study
    assert stock(make_trainer(tmp_path / "b"), rates, 1).run_summary is None
    assert os.path.isdir(tmp_path)


def test_two_processes_agree_about_every_trial(tmp_path: Path) -> None:
    """Also about those that a scheduler stops: what is trained, with which values, and with which weights."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.hpo.distributed_search", str(tmp_path)]
    both = [subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.DEVNULL)
            for rank in range(2)]  # fmt: skip
    assert [process.wait(900) for process in both] == [0, 0]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert (first.pop("leads"), second.pop("leads"), first["world"]) == (True, False, 2)
    assert first == second and len({part[0] for part in first["seen"]}) == 5
    assert len(first["seen"]) > 5, "some trials were paused and went on"
    assert {len(part) - 4 for part in first["seen"]} == {1, 2}
