"""Early stopping (Prechelt 1998): training ends after `patience` evaluations in a row without a better value."""

from dataclasses import dataclass
from math import inf

FALLING = ("loss", "perplexity")  # metrics that are to fall; others are to rise


@dataclass
class Stopping:
    """Counts only the evaluations at every `eval_every`-th step, and not those at the end of an advance, so that advancing in
    parts changes nothing. A run that has stopped stays so, with the weights of the last evaluation."""

    best: float = inf  # of what is to be minimised
    waited: int = 0

    def observe(self, loss: float, min_delta: float = 0.0) -> None:
        """Count an evaluation; one that is better by more than `min_delta` is the new best."""
        better = loss < self.best - min_delta
        self.best, self.waited = (loss, 0) if better else (self.best, self.waited + 1)

    def is_over(self, patience: int) -> bool:
        """Whether `patience` evaluations in a row brought no better value; never if it is 0."""
        return 0 < patience <= self.waited
