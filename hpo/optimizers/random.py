"""Random search (Bergstra and Bengio 2012), with or without replacement."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.logs.base import canonical
from hpo.optimizer import Sampler
from hpo.rng import stream
from hpo.space import Config, Space

DRAWS = (1, 16, 256, 4096)  # rows that are drawn, block by block, for one that is new
COUNTED = 20_000  # rows of a finite space that are gone through when draws find nothing new


@dataclass(eq=False)
class Random(Sampler):
    """Independent draws, uniform over every range (log-uniform where it is logarithmic) and every choice.

    With `replace=False` no configuration comes twice, whoever asked for it first. A finite space ends (None), and what is left
    of it is equally probable at every step; to find the last ones, an ask goes through at most 20,000 configurations. In a
    space with a range of real numbers, or of more than 10,000 integers, one comes again where 4,000 draws find nothing new.
    """

    replace: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.replace, bool):
            raise TypeError(f"replace is {self.replace!r}; allowed are True and False")

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        return self.replace

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return self.replace or not math.isfinite(count_rows(self.space))

    def sample(self, history: History, trial: int) -> Config | None:
        rng = stream(self.seed, trial, "random")
        if self.replace:
            return self.space.decode(self.space.domain.random(rng, 1)[0])
        started = history.fold("hpo.optimizers.random.Started", Started).configs
        for count in DRAWS:
            for row in self.space.domain.random(rng, count):
                config = self.space.decode(row)
                if canonical(config) not in started:
                    return config
        if self.is_endless:
            return config
        left = list(list_left(self.space, started)) if count_rows(self.space) <= COUNTED else []
        return left[int(rng.integers(len(left)))] if left else None


@dataclass
class Started:
    """A fold of starts alone: every configuration that a trial began with, as a text."""

    configs: set[str] = field(default_factory=set)

    def copy(self) -> Started:
        return self  # what finishes changes nothing

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        """A result changes nothing."""

    def enter(self, history: History, job: Job) -> None:
        self.configs.add(canonical(job.config))


def count_rows(space: Space) -> float:
    """How many rows a space has, inactive columns and infeasible rows included; infinite with a range of real numbers."""
    sizes = space.domain.sizes
    return math.prod(sizes) if all(sizes) else math.inf


def list_left(space: Space, started: Container[str]) -> Iterator[Config]:
    """The feasible configurations of a finite space that no trial began with, each once."""
    domain, seen = space.domain, set()
    for row in product(*(domain.values(j) for j in range(domain.d))):
        config = space.decode(domain.snap(np.array([row], dtype=float).reshape(1, domain.d))[0])
        text = canonical(config)
        if text not in started and text not in seen and space.is_feasible(config):
            seen.add(text)
            yield config
