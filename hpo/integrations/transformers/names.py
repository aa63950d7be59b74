"""Hyperparameters as fields of transformers' TrainingArguments, with names that older guides use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from transformers import TrainingArguments

from hpo.values import format_value, plain, whole

RENAMED = {  # what guides call a field of TrainingArguments, and what it is called now
    "evaluation_strategy": "eval_strategy",
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "accumulation": "gradient_accumulation_steps",
    "warmup_ratio": "warmup_steps",  # below 1 it is a ratio
}
VALUES = {"optim": {"adamw_hf": "adamw_torch", "adamw": "adamw_torch"}}  # values that are called otherwise now
GONE = {  # names that TrainingArguments has no more, and what to do instead
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR",
    "overwrite_output_dir": "delete the folder, or name another output_dir",
}
TRUTHS = {"true": True, "false": False}


def find_field(given: str) -> str:
    """The field of TrainingArguments that a name stands for now; a name that stands for none as it is."""
    return given if given in TrainingArguments.__dataclass_fields__ else RENAMED.get(given, given)


def set_arguments(args: TrainingArguments, config: Mapping[str, Any]) -> None:
    """Sets fields of the arguments to hyperparameters, each in the type that the field has, as if they were made with them.

    Older names are translated. ValueError for a name that is no field, for two names of one field, and for a value that its
    field's type does not take.
    """
    known, hints = {one.name for one in fields(args)}, get_type_hints(type(args))
    names: dict[str, str] = {}  # field -> the name that was given
    values: dict[str, Any] = {}
    for given, value in config.items():
        name = given if given in known else RENAMED.get(given, given)
        if name not in known:
            advice = GONE.get(name, "a name of the model's own belongs to the function that makes the trainer")
            raise ValueError(f"{given!r} is no field of TrainingArguments; {advice}")
        if name in names:
            raise ValueError(f"{names[name]!r} and {given!r} are both the field {name!r}; allowed is one of them")
        names[name] = given
        old, value = VALUES.get(name, {}), plain(value)
        value = old.get(value, value) if isinstance(value, str) else value
        values[name] = _as_field(name, list_kinds(hints[name], getattr(args, name)), value)
    vars(args).update(vars(replace(args, **values)))  # what follows from a field, such as the precision, is set too


def list_kinds(hint: Any, present: Any) -> set[Any]:
    """The types that a field takes. Where a name may stand for a member of an enumeration, it must be one."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    found = {get_origin(kind) or kind for kind in kinds}
    return {type(present)} if isinstance(present, Enum) else found


def _as_field(name: str, kinds: set[Any], value: Any) -> Any:
    """A value in one of the types of its field. ValueError where it is of none."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if value is None and NoneType in kinds:
        return None
    if bool in kinds and text in TRUTHS:
        return TRUTHS[text]
    if list in kinds and (text == "none" or isinstance(value, tuple)):
        return [] if text else list(value)
    kinds = kinds - {NoneType}
    if len(kinds) > 1:  # such as a dictionary or the name of a file; transformers says what is wrong
        return value
    (kind,) = kinds
    try:
        return _cast(kind, value)
    except (TypeError, ValueError, OverflowError):
        allowed = {int: "an integer", bool: "True or False", list: "a list"}.get(kind, f"what {kind.__name__} takes")
        raise ValueError(f"{name!r} is {format_value(value)}; allowed is {allowed}") from None


def _cast(kind: type, value: Any) -> Any:
    if kind is int and not isinstance(value, str):
        return whole("", value)
    if issubclass(kind, Enum) or (kind in (int, float, str) and not isinstance(value, bool)):
        return kind(value)
    if not isinstance(value, kind):
        raise TypeError
    return value
