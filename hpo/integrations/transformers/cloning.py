"""A Trainer's checkpoint made another trial's: weights, moments and place stay, all else becomes what the other trial has."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import Trainer, TrainerState
from transformers.trainer_callback import ExportableState

STATE, OPTIMIZER, SCHEDULER = "trainer_state.json", "optimizer.pt", "scheduler.pt"
LEARNED = ("global_step", "epoch", "total_flos", "num_input_tokens_seen")  # of a trainer's state; all else is a trial's own


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state of a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def take_over(trainer: Trainer, checkpoint: Path, steps: int) -> None:
    """Makes a checkpoint that of a trainer's own trial, which has so many steps in all. ValueError where the optimizers differ.

    What becomes the trial's: learning rates, decay, betas and all else of the optimizer's groups, the schedule, the batch size,
    the best metric, the patience of callbacks.
    """
    _keep_own_groups(trainer, checkpoint, steps)
    donor = read_state(checkpoint)
    callbacks: list[Any] = [*trainer.callback_handler.callbacks, trainer.control]
    state = TrainerState(
        train_batch_size=trainer.args.train_batch_size,
        stateful_callbacks=[one for one in callbacks if isinstance(one, ExportableState)],  # type: ignore[misc]
        **{name: donor[name] for name in LEARNED},
    )
    state.compute_steps(trainer.args, steps)
    state.save_to_json(str(checkpoint / STATE))


def _keep_own_groups(trainer: Trainer, checkpoint: Path, steps: int) -> None:
    """Writes the trainer's own options of the optimizer's groups, and rates of the schedule, into a checkpoint."""
    mine, schedule = _list_groups(trainer, read_state(checkpoint)["global_step"], steps)
    stored = torch.load(checkpoint / OPTIMIZER, map_location="cpu", weights_only=True)
    groups = stored["param_groups"]
    sizes = [len(group["params"]) for group in groups], [len(group["params"]) for group in mine]
    options = [set(group) for group in groups], [set(group) for group in mine]
    if sizes[0] != sizes[1] or options[0] != options[1]:
        raise ValueError("the checkpoint is of another optimizer or of another model, so a clone cannot go on from it")
    for group, own in zip(groups, mine, strict=True):
        group |= {name: value for name, value in own.items() if name != "params"}
    torch.save(stored, checkpoint / OPTIMIZER)
    torch.save(schedule, checkpoint / SCHEDULER)


def _list_groups(trainer: Any, step: int, steps: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The optimizer's groups and the scheduler's state that the trainer would have at a step of so many."""
    trainer.optimizer = trainer.lr_scheduler = None  # those of its last training are not fresh
    trainer.create_optimizer()
    trainer.create_scheduler(num_training_steps=steps)
    optimizer, scheduler = trainer.optimizer, trainer.lr_scheduler
    trainer.optimizer = trainer.lr_scheduler = None  # `train` makes them again
    if not isinstance(scheduler, ReduceLROnPlateau):  # which follows evaluations and not steps, and begins anew
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no step of the optimizer goes before
            for _ in range(step):
                scheduler.step()
    return optimizer.state_dict()["param_groups"], scheduler.state_dict()
