"""SharedTrainer: one Trainer that trains all trials of a search, each from scratch or from where it was stopped.

A trial's arguments are a copy of the trainer's with the trial's values; then its seed is set, and its model is made by the
trainer's `model_init`. It is trained by the trainer's own `train` up to an evaluation, and its checkpoint holds all that the next
part needs. Between two parts the trainer holds no model. Where several processes train together, the first leads and the others
follow it, each with the same order.
"""

from __future__ import annotations

import copy
import gc
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from math import ceil, floor, isnan
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler, ExportableState
from transformers.trainer_utils import IntervalStrategy, has_length

from hpo.integrations.optuna.trial import OptunaTrial
from hpo.integrations.transformers.cloning import STATE, take_over
from hpo.integrations.transformers.hp_space import SearchSpace, Source
from hpo.integrations.transformers.names import GONE, RENAMED, set_arguments
from hpo.integrations.transformers.run import hide_progress_bars

EVALUATION = "eval_"  # begins the names of an evaluation's metrics


@dataclass(frozen=True)
class Order:
    """A part of a trial's training: up to `until` evaluations, or to its end where `until` is the horizon."""

    source: Source
    until: int
    horizon: int
    checkpoint: str | None = None  # to go on from
    adopted: int = 0  # evaluations of another trial, before this one's

    @property
    def may_pause(self) -> bool:
        """Whether the trial may go on after this part."""
        return self.until < self.horizon


@dataclass(frozen=True)
class Winner:
    """A best trial of a search."""

    source: Source
    objective: float | list[float]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrainedPart:
    """What came of it."""

    trial: OptunaTrial
    state: TrainerState
    checkpoint: Path | None  # at its end, if one was written
    is_own: bool  # whether only this search wanted the checkpoint
    ended: bool  # whether there is nothing left to train


class SharedTrainer:
    """A Trainer in the hands of a search. `release` gives it back as it was, but without a model."""

    def __init__(self, trainer: Trainer, space: SearchSpace) -> None:
        self.trainer, self.space = trainer, space
        self.args, self.model_init = trainer.args, trainer.model_init
        self.takes_trial = bool(inspect.signature(self.model_init).parameters)

    # -- a trial -----------------------------------------------------------------------------------------------------

    def make_arguments(self, trial: OptunaTrial) -> TrainingArguments:
        """The trainer's arguments with a trial's values, in the folder of the trial.

        ValueError for a value that is no field's, unless `model_init` takes the trial and can ask it for this name.
        """
        values, args = self.space.read_values(trial), copy.copy(self.args)
        known = {one.name for one in fields(args)} | set(RENAMED) | set(GONE)
        foreign = [name for name in values if name not in known]
        for name in foreign:
            if not self.takes_trial:
                raise ValueError(f"{name!r} is no field of TrainingArguments, and model_init does not take the trial")
            if name not in trial.params:
                raise ValueError(f"{name!r} is no field of TrainingArguments, and no name that hp_space has asked the trial for")
        set_arguments(args, {name: value for name, value in values.items() if name in known})
        args.output_dir = str(self.find_folder(trial))
        return args

    def find_folder(self, trial: OptunaTrial) -> Path:
        """Where a trial's checkpoints are."""
        name = self.trainer.hp_name
        return Path(self.args.output_dir or ".") / (f"run-{trial.number}" if name is None else name(trial))

    # -- training ----------------------------------------------------------------------------------------------------

    def lead(self, order: Order) -> TrainedPart:
        """Carries out an order, in all processes. RuntimeError for what another one raised."""
        self._send(order)
        part = self._try(order)
        assert part is not None
        return part

    def follow(self) -> list[Winner]:
        """Carries out the orders of the first process until it ends the search; what it has found."""
        while isinstance(said := self._send(None), Order):
            with suppress(Exception):  # the first process tells what was raised
                self._try(said)
        if not said:
            raise RuntimeError("the search has failed in the first process")
        return said

    def end(self, winners: list[Winner]) -> None:
        """Lets the other processes go, with what was found."""
        self._send(winners)

    def _send(self, said: Order | list[Winner] | None) -> Any:
        """What the first process says."""
        if self.args.world_size == 1:
            return said
        box = [said]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _try(self, order: Order) -> TrainedPart | None:
        """Carries out an order, and raises what this process or another one has raised by it."""
        part, error = None, None
        try:
            part = self.train(order)
        except Exception as raised:
            error = raised
        said = [None if error is None else f"{type(error).__name__}: {error}"]
        if self.args.world_size > 1:
            mine, said = said[0], [None] * self.args.world_size
            torch.distributed.all_gather_object(said, mine)
        if error is not None:
            raise error
        for rank, other in enumerate(said):
            if other is not None:
                raise RuntimeError(f"process {rank} raised {other}")
        return part

    def train(self, order: Order) -> TrainedPart:
        """Carries out an order in this process."""
        trainer = self.trainer
        trial = self.space.make_trial(order.source)
        stop = StopAtEvaluation(order)
        trainer.args = args = self.make_arguments(trial)
        if order.may_pause:
            args.save_only_model, args.restore_callback_states_from_checkpoint = False, True
            if args.save_total_limit == 1:
                args.save_total_limit = 2  # at 1 transformers deletes the last one, which the next part goes on from
        try:
            trainer._train_batch_size = args.train_batch_size
            trainer.create_accelerator_and_postprocess()
            trainer.model_init = (lambda: self.model_init(trial)) if self.takes_trial else self.model_init
            with own_callbacks(trainer, trial, stop), hide_progress_bars():
                trainer.train(resume_from_checkpoint=order.checkpoint)
                if not list_evaluations(trainer.state):
                    trainer.evaluate()
            return self._read(order, trial, stop)
        finally:
            self.drop_model()
            trainer.model_init = self.model_init

    def _read(self, order: Order, trial: OptunaTrial, stop: StopAtEvaluation) -> TrainedPart:
        state = copy.deepcopy(self.trainer.state)
        found = self.find_folder(trial) / f"checkpoint-{state.global_step}"
        return TrainedPart(trial, state, found if found.is_dir() else None, stop.forced, not stop.stopped)

    def adopt(self, trial: OptunaTrial, checkpoint: Path) -> None:
        """Makes another trial's checkpoint this trial's, by `take_over`."""
        trainer, args = self.trainer, self.make_arguments(trial)
        steps, _ = count_steps(args, count_examples(trainer))
        try:
            trainer.args, model = args, self.model_init(trial) if self.takes_trial else self.model_init()
            trainer.model = trainer.model_wrapped = model
            take_over(trainer, checkpoint, steps)
        finally:
            self.drop_model()

    def drop_model(self) -> None:
        """Frees the memory of the model and its optimizer, wherever the trainer keeps them."""
        trainer = self.trainer
        trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None  # type: ignore[assignment]
        for name in ("model", "optimizer", "lr_scheduler", "train_dataloader", "eval_dataloader"):
            setattr(trainer.callback_handler, name, None)
        trainer.accelerator.free_memory()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def load(self, winner: Winner, checkpoint: str | None) -> None:
        """Gives the trainer a best trial's model, with the weights of a checkpoint; without one it has none until it trains."""
        if checkpoint is None:
            return
        trial, trainer = self.space.make_trial(winner.source), self.trainer
        self.space.read_values(trial)  # as before every training
        model = self.model_init(trial) if self.takes_trial else self.model_init()
        trainer.model = trainer.model_wrapped = model.to(trainer.args.device)  # type: ignore[arg-type]
        trainer._load_from_checkpoint(checkpoint)

    def release(self) -> None:
        """Gives the trainer its own arguments again."""
        self.trainer.args, self.trainer.model_init = self.args, self.model_init
        self.trainer._train_batch_size = self.args.train_batch_size
        self.trainer.create_accelerator_and_postprocess()


@contextmanager
def own_callbacks(trainer: Trainer, trial: OptunaTrial, stop: StopAtEvaluation) -> Iterator[None]:
    """A trainer's callbacks as they were before any training, and ours around them, while the block lasts: so patience is not
    handed on from trial to trial."""
    handler = trainer.callback_handler
    callbacks = list(handler.callbacks)
    states = [(one, one.state()) for one in callbacks if isinstance(one, ExportableState)]
    handler.callbacks = [TellTrial(trial, stop, handler), *callbacks, stop]
    try:
        yield
    finally:
        handler.callbacks = callbacks
        for one, state in states:
            vars(one).update(state["attributes"])


class TellTrial(TrainerCallback):
    """Tells other callbacks, such as trackers, which trial it is; and puts `stop` behind those that a checkpoint has brought."""

    def __init__(self, trial: OptunaTrial, stop: StopAtEvaluation, handler: CallbackHandler) -> None:
        self.trial, self.stop, self.handler = trial, stop, handler

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        state.is_hyper_param_search, state.trial_params = True, dict(self.trial.params)
        state.trial_name = Path(str(args.output_dir)).name
        self.handler.callbacks.remove(self.stop)
        self.handler.callbacks.append(self.stop)


class StopAtEvaluation(TrainerCallback):
    """Stops a training at an evaluation, with a checkpoint.

    stopped   whether it did, and nothing else
    forced    whether nothing else wanted the last checkpoint
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.stopped = self.forced = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        if state.global_step < state.max_steps or args.eval_strategy == IntervalStrategy.EPOCH or list_evaluations(state):
            return
        control.should_evaluate = True  # a training has one, and its last checkpoint holds it

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        if not self.order.may_pause:
            return
        ends = control.should_training_stop or state.global_step >= state.max_steps
        if self.stopped or (not ends and self.order.adopted + len(list_evaluations(state)) < self.order.until):
            return
        self.stopped, self.forced = not ends, not control.should_save
        control.should_training_stop = control.should_save = True


def list_evaluations(state: TrainerState) -> dict[int, dict[str, float]]:
    """The evaluations of a training, by step, but for one before it. Those of several data sets at a step are one."""
    found: dict[int, dict[str, float]] = {}
    for entry in state.log_history:
        if entry["step"] and any(name.startswith(EVALUATION) for name in entry):
            found.setdefault(int(entry["step"]), {}).update({name: value for name, value in entry.items() if name != "step"})
    return found


def count_examples(trainer: Trainer) -> int | None:
    """Those of the training set; None where it does not say."""
    return len(trainer.train_dataset) if has_length(trainer.train_dataset) else None  # type: ignore[arg-type]


def count_steps(args: TrainingArguments, examples: int | None) -> tuple[int, int]:
    """(steps of a training, steps of an epoch), as the trainer counts them. ValueError where that cannot be said."""
    if examples is None:
        if args.max_steps <= 0:
            raise ValueError("the training set has no length; allowed is max_steps above 0, which says how long a training is")
        return args.max_steps, args.max_steps
    batches = examples / (args.train_batch_size * args.world_size)
    batches = floor(batches) if args.dataloader_drop_last else ceil(batches)
    epoch = max(ceil(batches / args.gradient_accumulation_steps), 1)
    return (args.max_steps if args.max_steps > 0 else ceil(args.num_train_epochs * epoch)), epoch


def find_best_step(evaluations: Mapping[int, Mapping[str, float]], args: TrainingArguments) -> int:
    """The step of the evaluation that counts: the best one where the best model is loaded at the end, else the last one."""
    if not args.load_best_model_at_end or args.metric_for_best_model is None:
        return max(evaluations)
    name = args.metric_for_best_model
    name = name if name.startswith(EVALUATION) else EVALUATION + name
    sign = -1 if args.greater_is_better else 1
    return min(evaluations, key=lambda step: (isnan(evaluations[step][name]), sign * evaluations[step][name], step))


def find_checkpoint(folder: Path, metrics: Mapping[str, float]) -> str | None:
    """The checkpoint of a trial's folder with the weights of an evaluation, known by all its metrics; None where none has them.

    The newest does not do: it may be of another evaluation, or of an earlier search in the same folder.
    """
    for path in sorted(folder.glob("checkpoint-*")):
        if not (path / STATE).exists():
            continue
        state = TrainerState.load_from_json(str(path / STATE))
        found = list_evaluations(state).get(state.global_step)
        if found is not None and all(found.get(name) == value or isnan(value) for name, value in metrics.items()):
            return str(path)
    return None
