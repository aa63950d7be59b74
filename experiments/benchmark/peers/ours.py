"""Our optimizers behind the peers' interface: ask and tell of hpo, nothing left out and nothing added."""

from __future__ import annotations

import math
from typing import Any

from experiments.benchmark.peers import Exhausted
from hpo.job import Job, Result
from hpo.optimizer import Optimizer
from hpo.optimizers import make
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.llamatune import LlamaTune
from hpo.optimizers.narrowing import Narrowing
from hpo.optimizers.random import Random
from hpo.space import Config, Space


def loss_or_error(value: float) -> float | Result:
    """What is told: a loss, or the error of a run that diverged."""
    return Result(error="diverged") if math.isnan(value) else value


class Ours:
    """An hpo optimizer, one evaluation after another."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._job: Job | None = None

    def ask(self) -> Config:
        self._job = self.optimizer.ask()
        if self._job is None:
            raise Exhausted(f"{type(self.optimizer).__name__} has nothing left to propose")
        return dict(self._job.config)

    def tell(self, config: Config, value: float) -> None:
        job, self._job = self._job, None
        if job is None:  # a configuration that was not asked
            self.optimizer.add(config, loss_or_error(value))
        else:
            self.optimizer.tell(job, loss_or_error(value))

    def best(self) -> Config:
        key = self.optimizer.recommend(self.optimizer.history)
        if key is None:
            raise ValueError(f"{type(self.optimizer).__name__} recommends nothing: no evaluation has succeeded")
        return dict(self.optimizer.history.jobs[key].config)

    @staticmethod
    def versions() -> dict[str, str]:
        return {}  # the revision and the digest of our sources are recorded of every study


def gp(space: Space, seed: int, budget: int, **options: Any) -> Ours:
    """The Gaussian process with all its defaults, but for the options given."""
    return Ours(GP(space, seed=seed, **options))


def random(space: Space, seed: int, budget: int) -> Ours:
    """Independent uniform draws."""
    return Ours(Random(space, seed=seed))


def narrowing(space: Space, seed: int, budget: int) -> Ours:
    """Narrowing by three stages that divide the budget."""
    return Ours(Narrowing(space, seed=seed, points=math.ceil(budget / 3)))


def llamatune(space: Space, seed: int, budget: int) -> Ours:
    """The Gaussian process over LlamaTune's projection, with all defaults."""
    return Ours(LlamaTune(GP(space, seed=seed)))


def adapt_class(space: Space, seed: int, budget: int, reference: str) -> Ours:
    """An optimizer of somebody's own, named as "package.module:Class"."""
    return Ours(make(reference, space, seed=seed))
