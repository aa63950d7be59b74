"""Hyperparameters as fields of transformers' TrainingArguments, with names that older guides use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments

from hpo.values import format_value

RENAMED = {  # what guides call a field of TrainingArguments, and what it is called now
    "evaluation_strategy": "eval_strategy",
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "accumulation": "gradient_accumulation_steps",
}
VALUES = {"optim": {"adamw_hf": "adamw_torch", "adamw": "adamw_torch"}}  # values that are called otherwise now
GONE = {  # names that TrainingArguments has no more, and what to do instead
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR",
    "overwrite_output_dir": "delete the folder, or name another output_dir",
}


def set_arguments(args: TrainingArguments, config: Mapping[str, Any]) -> None:
    """Sets fields of the arguments to hyperparameters, each in the type that the field has.

    Older names are translated. ValueError for a name that is no field, and for a value that its field's type does not take.
    """
    known = {one.name for one in fields(args)}
    for given, value in config.items():
        name = given if given in known else RENAMED.get(given, given)
        if name not in known:
            advice = GONE.get(name, "a name of the model's own belongs to the function that makes the trainer")
            raise ValueError(f"{given!r} is no field of TrainingArguments; {advice}")
        setattr(args, name, _as_field(name, getattr(args, name), VALUES.get(name, {}).get(value, value)))


def _as_field(name: str, old: Any, value: Any) -> Any:
    """A value in the type of the field's present one."""
    if old is None or value is None or isinstance(old, bool):
        return value
    try:
        made = type(old)(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name!r} is {format_value(value)}; allowed is what {type(old).__name__} takes") from None
    if isinstance(old, int) and made != value:
        raise ValueError(f"{name!r} is {format_value(value)}; allowed is an integer")
    return made
