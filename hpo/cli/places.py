"""What commands are given: logs, files of JSON, spaces, and objects that a log cannot hold."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hpo
from hpo.job import Key
from hpo.load import load, parse_parameter
from hpo.optimizer import Optimizer
from hpo.registry import find_object
from hpo.space import Space
from hpo.study import Study
from hpo.values import format_value


@contextmanager
def study_at(place: str, own: str | None = None, driven: bool = False) -> Iterator[Study]:
    """The study of a log, closed afterwards.

    own      "module:name" of what the log cannot hold: a class, an instance, or a function that makes one
    driven   whether the optimizer is needed, so that a log which can only be read is a ValueError
    """
    made = None if own is None else _make_own(own)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study = load(place, optimizer=made)
    try:
        refusal = study.history.refusal
        for warning in caught:
            if str(warning.message) != refusal:  # that it can only be read is said where more is asked
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if driven and refusal is not None:
            raise ValueError(f"{refusal}; for this command --optimizer module:name gives it")
        yield study
    finally:
        study.history.log.close()


def _make_own(text: str) -> Optimizer | None:
    """The optimizer that a text names; None for a class, which is registered, so that the log's options make it."""
    found = find_object(text)
    if isinstance(found, type):
        hpo.register(found.__name__, found)
        return None
    return found() if callable(found) else found  # type: ignore[no-any-return]


def read_json(path: str) -> Any:
    """The JSON in a file, or on stdin where the path is "-". ValueError in one sentence where it is none."""
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path!r} holds no JSON: {error}") from None


def read_mapping(path: str, what: str) -> dict[str, Any]:
    """An object of JSON, with names."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} holds {format_value(found)}; allowed is {what}")
    return found


def read_space(path: str) -> Space:
    """The space of a file, in which every parameter is written as in a log's header:

    {"lr": {"float": [1e-5, 0.1], "log": true}, "layers": {"int": [2, 12]}, "norm": {"choices": ["layer", "rms"]}, "heads": 4,
     "momentum": {"float": [0.0, 0.99], "when": {"norm": ["rms"]}}}
    """
    found = read_mapping(path, 'a space such as {"lr": {"float": [1e-5, 0.1], "log": true}}')
    return Space({name: _read_parameter(path, name, value) for name, value in found.items()})


def _read_parameter(path: str, name: str, value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError(f'{path!r} gives {name!r} the list {format_value(value)}, which may be a range or a choice; '
                         f'allowed are {{"float": [low, high]}}, {{"int": [low, high]}} and {{"choices": [...]}}')  # fmt: skip
    if not isinstance(value, Mapping):
        return value
    return parse_parameter(value, f"{path!r} describes the parameter {name!r}")


def parse_key(study: Study, text: str) -> Key:
    """The key that "TRIAL,UNTIL" names, or the last one of "TRIAL". ValueError where the study has started none such."""
    history, parts = study.history, text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(parts) > 2:
        raise ValueError(f"{text!r} names no trial; allowed are a number, such as 3, and a number with a budget, such as 3,27")
    trial, *until = map(int, parts)
    if trial not in history.trials:
        raise ValueError(f"there is no trial {trial}; the study has started {len(history.trials)}")
    key = (trial, until[0]) if until else history.trials[trial][-1]
    if key not in history.jobs:
        budgets = [there for _, there in history.trials[trial]]
        raise ValueError(f"trial {trial} was never trained until {key[1]}; its budgets are {budgets}")
    return key
