"""The methods as one sampler, functions drawn from the prior that they know, and what is measured of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hpo import Int, Space, minimize
from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Sampler
from hpo.rng import stream
from hpo.space import Config
from surrogates import LogEI
from surrogates.acquisitions.marginal import Normal
from surrogates.acquisitions.pi import LogPI

POINTS, LENGTH, NOISE, DELTA = 1000, 0.2, 0.025, 0.1
STEPS, CHECKPOINTS = 1000, (10, 20, 50, 100, 200, 500, 1000)
SPACE = Space(i=Int(0, POINTS - 1))


@lru_cache
def prior() -> np.ndarray:
    """(D, D) the squared-exponential covariance of the points."""
    x = np.linspace(0, 1, POINTS)
    return np.exp(-0.5 * ((x[:, None] - x) / LENGTH) ** 2)


@lru_cache
def root() -> np.ndarray:
    """(D, D) R with R R' = prior(), by eigenvalues, since so smooth a covariance has hardly a Cholesky factor."""
    values, vectors = np.linalg.eigh(prior())
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def draw_function(seed: int) -> np.ndarray:
    """(D,) a function drawn from the prior."""
    return np.asarray(root() @ np.random.default_rng([seed, 2010]).standard_normal(POINTS))


def beta(t: int) -> float:
    """Theorem 1 of the paper."""
    return 2 * math.log(POINTS * t * t * math.pi**2 / (6 * DELTA))


Score = Callable[[Normal, float, int], np.ndarray]  # belief of -f, the lowest mean told, t -> higher is better
METHODS: dict[str, Score] = {
    "GP-UCB": lambda belief, incumbent, t: -belief.mean + math.sqrt(beta(t)) * belief.sd,
    "GP-UCB, beta/5": lambda belief, incumbent, t: -belief.mean + math.sqrt(beta(t) / 5) * belief.sd,
    "expected improvement": lambda belief, incumbent, t: LogEI()(belief, incumbent),
    "most probable improvement": lambda belief, incumbent, t: LogPI(margin=0.0)(belief, incumbent),
    "most probable improvement, margin 0.1": lambda belief, incumbent, t: LogPI(margin=0.1)(belief, incumbent),
    "mean only": lambda belief, incumbent, t: -belief.mean,
    "variance only": lambda belief, incumbent, t: belief.sd,
}


@dataclass
class GridPosterior:
    """The posterior of -f over all points: each result is one update of rank one."""

    mean: np.ndarray
    covariance: np.ndarray
    told: frozenset[int] = frozenset()

    def copy(self) -> GridPosterior:
        return GridPosterior(self.mean.copy(), self.covariance.copy(), self.told)

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            i, (loss,) = history.jobs[key].config["i"], history.losses(key)
            gain = self.covariance[:, i] / (self.covariance[i, i] + NOISE)
            self.mean += gain * (loss - self.mean[i])
            self.covariance -= np.outer(gain, self.covariance[i])
            self.told |= {i}

    def enter(self, history: History, job: Job) -> None:
        """A start changes nothing: one job runs at a time."""


@dataclass(eq=False)
class KnownGP(Sampler):
    """A method of METHODS with the true prior. It may ask for a point again: results are noisy."""

    method: str = "GP-UCB"

    def sample(self, history: History, trial: int) -> Config:
        belief = history.fold(self.owner, lambda: GridPosterior(np.zeros(POINTS), prior().copy()))
        if not belief.told:
            return {"i": int(stream(self.seed, trial, "first").integers(POINTS))}
        sd = np.sqrt(np.maximum(np.diag(belief.covariance), 0.0))
        incumbent = float(belief.mean[list(belief.told)].min())
        return {"i": int(METHODS[self.method](Normal(belief.mean, sd), incumbent, len(history.trials) + 1).argmax())}


class Noisy:
    """-f at a point, with noise: the n-th evaluation of a function meets the same noise by every method."""

    def __init__(self, function: np.ndarray, seed: int) -> None:
        self.function, self.rng = function, np.random.default_rng([seed, 2011])

    def __call__(self, config: Mapping[str, int]) -> float:
        return -float(self.function[config["i"]]) + math.sqrt(NOISE) * self.rng.standard_normal()


def measure(method: str, seed: int) -> dict[str, Any]:
    """R_T / T, and the information I(y_T; f) of what was observed, at every checkpoint."""
    f = draw_function(seed)
    history = minimize(Noisy(f, seed), SPACE, KnownGP(SPACE, seed=seed, method=method), trials=STEPS, quiet=True).history
    x = np.array([history.jobs[key].config["i"] for key in history.finished_keys])
    regret = np.cumsum(f.max() - f[x])
    return {
        "average_regret": [round(float(regret[t - 1] / t), 6) for t in CHECKPOINTS],
        "information": [round(information(x[:t]), 4) for t in CHECKPOINTS],
    }


def information(x: np.ndarray) -> float:
    """Half the log determinant of 1 + K / noise at the points."""
    return 0.5 * float(np.linalg.slogdet(np.eye(len(x)) + prior()[np.ix_(x, x)] / NOISE)[1])
