"""The toy, the four ways of the figure as kinds of PBT, and what is measured of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hpo import PBT, Float, Manual, Space, minimize
from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Draft

RATE, SPREAD, START = 0.01, 0.1, 0.9
STEPS, EVERY, SEEDS = 200, 5, 200
SPACE = Space(h0=Float(-100.0, 100.0), h1=Float(-100.0, 100.0))  # h is free: no bound is ever met
FIRST = ({"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0})


class Toy:
    """A Run: theta under gradient steps of its own h."""

    def __init__(self, config: Mapping[str, float], seed: int, horizon: int) -> None:
        self.h, self.theta, self.step = np.array([config["h0"], config["h1"]]), np.full(2, START), 0

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        for _ in range(until - self.step):
            self.theta = self.theta - RATE * 2 * self.h * self.theta
        self.step = until
        return {"q": 1.2 - float(self.theta @ self.theta), "theta0": self.theta[0], "theta1": self.theta[1]}, []

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps([self.step, *self.theta]), encoding="utf-8")

    def load(self, path: str) -> None:
        self.step, *theta = json.loads(Path(path).read_text(encoding="utf-8"))
        self.theta = np.array(theta)


@dataclass(eq=False)
class AdditivePBT(PBT):
    """PBT whose explore adds N(0, spread) to every hyperparameter of the donor's."""

    spread: float = SPREAD

    def perturb(self, history: History, mine: Key, donor: Key, rng: np.random.Generator) -> Draft:
        return self.add_noise(history, donor, rng)

    def add_noise(self, history: History, key: Key, rng: np.random.Generator) -> Draft:
        """A key's configuration with noise."""
        config = history.jobs[key].config
        return Draft({name: float(value + self.spread * rng.standard_normal()) for name, value in config.items()})


@dataclass(eq=False)
class ExploreOnly(AdditivePBT):
    """Nobody copies the other: every worker goes on from its own theta, and explores."""

    def choose_donor(
        self, history: History, mine: Key, best: Sequence[Key], worst: Collection[Key], rng: np.random.Generator
    ) -> Key | None:
        return mine


@dataclass(eq=False)
class OwnPBT(AdditivePBT):
    """A worker that is behind copies theta alone: what it explores is its own h."""

    def perturb(self, history: History, mine: Key, donor: Key, rng: np.random.Generator) -> Draft:
        return self.add_noise(history, mine, rng)


@dataclass(eq=False)
class BehindExplores(OwnPBT):
    """Nobody copies, and only the worker that is behind explores."""

    def choose_donor(
        self, history: History, mine: Key, best: Sequence[Key], worst: Collection[Key], rng: np.random.Generator
    ) -> Key | None:
        return mine if mine in worst else None


@dataclass(eq=False)
class ExploreAboveZero(ExploreOnly):
    """As ExploreOnly, where h is never below zero: no worker climbs away from the top."""

    def add_noise(self, history: History, key: Key, rng: np.random.Generator) -> Draft:
        noisy = super().add_noise(history, key, rng).config
        return Draft({name: max(value, 0.0) for name, value in noisy.items()})


@dataclass(eq=False)
class NoCopies(PBT):
    """Nobody copies, nobody explores: two workers side by side, the paper's grid search."""

    def choose_donor(
        self, history: History, mine: Key, best: Sequence[Key], worst: Collection[Key], rng: np.random.Generator
    ) -> Key | None:
        return None


METHODS: dict[str, Callable[..., PBT]] = {
    "PBT": AdditivePBT,
    "exploit only": partial(AdditivePBT, spread=0.0),
    "explore only": ExploreOnly,
    "grid": NoCopies,
    # another reading, which the lines of those above made us try: h is a worker's own, and only theta is copied
    "PBT, own h": OwnPBT,
    "exploit only, own h": partial(OwnPBT, spread=0.0),
    "explore only, if behind": BehindExplores,
    "explore only, h >= 0": ExploreAboveZero,
}


def measure(method: str, seed: int) -> dict[str, Any]:
    """The best Q of the two workers after every five steps; of seed 0 where each of them was, too."""
    generations = STEPS // EVERY
    optimizer = METHODS[method](Manual(SPACE, configs=FIRST, seed=seed), population=2, generations=generations,
                                max_resource=STEPS, truncation=0.5)  # fmt: skip
    history = minimize(Toy, SPACE, optimizer, objectives={"q": "max"}, unit="steps", quiet=True).history
    ends = [[history.results[key] for key in history.at(until)] for until in history.budgets]
    found: dict[str, Any] = {"best": [round(max(end.metrics["q"] for end in both), 12) for both in ends]}
    if seed == 0:
        found["paths"] = [[round(end.metrics[name], 4) for name in ("theta0", "theta1")] for both in ends for end in both]
    return found
