"""A median stopping rule at given rungs.

A simplification of Golovin et al. 2017 (Vizier, section 3.2.2), who compare a trial's best so far with the median of the
others' running averages: here both are the losses at the rung, so that only their order matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.early_stopping import EarlyStopping, Entry, check_rungs, last_rung
from hpo.optimizers.percentile import check_grace, is_within


@dataclass(eq=False)
class MedianStopping(EarlyStopping):
    """A trial goes on from a rung unless it is worse than the median of the trials that were there before.

    The first `grace_trials` at a rung go on unjudged. Of an even number of others the upper of the two in the middle is the
    median. With several objectives "worse" is a worse place in the history's ranking. The last rung may be `max_resource`,
    where nobody is judged.

        space = {"lr": (1e-4, 1e-1, "log")}
        def objective(config, report):
            for epoch in range(1, 10):
                report(epoch, (config["lr"] - 0.01) ** 2 + 1 / epoch)
            return (config["lr"] - 0.01) ** 2
        study = hpo.minimize(objective, space, hpo.MedianStopping(hpo.Random(space), rungs=(1, 3, 9)), 12, horizon=9)
    """

    rungs: Sequence[int] = (1, 3, 9, 27)
    max_resource: int | None = None
    grace_trials: int = 3

    @property
    def _least(self) -> int:
        return last_rung(self.rungs)

    def _arrange(self, top: int) -> None:
        self._judged = check_rungs(self.rungs, top)
        self.rungs = tuple(self.rungs)
        check_grace(self.grace_trials)

    def is_promising(self, history: History, key: Key, members: Sequence[Entry]) -> bool:
        return is_within(history, key, members, 50.0, self.grace_trials)
