"""Optimizers, one idea a file. `OPTIMIZERS` maps a name to a class; what is listed there passes every law by being listed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpo.optimizer import Optimizer, Sampler, Scheduler, adapt
from hpo.optimizers.asha import ASHA
from hpo.optimizers.asha_stopping import ASHAStopping
from hpo.optimizers.bohb import BOHB
from hpo.optimizers.cma_es import CMAES
from hpo.optimizers.dehb import DEHB
from hpo.optimizers.differential_evolution import DifferentialEvolution
from hpo.optimizers.exploration import Factors, Steps
from hpo.optimizers.forest import RandomForest
from hpo.optimizers.freezethaw import FreezeThaw
from hpo.optimizers.genetic import Genetic
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.grid import Grid
from hpo.optimizers.halving import SuccessiveHalving
from hpo.optimizers.hyperband import Hyperband
from hpo.optimizers.kde import KDE
from hpo.optimizers.llamatune import LlamaTune
from hpo.optimizers.manual import Manual
from hpo.optimizers.median import MedianStopping
from hpo.optimizers.narrowing import Narrowing
from hpo.optimizers.nsga2 import NSGA2
from hpo.optimizers.pasha import PASHA
from hpo.optimizers.patience import PatienceStopping
from hpo.optimizers.pb2 import PB2
from hpo.optimizers.pbt import PBT
from hpo.optimizers.percentile import PercentileStopping
from hpo.optimizers.random import Random
from hpo.optimizers.regularized_evolution import RegularizedEvolution
from hpo.optimizers.replay import Replay
from hpo.optimizers.simple_pbt import SimplePBT
from hpo.optimizers.sobol import Sobol
from hpo.optimizers.tpe import TPE
from hpo.registry import is_reference, option_names, resolve
from hpo.space import Space
from hpo.upgrade import refuse_renamed
from hpo.values import format_value

NAME = re.compile(r"[A-Za-z][\w-]*")

OPTIMIZERS: dict[str, type] = {
    "manual": Manual,
    "grid": Grid,
    "random": Random,
    "narrowing": Narrowing,
    "sobol": Sobol,
    "gp": GP,
    "tpe": TPE,
    "kde": KDE,
    "bohb": BOHB,
    "forest": RandomForest,
    "cmaes": CMAES,
    "llamatune": LlamaTune,
    "genetic": Genetic,
    "de": DifferentialEvolution,
    "regularized": RegularizedEvolution,
    "nsga2": NSGA2,
    "simple_pbt": SimplePBT,
    "halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "asha": ASHA,
    "asha_stopping": ASHAStopping,
    "pasha": PASHA,
    "dehb": DEHB,
    "freezethaw": FreezeThaw,
    "median": MedianStopping,
    "percentile": PercentileStopping,
    "patience": PatienceStopping,
    "pbt": PBT,
    "pb2": PB2,
}


def register(name: str, cls: type) -> None:
    """Adds an optimizer of one's own to OPTIMIZERS: `make(name, space)` and `minimize(..., optimizer=name)` find it.

    Registering a class again changes nothing; a class that was defined again (in a notebook's cell) replaces the older one.
    ValueError if another class has the name, TypeError if the class is not an optimizer.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"name is {format_value(name)}; allowed are letters, digits, - and _, with a letter first")
    if not isinstance(cls, type) or not Optimizer.is_adaptable(cls):
        raise TypeError(f"register takes a class such as GP, with `propose` or `sample`, but {format_value(cls)} came")
    there = OPTIMIZERS.get(name, cls)
    if (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"the name {name!r} belongs to {there.__module__}.{there.__qualname__}; choose another one")
    OPTIMIZERS[name] = cls


def class_of(name: str) -> type:
    """The class of a name in OPTIMIZERS, of "package.module:Class" or of "./file.py:Class"."""
    if is_reference(name):
        return resolve(name, Optimizer)
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; allowed are {list(OPTIMIZERS)} and 'package.module:Class'")
    return OPTIMIZERS[name]


def make(name: str, space: Space | Mapping[str, Any], seed: int = 0, **options: Any) -> Optimizer:
    """An optimizer by name: `make("gp", space, seed=0)`, `make("asha", space, sampler="gp", max_resource=27)`,
    `make("package.module:Class", space)`, `make("./file.py:Class", space)`.

    Options are the fields of the class, or what its `__init__` takes; a scheduler's `sampler` may be a name or an instance
    (default: its `usual`, else random).
    Raises ValueError or TypeError that names what came and what is allowed.
    """
    cls, space = class_of(name), Space.of(space)
    allowed = option_names(cls)
    if issubclass(cls, Scheduler) or ("sampler" in allowed and "space" not in allowed):
        sampler = adapt(options.pop("sampler", cls.usual if issubclass(cls, Scheduler) else "random"))
        if not isinstance(sampler, Sampler):
            made = make(sampler, space, seed)
            if not isinstance(made, Sampler):
                raise ValueError(f"{name!r} takes a sampler, but {sampler!r} is a scheduler")
            sampler = made
        options["sampler"] = sampler
    else:
        options |= {"space": space} | ({"seed": seed} if seed or "seed" in allowed else {})
    refuse_renamed((base.__name__ for base in cls.__mro__), options)
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise ValueError(f"{name!r} has no option {unknown[0]!r}; allowed are {allowed}")
    return adapt(cls(**options))


__all__ = [
    "ASHA", "BOHB", "CMAES", "DEHB", "GP", "KDE", "NSGA2", "OPTIMIZERS", "PASHA", "PB2", "PBT", "TPE", "ASHAStopping",
    "DifferentialEvolution", "Factors", "FreezeThaw", "Genetic", "Grid", "Hyperband", "LlamaTune", "Manual", "MedianStopping",
    "Narrowing", "PatienceStopping", "PercentileStopping", "Random", "RandomForest", "RegularizedEvolution", "Replay",
    "SimplePBT", "Sobol", "Steps", "SuccessiveHalving", "make", "register",
]  # fmt: skip
