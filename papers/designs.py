"""The Gaussian process as papers use it: its first points are random, and none is added to explore the rest of the space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo.history import History
from hpo.optimizer import Draft
from hpo.optimizers.gp.sampler import GP
from hpo.rng import stream


@dataclass(eq=False)
class RandomDesign(GP):
    """A GP whose first `initial` points are uniformly random; the acquisition chooses every point after them."""

    initial: int | None = 2
    explore_every: int = 0

    def suggest(self, history: History, trial: int) -> Draft | None:
        if len(history.trials) < (self.initial or 1):
            return Draft(self.space.decode(self.space.domain.random(stream(self.seed, trial, "random"), 1)[0]))
        return super().suggest(history, trial)


def running_best(losses: list[float]) -> list[float]:
    """The lowest loss so far after every evaluation, to 8 digits."""
    return [float(f"{value:.8g}") for value in np.minimum.accumulate(losses)]
