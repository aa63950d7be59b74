"""EI and log EI over one Gaussian process, climbed from random starts as the paper does, and by this project's own search."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize as scipy_minimize

from hpo import Float, Space
from hpo.optimizer import Sampler
from papers.designs import RandomDesign
from surrogates import Domain, ScoreFunction

STARTS = 16


@dataclass(eq=False)
class RandomStarts(RandomDesign):
    """The acquisition is climbed from 16 uniform rows at once by L-BFGS-B, and from nowhere else.

    ftol, gtol    where it ends: at a relative change of the score, or a slope, that is smaller
    """

    ftol: float = 1e-10
    gtol: float = 1e-8

    def search(
        self, score: ScoreFunction, domain: Domain, seed: int, best: np.ndarray, exclude: Collection[bytes]
    ) -> np.ndarray | None:
        shape = STARTS, domain.d
        climbed: Any = score

        def negative(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = climbed.gradient(x.reshape(shape))
            return -float(value.sum()), -slope.ravel()

        start = np.random.default_rng(seed).random(shape)
        found = scipy_minimize(negative, start.ravel(), jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * start.size,
                               options={"maxiter": 200, "ftol": self.ftol, "gtol": self.gtol})  # fmt: skip
        rows = np.concatenate([np.clip(found.x.reshape(shape), 0.0, 1.0), start])
        return np.asarray(rows[int(np.argmax(score(rows)))])


def squares(config: Mapping[str, float]) -> float:
    """The sum of squares around the middle of the unit cube."""
    return sum((x - 0.5) ** 2 for x in config.values())


def ackley(config: Mapping[str, float]) -> float:
    """Ackley's function over the unit cube, which stands for [-32.768, 32.768]."""
    x = 32.768 * (2 * np.array(list(config.values())) - 1)
    near, waves = math.sqrt(float(np.mean(x**2))), float(np.mean(np.cos(2 * np.pi * x)))
    return 20 + math.e - 20 * math.exp(-0.2 * near) - math.exp(waves)


def michalewicz(config: Mapping[str, float]) -> float:
    """Michalewicz's function over the unit cube, which stands for [0, pi]."""
    x = np.pi * np.array(list(config.values()))
    return -float((np.sin(x) * np.sin(np.arange(1, len(x) + 1) * x**2 / np.pi) ** 20).sum())


FUNCTIONS: dict[str, Callable[[Mapping[str, float]], float]] = {"squares": squares, "ackley": ackley, "michalewicz": michalewicz}
METHODS: dict[str, Callable[[Space, int, int], Sampler]] = {
    "EI": lambda space, seed, initial: RandomStarts(space, seed=seed, acquisition="ei", initial=initial),
    "log EI": lambda space, seed, initial: RandomStarts(space, seed=seed, acquisition="logei", initial=initial),
    "EI, without tolerances": lambda space, seed, initial: RandomStarts(
        space, seed=seed, acquisition="ei", initial=initial, ftol=0.0, gtol=0.0
    ),
    "EI, searched near the best": lambda space, seed, initial: RandomDesign(space, seed=seed, acquisition="ei", initial=initial),
}


def unit_cube(d: int) -> Space:
    """d columns from 0 to 1."""
    return Space({f"x{i}": Float(0.0, 1.0) for i in range(d)})
