"""TrainerRun: a transformers.Trainer as a Run. The unit of its budget is an optimizer step.

It is trained by its own `train`, with a callback that stops it at a budget. There it evaluates and writes a Trainer's checkpoint
(weights, optimizer, scheduler, position, random numbers), from which the next `train` resumes. So a trial that pauses at rungs
ends with the weights of one that was trained at once. Evaluations draw no random numbers of the training.

What a clone takes over from another trial's checkpoint: weights, moments, steps. What stays its own: learning rates, decay, betas
and all else of the optimizer's groups, the schedule, the batch size, the order of the data, the best metric, the patience of
callbacks.
"""

from __future__ import annotations

import gc
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import has_length

import hpo
from hpo.integrations.transformers.cloning import read_state, take_over
from hpo.integrations.transformers.names import find_field
from hpo.objective import Curve
from hpo.values import whole

MakeTrainer = Callable[[dict[str, Any]], Trainer]
LARGEST_SEED = 2**32  # numpy's seeds are below
CHECKPOINT = "checkpoint-{}"  # the folder that a Trainer writes at a step
LENGTHS = ("num_train_epochs", "max_steps")  # fields that say how long a training is
ON_METRICS = {"reduce_lr_on_plateau": "ReduceLROnPlateau", "greedy": "GreedyLR"}  # schedules that hang on metrics: type, class


class TrainerRun:
    """One trial: a trainer that is made for a configuration and trained up to `horizon` steps.

    make_trainer   config -> a new Trainer, whose model is fresh; its arguments' max_steps, seed, output_dir and strategies of
                   evaluating, saving and loading are set here, and what prints its progress is removed
    seed           of the training, unless the configuration has a `seed`

    Metrics are those of the trainer's `evaluate`, under their names (eval_loss, ...). ValueError for a configuration that says
    how long to train, and for a learning rate that hangs on evaluations.
    """

    def __init__(self, make_trainer: MakeTrainer, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        refuse_lengths(config)
        transformers.set_seed(int(config.get("seed", seed)) % LARGEST_SEED)  # before the model is made
        self.trainer = make_trainer(dict(config))
        refuse_schedules_on_metrics(self.trainer)
        self.has_own_optimizer = self.trainer.optimizer is not None or self.trainer.lr_scheduler is not None
        self.horizon, self.folder = horizon, Path(tempfile.mkdtemp(prefix="hpo-trainer-"))
        self.checkpoint: Path | None = None
        self._is_loaded = True  # whether the model has the checkpoint's weights
        args = self.trainer.args
        args.seed = int(config.get("seed", seed)) % LARGEST_SEED
        args.output_dir, args.max_steps, args.load_best_model_at_end = str(self.folder), horizon, False
        args.save_strategy = args.eval_strategy = transformers.trainer_utils.IntervalStrategy.NO
        args.save_only_model, args.ignore_data_skip, args.save_total_limit = False, False, None
        self._stop = StopAt()
        self.trainer.add_callback(self._stop)
        for callback in (PrinterCallback, ProgressCallback):  # the study says what happens
            self.trainer.remove_callback(callback)

    @property
    def step(self) -> int:
        """How many optimizer steps it has been trained."""
        return 0 if self.checkpoint is None else int(read_state(self.checkpoint)["global_step"])

    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> tuple[dict[str, float], Curve]:
        """Trains to a step. The metrics there, and no curve. RuntimeError where the training ends before."""
        self._stop.checkpoint = checkpoint
        metrics = self._train(until) if self.step < until else self._evaluate()
        return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}, ()

    def _refuse_lost_place(self) -> None:
        """RuntimeError where a resumed training would go through its data in another order: a stream was read to its end, and
        nobody has counted how long it was."""
        again = self.checkpoint is not None and read_state(self.checkpoint)["epoch"] > 1
        if again and not has_length(self.trainer.get_train_dataloader()):
            raise RuntimeError(f"the training data has no length and ended before step {self.step}, so a training that pauses "
                               "there cannot find its place again; allowed are data with a length, or longer ones")  # fmt: skip

    def _train(self, until: int) -> dict[str, float]:
        self._refuse_lost_place()
        self._stop.until, evaluate = until, self.trainer.evaluate
        found: list[dict[str, float]] = []

        def evaluate_quietly(*arguments: Any, **options: Any) -> dict[str, float]:
            with keep_random_state():
                found.append(evaluate(*arguments, **options))
            return found[-1]

        self.trainer.evaluate = evaluate_quietly  # type: ignore[method-assign]
        if self.checkpoint is None:  # a Trainer without model_init goes on with the random numbers of what ran before
            transformers.set_seed(self.trainer.args.seed)
        try:
            with hide_progress_bars():
                self.trainer.train(resume_from_checkpoint=None if self.checkpoint is None else str(self.checkpoint))
        finally:
            del self.trainer.evaluate  # the method of the class again
        reached = self.trainer.state.global_step
        if reached < until:
            raise RuntimeError(f"the training ended at step {reached} of {until}: its data ended, or another callback stopped it")
        self._take(self.folder / CHECKPOINT.format(reached))
        self._is_loaded = True
        return found[-1]

    def _evaluate(self) -> dict[str, float]:
        if not self._is_loaded:
            self.trainer._load_from_checkpoint(str(self.checkpoint))
            self._is_loaded = True
        with keep_random_state():
            return self.trainer.evaluate()

    def save(self, path: str) -> None:
        """Writes the last checkpoint as a folder; between two steps of a training, one of this step."""
        if self._stop.is_between_steps:
            here = self.folder / CHECKPOINT.format(self.trainer.state.global_step)
            with keep_random_state(), hide_progress_bars():
                self.trainer._save_checkpoint(cast(torch.nn.Module, self.trainer.model), None)
            shutil.move(here, path)  # which may be on another disk
            return
        if self.checkpoint is None:
            raise ValueError("this run has not been trained yet, so it has no checkpoint; advance it first")
        shutil.copytree(self.checkpoint, path)

    def load(self, path: str) -> None:
        """Goes on from a checkpoint of this trial."""
        self._take(self._copy(path))

    def adopt(self, path: str) -> None:
        """Goes on from another trial's checkpoint, with this trial's hyperparameters. ValueError where the optimizers differ, and
        where the trainer was given its own: their options cannot be told from the other trial's."""
        if self.has_own_optimizer:
            raise ValueError("the trainer was given its own optimizer or scheduler, so a clone cannot keep its hyperparameters; "
                             "allowed are those that the trainer makes of its arguments")  # fmt: skip
        copy = self._copy(path)
        try:
            take_over(self.trainer, copy, self.horizon)
        except BaseException:
            shutil.rmtree(copy)
            raise
        self._take(copy)

    def _copy(self, path: str) -> Path:
        """A checkpoint's copy in the folder, under a name of its own: the checkpoint may be this run's."""
        return Path(shutil.copytree(path, tempfile.mkdtemp(dir=self.folder), dirs_exist_ok=True))

    def _take(self, path: Path) -> None:
        """Goes on from a checkpoint in the folder, under the name that it has at its step; all others are deleted."""
        for other in self.folder.glob(CHECKPOINT.format("*")):
            if other != path:
                shutil.rmtree(other)
        self.checkpoint = path.rename(self.folder / CHECKPOINT.format(read_state(path)["global_step"]))
        self._is_loaded = False

    def close(self) -> None:
        """Frees the model's memory and deletes the folder."""
        vars(self).pop("trainer", None)  # nothing is left to free the second time
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        shutil.rmtree(self.folder, ignore_errors=True)


def refuse_lengths(names: Iterable[str]) -> None:
    """ValueError for a hyperparameter that says how long to train."""
    for name in names:
        if find_field(name) in LENGTHS:
            raise ValueError(f"{name!r} is in the configuration, but the study's horizon decides how long a trial is trained")


def refuse_schedules_on_metrics(trainer: Trainer) -> None:
    """ValueError for a learning rate that hangs on evaluations, which are made where a trial pauses."""
    kind, given = str(getattr(trainer.args.lr_scheduler_type, "value", trainer.args.lr_scheduler_type)), trainer.lr_scheduler
    if kind in ON_METRICS or type(given).__name__ in ON_METRICS.values():
        shown = kind if given is None else type(given).__name__
        raise ValueError(f"the learning rate of {shown!r} hangs on evaluations, so it would differ with the budgets at which a "
                         "trial pauses; allowed are schedules of the step")  # fmt: skip


class StopAt(TrainerCallback):
    """Stops a training at a step, and evaluates and saves there. Between two steps before it calls `checkpoint`."""

    until = 0
    checkpoint: Callable[[], None] | None = None
    is_between_steps = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> TrainerControl:
        if state.global_step >= self.until:
            control.should_training_stop = control.should_evaluate = control.should_save = True
        elif self.checkpoint is not None:
            self.is_between_steps = True
            try:
                self.checkpoint()
            finally:
                self.is_between_steps = False
        return control


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Hides transformers' bars, such as that of writing a checkpoint."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Gives the random states of Python, numpy and torch back as they were."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@dataclass(frozen=True)
class TrainerObjective:
    """A Run factory of trainers; picklable where `make_trainer` is."""

    make_trainer: MakeTrainer

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> TrainerRun:
        return TrainerRun(self.make_trainer, config, seed, horizon)


def tune(
    make_trainer: MakeTrainer, space: Any, optimizer: Any = "gp", trials: int | None = None, *, steps: int, **options: Any
) -> hpo.Study:
    """Searches for the configuration whose trainer evaluates best after `steps` optimizer steps.

    make_trainer   config -> a new transformers.Trainer; `set_arguments` sets fields of its arguments by name
    optimizer      a name or an instance: ASHA pauses trials at rungs and resumes them, PBT clones them
    options        of hpo.minimize: objectives (default {"eval_loss": "min"}), seconds, seed, executor, log, ...

        def make_trainer(config):
            args = TrainingArguments("runs", report_to=[])
            set_arguments(args, config)
            return Trainer(model_init=make_model, args=args, train_dataset=train, eval_dataset=valid)
        study = tune(make_trainer, {"learning_rate": (1e-5, 1e-2, "log")}, "asha", 20, steps=200)
    """
    refuse_lengths(hpo.Space.of(space).parameters)
    objectives = options.pop("objectives", {"eval_loss": "min"})
    horizon = whole("steps", steps, 1)
    return hpo.minimize(
        TrainerObjective(make_trainer), space, optimizer, trials, objectives=objectives, horizon=horizon, unit="steps", **options
    )
