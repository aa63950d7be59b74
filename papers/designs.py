"""The Gaussian process as papers use it: first points at random, and no look at other parts of the space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo.history import History
from hpo.optimizer import Draft
from hpo.optimizers.gp.sampler import GP
from hpo.rng import stream


@dataclass(eq=False)
class RandomDesign(GP):
    """A GP whose first `initial` points are uniform random ones, and whose acquisition has every point behind them."""

    initial: int | None = 2
    explore_every: int = 0

    def suggest(self, history: History, trial: int) -> Draft | None:
        if len(history.trials) < (self.initial or 1):
            return Draft(self.space.decode(self.space.domain.random(stream(self.seed, trial, "random"), 1)[0]))
        return super().suggest(history, trial)


def running_best(losses: list[float]) -> list[float]:
    """The lowest loss so far after every evaluation, to 8 digits."""
    return [float(f"{value:.8g}") for value in np.minimum.accumulate(losses)]
