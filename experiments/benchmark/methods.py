"""METHODS: who is compared. Ours, and the peers that have an adapter; cheapest first, as they are run.

A method goes by its name in METHODS; by GP(...), see variants.py; or, if it is somebody's own, by "package.module:Class" or
"./file.py:Class", an optimizer of hpo.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from experiments.benchmark import variants
from experiments.benchmark.peers import Peer
from experiments.benchmark.variants import Variant
from hpo.optimizer import Sampler
from hpo.optimizers import class_of
from hpo.space import Space

PEERS = "experiments.benchmark.peers"
OWN, OWN_SEEDS = re.compile(r"[^()=]+:\w+"), 20  # methods of somebody's own
HEBOS = "it has an environment of its own, which experiments/benchmark/hebo.txt says how to make"


class Absent(Exception):
    """A peer's packages or its adapter cannot be imported; the message is the sentence to show."""


@dataclass(frozen=True)
class Method:
    """An optimizer under the name that tables show.

    module     where its adapter is: "module:attribute" below experiments.benchmark.peers
    packages   what must be installed for it, as names of modules
    install    how they are installed, as the end of a sentence
    variant    what stands in the brackets of GP(...)
    reference  the class of ours, or of somebody's own, as text
    shortcuts  whether its adapter can make it faster without changing anything that it proposes
    """

    name: str
    seeds: int
    module: str
    packages: tuple[str, ...] = ()
    install: str = "pip install '.[peers]' installs it"
    variant: Variant | None = None
    reference: str | None = None
    shortcuts: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether code that is not installed decides what it proposes: that of this repository, or somebody's own."""
        return self.module.startswith("ours:")

    @property
    def sources(self) -> tuple[str, ...]:
        """The code that decides what it proposes, in the ledger's terms; () for a peer, whose versions are recorded."""
        if self.reference is not None:
            return self.reference, f"{PEERS}.ours:Ours"
        rows = (self.variant or Variant()).sources if self.module == "ours:gp" else ()
        return (f"{PEERS}.{self.module}", *rows) if self.is_ours else ()

    @property
    def absence(self) -> str | None:
        """Why it cannot run here, in one sentence; None if it can, as far as can be said without importing it."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                return self.explain_absence(f"{package} is not installed")
        return None

    def explain_absence(self, why: str) -> str:
        return f"{self.name} is skipped: {why}; {self.install}"

    def make(self, space: Space, seed: int, budget: int, timed: bool = False) -> Peer:
        """A fresh optimizer; without shortcuts if it is timed. Raises Absent where its packages cannot be imported.

        All of them are imported here, so that no ask is charged for an import.
        """
        module, _, attribute = self.module.partition(":")
        try:
            for package in self.packages:
                importlib.import_module(package)
            made: Callable[..., Peer] = getattr(importlib.import_module(f"{PEERS}.{module}"), attribute)
        except ImportError as error:
            raise Absent(self.explain_absence(str(error))) from error
        options: dict[str, Any] = {} if self.variant is None else self.variant.keywords()
        options |= {"shortcuts": not timed} if self.shortcuts else {}
        options |= {} if self.reference is None else {"reference": self.reference}
        return made(space, seed, budget, **options)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random", 20, "ours:random"),
        Method("Sobol", 20, "ours:adapt_class", reference="hpo.optimizers.sobol:Sobol"),
        Method("narrowing", 20, "ours:narrowing"),
        Method("genetic", 20, "ours:adapt_class", reference="hpo.optimizers.genetic:Genetic"),
        Method("DE", 20, "ours:adapt_class", reference="hpo.optimizers.differential_evolution:DifferentialEvolution"),
        Method("regularized evolution", 20, "ours:adapt_class",
               reference="hpo.optimizers.regularized_evolution:RegularizedEvolution"),
        Method("Optuna TPE", 20, "optuna:tpe", ("optuna",)),
        Method("Optuna CMA-ES", 20, "optuna:cmaes", ("optuna", "cmaes")),
        Method("Nevergrad", 20, "nevergrad:Nevergrad", ("nevergrad",)),
        Method("TPE", 20, "ours:adapt_class", reference="hpo.optimizers.tpe:TPE"),
        Method("KDE", 20, "ours:adapt_class", reference="hpo.optimizers.kde:KDE"),
        Method("CMA-ES", 20, "ours:adapt_class", reference="hpo.optimizers.cma_es:CMAES"),
        Method("random forest", 20, "ours:adapt_class", ("sklearn",), reference="hpo.optimizers.forest:RandomForest"),
        Method("GP", 20, "ours:gp"),
        Method("LlamaTune", 20, "ours:llamatune"),
        Method("Optuna GP", 20, "optuna:gaussian_process", ("optuna", "torch")),
        Method("BoTorch", 10, "botorch:BoTorch", ("botorch",), shortcuts=True),
        Method("SMAC", 5, "smac:SMAC", ("smac",)),
        Method("HEBO", 5, "hebo:HEBO", ("hebo",), install=HEBOS, shortcuts=True),
    )
}


def find(name: str) -> Method:
    """A method by name: one of METHODS, GP(...) or "package.module:Class". ValueError for an unknown name."""
    if name in METHODS:
        return METHODS[name]
    if (variant := variants.read_variant(name)) is not None:
        return replace(METHODS["GP"], name=variant.name, variant=variant)
    if OWN.fullmatch(name):
        return find_own(name)
    raise ValueError(
        f"unknown method {name!r}; allowed are {list(METHODS)}, GP(...) as variants.py says, and 'package.module:Class'"
    )


def find_own(reference: str) -> Method:
    """The method of a class of somebody's own. ValueError for what is no optimizer, and for a scheduler: a study trains every
    configuration to the end."""
    try:
        cls = class_of(reference)
    except TypeError as error:
        raise ValueError(str(error)) from None
    if not issubclass(cls, Sampler):
        raise ValueError(f"{reference!r} is a scheduler; the benchmark compares samplers, which it asks for whole trainings")
    return Method(reference, OWN_SEEDS, "ours:adapt_class", reference=reference)


def sort_by_cost(names: list[str]) -> list[Method]:
    """The methods of these names, each once, cheapest first (as in METHODS; GP(...) and those of somebody's own stand beside
    our GP); all of METHODS if no name is given. ValueError for an unknown name."""
    chosen = [find(name) for name in dict.fromkeys(names or METHODS)]
    order = list(METHODS)
    return sorted(chosen, key=lambda method: order.index(method.name if method.name in order else "GP"))
