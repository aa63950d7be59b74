"""Every optimizer that is listed, and compositions, by names that fit into a test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo import (
    ASHA,
    GP,
    OPTIMIZERS,
    PB2,
    PBT,
    Finals,
    Grid,
    Hyperband,
    MedianStopping,
    Optimizer,
    Scheduler,
    Sobol,
    Space,
    make,
)
from hpo.testing.spaces import SPACES

ROOT = Path(__file__).resolve().parent.parent.parent
TOP = 9  # the horizon of every scheduler under the laws

# what keeps the laws short; a new optimizer needs no line here
OPTIONS: dict[str, dict[str, Any]] = {
    "grid": {"points": 2},
    "genetic": {"population": 4, "generations": None},  # several generations in the two dozen jobs of most laws
    "de": {"population": 4},
    "regularized": {"population": 6, "sample_size": 3},
    "nsga2": {"population": 4},
    "halving": {"max_resource": TOP},
    "hyperband": {"max_resource": TOP},
    "bohb": {"max_resource": TOP},
    "asha": {"max_resource": TOP},
    "asha_stopping": {"max_resource": TOP},
    "dehb": {"max_resource": TOP},
    "pasha": {"max_resource": TOP},
    "percentile": {"rungs": (1, 3), "max_resource": TOP},
    "patience": {"rungs": (1, 3), "max_resource": TOP, "patience": 1},
    "median": {"rungs": (1, 3), "max_resource": TOP},
    "pb2": {"population": 4, "generations": 3, "max_resource": TOP},
    "pbt": {"population": 4, "generations": 3, "max_resource": TOP},
}


def build(name: str, space: Space, seed: int) -> Optimizer:
    """A case by name: one of OPTIMIZERS, "scheduler(sampler)", or "finals(...)" of these."""
    if name.startswith("finals("):
        return Finals(build(name.removeprefix("finals(").removesuffix(")"), space, seed), keep=2)
    scheduler, _, sampler = name.rstrip(")").partition("(")
    options = dict(OPTIONS.get(scheduler, {}))
    if sampler:
        options["sampler"] = make(sampler, space, seed, **OPTIONS.get(sampler, {}))
    return make(scheduler, space, seed, **options)


def build_over(name: str, space: str, seed: int) -> Optimizer:
    """A case over one of SPACES, for a process that knows only texts."""
    return build(name, SPACES[space](), seed)


def learns(name: str) -> bool:
    """Whether a model chooses its configurations."""
    made = build(name, SPACES["plane"](), 0)
    return isinstance(made.chooser, GP) or isinstance(made, PB2)


FINISHED = ("random", "asha(gp)", "hyperband", "median", "freezethaw", "pbt", "grid")
CASES = [*OPTIMIZERS, "asha(gp)", "hyperband(sobol)", "pbt(gp)", "median(gp)", "asha(grid)"]
CASES += ["asha(tpe)", "hyperband(tpe)"]
CASES += ["asha(cmaes)", "hyperband(cmaes)", "pbt(cmaes)"]
CASES += ["asha(genetic)", "hyperband(de)", "asha(regularized)", "pbt(nsga2)"]
CASES += ["llamatune(gp)", "llamatune(cmaes)", "asha(llamatune)"]
CASES += [f"finals({name})" for name in FINISHED]


def test_cases_are_what_they_say() -> None:
    space = SPACES["mixed"]()
    for name, outer, inner in [("asha(gp)", ASHA, GP), ("hyperband(sobol)", Hyperband, Sobol), ("pbt(gp)", PBT, GP),
                               ("median(gp)", MedianStopping, GP), ("asha(grid)", ASHA, Grid),
                               ("finals(asha(gp))", Finals, GP)]:  # fmt: skip
        made = build(name, space, 0)
        assert type(made) is outer and isinstance(made, Scheduler | Finals) and type(made.chooser) is inner
