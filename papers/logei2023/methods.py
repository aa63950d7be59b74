"""EI and log EI over one Gaussian process, climbed from random starts as the paper does, and by this project's own search."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from scipy.optimize import minimize as scipy_minimize

from hpo import Float, Space, minimize
from hpo.optimizer import Sampler
from papers.designs import RandomDesign, running_best
from surrogates import EI, Domain, GaussianProcess, LogEI, Score, ScoreFunction, fit, standardise
from surrogates.acquisitions.marginal import Normal

STARTS = 16
PANELS = {  # function, dimensions, evaluations, random points first (not stated in the paper: as many as dimensions)
    "squares 10": ("squares", 10, 200, 10),
    "ackley 16": ("ackley", 16, 250, 16),
    "ackley 8": ("ackley", 8, 250, 8),
    "michalewicz 16": ("michalewicz", 16, 250, 16),
}
POINTS, LOOKED, FLAT = (8, 32, 128, 256), 2000, 1e-10


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


def measure(panel: str, method: str, seed: int) -> dict[str, Any]:
    """The lowest value after every evaluation."""
    name, d, count, initial = PANELS[panel]
    space = unit_cube(d)
    history = minimize(FUNCTIONS[name], space, METHODS[method](space, seed, initial), count, quiet=True).history
    return {"best": running_best([history.results[key].metrics["loss"] for key in history.finished_keys])}


def measure_gradients(d: int, seed: int) -> dict[str, Any]:
    """The share of the cube in which a gradient is shorter than 1e-10, by the number of random points told of Ackley."""
    rng, domain = np.random.default_rng([seed, d]), unit_cube(d).domain
    X, looked = rng.random((max(POINTS), d)), rng.random((LOOKED, d))
    y = np.array([FUNCTIONS["ackley"]({str(i): value for i, value in enumerate(row)}) for row in X])
    found: dict[str, Any] = {"EI": [], "log EI": []}
    for n in POINTS:
        z = standardise(y[:n]).z
        gp = GaussianProcess(domain, X[:n], z, fit(X[:n], z, domain, seed))
        for name, acquisition in (("EI", EI()), ("log EI", LogEI())):
            slope = Score(gp, acquisition, float(gp.mean(X[:n]).min())).gradient(looked)[1]
            found[name].append(float((np.linalg.norm(slope, axis=1) < FLAT).mean()))
    return found


def measure_identity() -> dict[str, Any]:
    """The worst relative difference of exp(log EI) from EI to 60 digits, over z from -37 to 10, where EI is above 0."""
    z = np.linspace(-37, 10, 2000)
    sd = np.exp(np.random.default_rng(0).normal(size=len(z)))
    ours = np.exp(LogEI()(Normal(-z * sd, sd), 0.0))
    with mpmath.workdps(60):
        exact = [float(mpmath.mpf(s) * (mpmath.npdf(t) + t * mpmath.ncdf(t))) for s, t in
                 ((s, mpmath.mpf(float(m)) / mpmath.mpf(float(s))) for s, m in zip(sd, z * sd, strict=True))]
    return {"least": min(exact), "worst": float(np.abs(ours / np.array(exact) - 1).max())}
