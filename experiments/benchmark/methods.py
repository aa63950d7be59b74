"""METHODS: who is compared. Ours, and the peers that have an adapter; cheapest first, as they are run."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from experiments.benchmark import variants
from experiments.benchmark.digest import digest
from experiments.benchmark.peers import Peer
from experiments.benchmark.variants import Variant
from hpo.space import Space

PEERS = "experiments.benchmark.peers"
ADAPTER = "experiments/benchmark/peers/ours.py"
GP, RANDOM = ("hpo/optimizers/gp/sampler.py",), ("hpo/optimizers/random.py",)
OWN = "it has an environment of its own, which experiments/benchmark/hebo.txt says how to make"  # HEBO


class Absent(Exception):
    """A peer's packages or its adapter cannot be imported; the message is the sentence to show."""


@dataclass(frozen=True)
class Method:
    """An optimizer under the name that tables show.

    module     where its adapter is: "module:attribute" below experiments.benchmark.peers
    packages   what must be installed for it, as names of modules
    install    how they are installed, as the end of a sentence
    sources    our files that decide what it proposes, with what they import; empty for a peer, whose versions are recorded
    variant    what stands in the brackets of GP(...)
    shortcuts  whether its adapter can make it faster without changing anything that it proposes
    """

    name: str
    seeds: int
    module: str
    packages: tuple[str, ...] = ()
    install: str = "pip install '.[peers]' installs it"
    sources: tuple[str, ...] = ()
    variant: Variant | None = None
    shortcuts: bool = False

    @property
    def ours(self) -> bool:
        return bool(self.sources)

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, in one sentence; None if it can, as far as can be said without importing it."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                return self.absent(f"{package} is not installed")
        return None

    def absent(self, why: str) -> str:
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
            raise Absent(self.absent(str(error))) from error
        options: dict[str, Any] = {} if self.variant is None else self.variant.keywords()
        options |= {"shortcuts": not timed} if self.shortcuts else {}
        return made(space, seed, budget, **options)

    @property
    def digest(self) -> str | None:
        """Names the code that decides what it proposes; None for a peer."""
        own = None if self.variant is None else self.variant.source
        return digest(*self.sources, *([own] if own else []), alone=(ADAPTER,)) if self.ours else None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random", 20, "ours:random", sources=RANDOM),
        Method("Optuna TPE", 20, "optuna:tpe", ("optuna",)),
        Method("Optuna CMA-ES", 20, "optuna:cmaes", ("optuna", "cmaes")),
        Method("Nevergrad", 20, "nevergrad:Nevergrad", ("nevergrad",)),
        Method("GP", 20, "ours:gp", sources=GP),
        Method("Optuna GP", 20, "optuna:gp", ("optuna", "torch")),
        Method("BoTorch", 10, "botorch:BoTorch", ("botorch",), shortcuts=True),
        Method("SMAC", 5, "smac:SMAC", ("smac",)),
        Method("HEBO", 5, "hebo:HEBO", ("hebo",), install=OWN, shortcuts=True),
    )
}


def find(name: str) -> Method:
    """A method by name; GP(...) is what variants.py says. ValueError for an unknown name."""
    if name in METHODS:
        return METHODS[name]
    if (variant := variants.parsed(name)) is None:
        raise ValueError(f"unknown method {name!r}; allowed are {list(METHODS)}, and GP(...) as variants.py says")
    return replace(METHODS["GP"], name=variant.name, variant=variant)


def ordered(names: list[str]) -> list[Method]:
    """The methods of these names, each once, cheapest first (as in METHODS; GP(...) stands beside our GP); all of
    METHODS if no name is given. ValueError for an unknown name."""
    chosen = [find(name) for name in dict.fromkeys(names or METHODS)]
    order = list(METHODS)
    return sorted(chosen, key=lambda method: order.index(method.name if method.name in order else "GP"))
