"""A trainer of transformers for a configuration, and its training as a Run whose unit is texts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Any

from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from experiments.finetuning.tasks import EVAL_BATCH, FinetuningTask
from experiments.sentiment.budget import Monitor
from hpo.integrations.transformers import EpochRun, set_arguments
from hpo.objective import Curve

SCORE = "score"  # the loss on the validation texts, negated: higher is better


class Listener(TrainerCallback):
    """Tells a monitor of every step and of every evaluation of a trainer. A loss that is not finite is no evaluation."""

    def __init__(self, monitor: Monitor, config: Mapping[str, Any]) -> None:
        self.monitor, self.config = monitor, config

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.monitor.count_step()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, model: Any = None, **others: Any) -> None:
        self.monitor.check_time()
        if isfinite(metrics["eval_loss"]):
            self.monitor.take(self.config, state.global_step, -metrics["eval_loss"], model.state_dict())


def open_trainer(task: FinetuningTask, monitor: Monitor, config: Mapping[str, Any], **more: Any) -> Trainer:
    """A trainer with a new model, that tells the monitor what it does; `more` are of TrainingArguments."""
    args = TrainingArguments(
        tempfile.gettempdir(), per_device_eval_batch_size=EVAL_BATCH, save_strategy="no", logging_strategy="no", report_to=[],
        disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False, label_names=["labels"], **more,
    )  # fmt: skip
    set_arguments(args, task.split(config)[1])
    trainer = Trainer(
        model=task.make_model(config), args=args, train_dataset=task.train, eval_dataset=task.valid,  # type: ignore[arg-type]
        data_collator=task.pad, callbacks=[Listener(monitor, config)],  # type: ignore[arg-type]
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


class TextsRun(EpochRun):
    """A training whose budget is the number of texts that it has seen, so that a budget costs about the same at any batch size.
    It ends at its own epochs."""

    def __init__(self, task: FinetuningTask, monitor: Monitor, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        self.batch = int(config["batch_size"])
        super().__init__(partial(open_trainer, task, monitor), config, seed, -(-horizon // self.batch))

    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> tuple[dict[str, float], Curve]:
        """Trains to a number of texts. The score on the validation texts there."""
        metrics, _ = super().advance(-(-until // self.batch), checkpoint)
        return {SCORE: -metrics["eval_loss"]}, ()
