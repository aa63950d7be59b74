"""Percentile stopping at given rungs, as it is known from Optuna's PercentilePruner (Akiba et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.early_stopping import EarlyStopping, Entry, check_rungs, last_rung, place_of
from hpo.values import is_finite


@dataclass(eq=False)
class PercentileStopping(EarlyStopping):
    """A trial goes on from a rung if it is no worse than the best `percentile` percent of the trials that were there before.

    So 25 stops more than 50, which is MedianStopping. The first `grace_trials` at a rung go on unjudged. Optuna
    compares a trial's best value so far with an interpolated percentile of all finished trials' values at this step; here both
    are the losses at the rung, and where the percentile falls between two of them it is the higher one, so that only their
    order matters. The last rung may be `max_resource`, where nobody is judged.

        space = {"lr": (1e-4, 1e-1, "log")}
        def objective(config, report):
            for epoch in range(1, 10):
                report(epoch, (config["lr"] - 0.01) ** 2 + 1 / epoch)
            return (config["lr"] - 0.01) ** 2
        quarter = hpo.PercentileStopping(hpo.Random(space), percentile=25, rungs=(1, 3), max_resource=9)
        study = hpo.minimize(objective, space, quarter, 12)
    """

    percentile: float = 25.0
    rungs: Sequence[int] = (1, 3, 9, 27)
    max_resource: int | None = None
    grace_trials: int = 3

    @property
    def _least(self) -> int:
        return last_rung(self.rungs)

    def _arrange(self, top: int) -> None:
        if not is_finite(self.percentile) or not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile is {self.percentile!r}; allowed is 0 to 100")
        self._judged = check_rungs(self.rungs, top)
        self.rungs = tuple(self.rungs)
        check_grace(self.grace_trials)

    def is_promising(self, history: History, key: Key, members: Sequence[Entry]) -> bool:
        return is_within(history, key, members, self.percentile, self.grace_trials)


def check_grace(trials: int) -> None:
    """Raises ValueError in one sentence if it is no number of trials that go on unjudged."""
    if type(trials) is not int or trials < 1:
        raise ValueError(f"grace_trials is {trials!r}; allowed is an integer of at least 1")


def is_within(history: History, key: Key, members: Sequence[Entry], percentile: float, grace: int) -> bool:
    """Whether no more others are better than belong to the percentile of the others, the higher one where it falls between
    two; or fewer others are there than go on unjudged."""
    others = len(members) - 1
    return others < grace or place_of(history, key, members) <= math.ceil(percentile / 100 * (others - 1) - 1e-9)
