"""Makes the optimizer of the settings: a scheduler over a sampler, each by name or as module:Class. Imports no torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from experiments.job import job_grid, list_trainable
from experiments.tune.settings import Settings
from hpo.optimizer import Optimizer, Sampler, Scheduler
from hpo.optimizers import class_of, make
from hpo.optimizers.rungs import geometric
from hpo.registry import is_reference, option_names, resolve
from hpo.space import Space

GENERATIONS = 9  # of PBT, if the horizon has room for them
TOKENS_PER_SECOND = 60_000  # of an average configuration, beside another worker; only the size of PBT's population uses it
SHARE = 0.7  # of the time that the population may take


def lower_rungs(settings: Settings) -> list[int]:
    """The budgets of the rungs below the horizon."""
    rungs = geometric(settings.min_resource, settings.horizon, settings.reduction_factor)
    return [rung for rung in rungs if rung < settings.horizon]


def population_size(settings: Settings) -> int:
    """The number of members that can all be trained to the horizon in the given seconds; 4 to 32."""
    affordable = SHARE * settings.seconds * settings.workers * TOKENS_PER_SECOND / settings.horizon
    return min(max(int(affordable), 4), 32)


# What a scheduler is made with; an option is left out if its class does not take it.
OPTIONS: Mapping[str, Callable[[Settings], Any]] = {
    "min_resource": lambda settings: settings.min_resource,
    "max_resource": lambda settings: settings.horizon,
    "horizon": lambda settings: settings.horizon,
    "reduction_factor": lambda settings: settings.reduction_factor,
    "rungs": lower_rungs,
    "population": lambda settings: settings.population or population_size(settings),
    "generations": lambda settings: max(1, min(GENERATIONS, settings.horizon // settings.min_resource)),
    "explore": lambda settings: list_trainable(settings.space),
}
GIVEN = {"sampler": ("space", "seed"), "scheduler": ("space", "seed", "sampler", *OPTIONS)}  # what a class may be made with
OPTIONAL = ("reduction_factor", "population")  # settings that a user's own class need not take


def make_optimizer(settings: Settings, space: Space) -> Optimizer:
    """The scheduler over the sampler, or the sampler alone. ValueError in one sentence for sizes that do not fit."""
    values = {"values": job_grid(settings.space)} if settings.sampler == "grid" else {}
    sampler = _make("sampler", settings.sampler, space, settings.seed, values)
    if settings.scheduler == "none":
        return sampler
    options = {name: OPTIONS[name](settings) for name in scheduler_options(settings)}
    return _make("scheduler", settings.scheduler, space, settings.seed, {"sampler": sampler, **options})


def _make(setting: str, name: str, space: Space, seed: int, options: Mapping[str, Any]) -> Optimizer:
    try:
        return make(name, space, seed, **options)
    except TypeError as error:  # of somebody's own class, or a scheduler that takes one sampler only
        raise ValueError(f"{setting} cannot be {name!r}: {error}") from error


def scheduler_options(settings: Settings) -> list[str]:
    """Which of OPTIONS the scheduler takes."""
    taken = [] if settings.scheduler == "none" else option_names(class_of(settings.scheduler))
    return [name for name in OPTIONS if name in taken]


# -- classes of one's own ----------------------------------------------------------------------------------------------


def check_classes(settings: Settings) -> None:
    """ValueError in one sentence if a user's own class is missing, is not of the right kind, needs an option that is not given
    here, or does not take one that the settings give."""
    if is_reference(settings.sampler):
        _check_needs("sampler", settings.sampler, _find_class("sampler", settings.sampler, Sampler))
    if not is_reference(settings.scheduler):
        return
    cls = _find_class("scheduler", settings.scheduler, Scheduler)
    if "sampler" not in option_names(cls):
        raise ValueError(f"scheduler cannot be {settings.scheduler!r}: it has no option 'sampler', which a scheduler takes")
    _check_needs("scheduler", settings.scheduler, cls)
    for name in OPTIONAL:
        if getattr(settings, name) != getattr(Settings, name) and name not in option_names(cls):
            raise ValueError(f"{settings.scheduler!r} has no option {name!r}; its options are {option_names(cls)}")


def _find_class(setting: str, name: str, base: type) -> type:
    try:
        return resolve(name, base)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{setting} cannot be {name!r}: {error}") from error


def _check_needs(setting: str, name: str, cls: type) -> None:
    """ValueError if a class cannot be made with the options that are given here."""
    for option in inspect.signature(cls).parameters.values():
        needed = option.default is option.empty and option.kind not in (option.VAR_POSITIONAL, option.VAR_KEYWORD)
        if needed and option.name not in GIVEN[setting]:
            there = f"a {setting} is given {', '.join(GIVEN[setting])}"
            raise ValueError(f"{setting} cannot be {name!r}: its option {option.name!r} has no default; {there}")
