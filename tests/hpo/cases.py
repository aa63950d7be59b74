"""Every optimizer that is listed, and compositions, by names that fit into a test's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo import (
    ASHA,
    GP,
    OPTIMIZERS,
    PB2,
    PBT,
    Categorical,
    Factors,
    Finals,
    Float,
    Grid,
    Hyperband,
    Int,
    MedianStopping,
    Optimizer,
    RandomForest,
    Scheduler,
    Sobol,
    Space,
    Steps,
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


def mixed_rules(space: Space) -> dict[str, Any]:
    """Every kind of rule, on whatever a space holds."""
    rules: dict[type, list[Any]] = {Float: [Factors(0.5, 2.0), Steps(-0.1, 0.1), "usual"], Int: [Steps(-3, 3), Factors(0.8, 1.2)],
                                    Categorical: [Steps(-1, 1), "resample", "usual"]}  # fmt: skip
    return {name: rules[type(spec)][i % len(rules[type(spec)])] if type(spec) in rules else "fixed"
            for i, (name, spec) in enumerate(space.parameters.items())}  # fmt: skip


# options that a case has besides those of the name before its dash
VARIANTS: dict[str, Callable[[Space], dict[str, Any]]] = {
    "pbt-tournament": lambda space: {"selection": "tournament", "changes": "one"},
    "pbt-rules": lambda space: {"explore": mixed_rules(space), "resample": 0.1, "quorum": 0.5},
    "pb2-tournament": lambda space: {"selection": "tournament"},
}


def build(name: str, space: Space, seed: int) -> Optimizer:
    """A case by name: one of OPTIMIZERS or of VARIANTS, "scheduler(sampler)", or "finals(...)" of these."""
    if name.startswith("finals("):
        return Finals(build(name.removeprefix("finals(").removesuffix(")"), space, seed), keep=2)
    case, _, sampler = name.rstrip(")").partition("(")
    scheduler = case.partition("-")[0]
    options = {**OPTIONS.get(scheduler, {}), **(VARIANTS[case](space) if case in VARIANTS else {})}
    if sampler:
        options["sampler"] = make(sampler, space, seed, **OPTIONS.get(sampler, {}))
    return make(scheduler, space, seed, **options)


def build_over(name: str, space: str, seed: int) -> Optimizer:
    """A case over one of SPACES, for a process that knows only texts."""
    return build(name, SPACES[space](), seed)


def learns(name: str) -> bool:
    """Whether a model chooses its configurations."""
    made = build(name, SPACES["plane"](), 0)
    return isinstance(made.chooser, GP | RandomForest) or isinstance(made, PB2)


FINISHED = ("random", "asha(gp)", "hyperband", "median", "freezethaw", "pbt", "grid")
CASES = [*OPTIMIZERS, "asha(gp)", "hyperband(sobol)", "pbt(gp)", "median(gp)", "asha(grid)"]
CASES += VARIANTS
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
