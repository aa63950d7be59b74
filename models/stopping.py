"""Early stopping (Prechelt 1998): training ends after `patience` evaluations in a row without a better loss."""

from dataclasses import dataclass
from math import inf


@dataclass
class Stopping:
    """Counts the evaluations at every `eval_every`-th step alone: where an advance ends has no say, so that advancing in
    parts changes nothing. A run that has stopped stays so: its weights are those of the last evaluation."""

    best: float = inf
    waited: int = 0

    def observe(self, loss: float) -> None:
        better = loss < self.best
        self.best, self.waited = (loss, 0) if better else (self.best, self.waited + 1)

    def is_over(self, patience: int) -> bool:
        return 0 < patience <= self.waited
