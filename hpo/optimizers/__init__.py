"""Optimizers, one idea a file. `OPTIMIZERS` maps a name to a class; what is listed there passes every law by being listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.optimizer import Optimizer, Sampler, Scheduler
from hpo.optimizers.asha import ASHA
from hpo.optimizers.freezethaw import FreezeThaw
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.grid import Grid
from hpo.optimizers.halving import SuccessiveHalving
from hpo.optimizers.hyperband import Hyperband
from hpo.optimizers.manual import Manual
from hpo.optimizers.median import MedianStopping
from hpo.optimizers.pbt import PBT
from hpo.optimizers.random import Random
from hpo.optimizers.sobol import Sobol
from hpo.space import Space
from hpo.upgrade import refuse_renamed

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "manual": Manual,
    "grid": Grid,
    "random": Random,
    "sobol": Sobol,
    "gp": GP,
    "halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "asha": ASHA,
    "freezethaw": FreezeThaw,
    "median": MedianStopping,
    "pbt": PBT,
}


def make(name: str, space: Space | Mapping[str, Any], seed: int = 0, **options: Any) -> Optimizer:
    """An optimizer by name: `make("gp", space, seed=0)`, `make("asha", space, sampler="gp", max_resource=27)`.

    Options are the fields of the class; a scheduler's `sampler` may be a name or an instance (default: its `usual`, else random).
    Raises ValueError or TypeError that names what came and what is allowed.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; allowed are {list(OPTIMIZERS)}")
    cls, space = OPTIMIZERS[name], Space.of(space)
    if issubclass(cls, Scheduler):
        sampler = options.pop("sampler", cls.usual)
        if not isinstance(sampler, Sampler):
            made = make(sampler, space, seed)
            if not isinstance(made, Sampler):
                raise ValueError(f"{name!r} takes a sampler, but {sampler!r} is a scheduler")
            sampler = made
        options["sampler"] = sampler
    else:
        options |= {"space": space, "seed": seed}
    refuse_renamed((base.__name__ for base in cls.__mro__), options)
    allowed = [field for field in cls.__dataclass_fields__ if not field.startswith("_")]  # type: ignore[attr-defined]
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise ValueError(f"{name!r} has no option {unknown[0]!r}; allowed are {allowed}")
    return cls(**options)


__all__ = [
    "ASHA", "GP", "OPTIMIZERS", "PBT", "FreezeThaw", "Grid", "Hyperband", "Manual", "MedianStopping", "Random", "Sobol",
    "SuccessiveHalving", "make",
]  # fmt: skip
