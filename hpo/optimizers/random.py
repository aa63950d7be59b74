"""Random search (Bergstra and Bengio 2012)."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.history import History
from hpo.optimizer import Sampler
from hpo.rng import stream
from hpo.space import Config


@dataclass(eq=False)
class Random(Sampler):
    """Independent draws, uniform over every range (log-uniform where it is logarithmic) and every choice."""

    def sample(self, history: History, trial: int) -> Config | None:
        return self.space.decode(self.space.domain.random(stream(self.seed, trial, "random"), 1)[0])
