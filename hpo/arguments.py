"""Arguments as people type them: each is brought into its one form, or refused in a sentence that names it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.objective import Objective, hook, kind
from hpo.optimizer import Optimizer, Scheduler, adapt
from hpo.optimizers import OPTIMIZERS, make
from hpo.registry import missing_methods
from hpo.space import Space
from hpo.stop_rules import StopRule
from hpo.values import format_value, whole

SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kMGT]?)(i?)B)?\s*", re.IGNORECASE)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def count(name: str, value: Any, least: int) -> int | None:
    """An integer, or None where none is given."""
    return None if value is None else whole(name, value, least)


def objectives_of(metric: Any, objectives: Any) -> Any:
    """Objectives as they were given, or the one metric that was. ValueError for both."""
    if metric is None:
        return objectives
    if objectives is not None:
        raise ValueError(f"metric is {format_value(metric)} and objectives is {format_value(objectives)}; allowed is one of them")
    if not isinstance(metric, str) or not metric:
        raise TypeError(f"metric is {format_value(metric)}; allowed is the name of a metric")
    return [metric]


def directions(objectives: Any) -> dict[str, str] | None:
    """Objectives as name -> "min" or "max"; a list of names means that all are minimised. None stays None: the default."""
    if objectives is None:
        return None
    if isinstance(objectives, list | tuple):
        objectives = dict.fromkeys(objectives, "min") if _distinct(objectives) else objectives
    if not isinstance(objectives, Mapping) or not all(isinstance(name, str) and name for name in objectives):
        raise TypeError(
            f"objectives is {format_value(objectives)}; allowed are a mapping such as {{'loss': 'min', 'accuracy': 'max'}} and a "
            f"list of names, which are minimised"
        )
    return dict(objectives)


def _distinct(names: Any) -> bool:
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def optimizer_over(space: Space, optimizer: Any, seed: Any) -> Optimizer:
    """An optimizer by name, or the instance itself, which must be over this space."""
    if isinstance(optimizer, str):
        return make(optimizer, space, whole("seed", seed, 0))
    checked = instance(optimizer)
    if checked.space.describe() != space.describe():
        raise ValueError(f"the {type(checked).__name__} that came is over another space than the one beside it")
    if seed not in (0, checked.seed):
        raise ValueError(
            f"the {type(checked).__name__} that came has the seed {checked.seed}, but seed={format_value(seed)} came too"
        )
    return checked


def instance(optimizer: Any) -> Optimizer:
    """The optimizer, or an object of a plain class made into one. TypeError for anything else, such as a class or a name."""
    optimizer = adapt(optimizer)
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and Optimizer.is_adaptable(optimizer):
        name = optimizer.__name__
        raise TypeError(f"optimizer is the class {name}; allowed is an instance such as {_example(optimizer)}")
    raise TypeError(
        f"optimizer is {_describe_other(optimizer)}; allowed are an instance such as GP(space) and, in minimize, one of the "
        f"{len(OPTIMIZERS)} names of hpo.OPTIMIZERS, such as 'gp' and 'asha'"
    )


def _describe_other(value: Any) -> str:
    """In words, a value that is not an optimizer; for a user's own class also what it lacks to be one."""
    cls = value if isinstance(value, type) else type(value)
    if cls.__module__ == "builtins" or cls.__module__.partition(".")[0] == "hpo":
        return format_value(value)
    what = f"the class {cls.__name__}" if value is cls else f"an instance of {cls.__name__}"
    return f"{what}, but {missing_methods(cls, Optimizer.written)}"


def _example(optimizer: type[Optimizer]) -> str:
    inner = "GP(space)" if issubclass(optimizer, Scheduler) else "space"
    return f"{optimizer.__name__}({inner})"


def objective_over(space: Space, objective: Any) -> Objective:
    """The objective. TypeError if its arguments are named like parameters of the space: it gets one configuration instead; and
    whatever the objective itself raises about the space (see hpo.objective.ObjectiveHooks)."""
    kind(objective)
    names = list(inspect.signature(objective).parameters)
    taken = [name for name in names if name in space.parameters]
    if taken and names[0] in space.parameters:
        raise TypeError(
            f"the objective takes {names}, which are parameters of the space; it gets one configuration: def f(config), and "
            f"config[{names[0]!r}] in it"
        )
    if (check := hook(objective, "check_space")) is not None:
        check(space)
    found: Objective = objective
    return found


def rules(stop: Any) -> tuple[StopRule, ...]:
    """Stop rules: one, several, or none."""
    found = (stop,) if isinstance(stop, StopRule) else stop
    if not isinstance(found, list | tuple) or not all(isinstance(rule, StopRule) for rule in found):
        raise TypeError(f"stop is {format_value(stop)}; allowed are a rule such as NoImprovement(patience=9) and a list of them")
    return tuple(found)


def further_options(options: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """The argument `executor_options`: options of an executor by name. ValueError for those that are arguments by themselves."""
    if options is None:
        return {}
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise TypeError(f"executor_options is {format_value(options)}; allowed is a mapping such as {{'devices': [0, 1]}}")
    for name in options:
        if name in known:
            raise ValueError(f"executor_options holds {name!r}, which is an argument of its own")
    return dict(options)


def text(name: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is {format_value(value)}; allowed is a string that is not empty")
    return value


def folder_of(value: Any) -> str | Path | None:
    """A folder's path, its URL, or None."""
    if value is not None and not isinstance(value, str | Path):
        raise TypeError(f"folder is {format_value(value)}; allowed are the path or the URL of a folder, and None")
    if value is not None and Path(value).exists() and not Path(value).is_dir():
        raise ValueError(f"folder is {format_value(value)}, which is a file; allowed is the path of a folder")
    found: str | Path | None = value
    return found


def retention(keep: Any, disk: Any, objective: str) -> tuple[str | int, int | None]:
    """Which checkpoints stay ("live", "all", or how many of the best trials beside the live ones), and how many bytes all may
    take together; for an objective of a kind (see hpo.objective)."""
    rule = keep if isinstance(keep, str) and keep in ("live", "all") else _best_count(keep)
    limit = None if disk is None else _byte_count(disk)
    if rule == "all" and limit is not None:
        raise ValueError(f"keep is 'all', under which no checkpoint goes, but disk is {format_value(disk)}; give one of them")
    if objective != "run" and (rule != "live" or limit is not None):
        name, value = ("keep", keep) if rule != "live" else ("disk", disk)
        kinds = {"function": "f(config)", "report": "f(config, report)"}
        raise ValueError(f"{name} is {format_value(value)}, but {kinds[objective]} has no checkpoints; give a Run factory")
    return rule, limit


def _best_count(keep: Any) -> int:
    try:
        return whole("keep", keep, 1)
    except ValueError:
        raise ValueError(
            f"keep is {format_value(keep)}; allowed are 'live', 'all' and an integer of at least 1: how many of the best trials"
        ) from None


def _byte_count(disk: Any) -> int:
    """Bytes of a number of them, or of a text such as "20GB", which are 20e9, and "20GiB", which are 20 * 2**30."""
    match = SIZE.fullmatch(disk) if isinstance(disk, str) else None
    try:
        found = disk if match is None else float(match[1]) * (1024 if match[3] else 1000) ** POWERS[(match[2] or "").lower()]
        return whole("disk", found if match is None else round(found), 1)
    except ValueError:
        raise ValueError(
            f"disk is {format_value(disk)}; allowed are an integer of at least 1, which counts bytes, a text such as '20GB' or "
            f"'512MiB', and None"
        ) from None
