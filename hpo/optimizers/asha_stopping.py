"""ASHA without pauses: the stopping variant of asynchronous successive halving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.early_stopping import EarlyStopping, Entry, place_of
from hpo.optimizers.rungs import asha_rungs, least_of


@dataclass(eq=False)
class ASHAStopping(EarlyStopping):
    """A trial that reaches a rung goes on at once if it is in the best 1/eta of what has reached this rung so far, itself
    included; else it is stopped for good. The first at a rung goes on.

    ASHA (Li et al. 2020, Algorithm 2) pauses trials and promotes them later, for which checkpoints must stand; this is the
    variant for trainings that cannot be resumed, which Li et al. had first (Ray Tune's ASHA, Syne Tune's "stopping"). With n
    there, the best are 1 + floor((n - 1) / eta), as the quantile of Syne Tune has it; ties are as good as each other. Rungs
    stand where ASHA's do.

        space = {"lr": (1e-4, 1e-1, "log")}
        def objective(config, report):
            for epoch in range(1, 10):
                report(epoch, (config["lr"] - 0.01) ** 2 + 1 / epoch)
            return (config["lr"] - 0.01) ** 2
        study = hpo.minimize(objective, space, hpo.ASHAStopping(hpo.Random(space), max_resource=9), 12)
    """

    min_resource: int = 1
    max_resource: int | None = None
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0

    @property
    def _least(self) -> int:
        return least_of(self.min_resource)

    def _arrange(self, top: int) -> None:
        self.rungs = asha_rungs(self.min_resource, top, self.reduction_factor, self.min_early_stopping_rate)
        self._judged = self.rungs[:-1]

    def is_promising(self, history: History, key: Key, members: Sequence[Entry]) -> bool:
        return place_of(history, key, members) <= math.floor((len(members) - 1) / self.reduction_factor + 1e-9)
