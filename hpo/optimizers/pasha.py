"""PASHA: progressive ASHA, whose largest rung grows only while the ranking is unstable (Bohdal et al. 2023, Algorithm 1).

Notation     top        the index K_t of the largest rung so far          gap     |f(c) - f(c')| of two trials at one budget
             epsilon    how far two losses may differ and still tie       curves  (step, value) of the trials in the top rung
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizers.asha import ASHA, Entry, Ladder, Rung
from hpo.trial import learning_curve
from hpo.values import is_finite

Curve = tuple[tuple[int, float], ...]


@dataclass(eq=False)
class PASHA(ASHA):
    """ASHA that begins with its two lowest rungs, and gets the next one when the top two rank their trials differently.

    At a result in the top rung, its trials are ranked by their losses there and by those in the rung below. The ranking is
    stable if at every place stands a trial whose loss below is within epsilon of that of the trial that stood there below (soft
    ranking, section 4.1); else the ladder grows by a rung, up to `max_resource`.

    epsilon            fixed; None: the `noise_percentile` of the gaps of all pairs in the top rung whose order was one way,
                       then the other, and is at their last common evaluation the first again (section 4.2). As long
                       as there was no such pair it is 0. It needs curves with evaluations between the rungs
    noise_percentile   90 in the paper

    Changed: pairs come from trials that have finished the top rung, not also from those that are on their way to it; a
    failure in the top rung plays no part; several objectives are ranked strictly. A result in the top rung costs a pass over
    the curves of the trials in it.

        space = {"lr": (1e-4, 1e-1, "log")}
        def objective(config, report):
            for epoch in range(1, 28):
                report(epoch, (config["lr"] - 0.01) ** 2 + 1 / epoch)
            return (config["lr"] - 0.01) ** 2
        study = hpo.minimize(objective, space, hpo.PASHA(hpo.Random(space), max_resource=27), 20)
    """

    epsilon: float | None = None
    noise_percentile: float = 90.0

    def _arrange(self, top: int) -> None:
        super()._arrange(top)
        if self.epsilon is not None and (not is_finite(self.epsilon) or self.epsilon < 0):
            raise ValueError(f"epsilon is {self.epsilon!r}; allowed are a finite number of at least 0 and None")
        if not is_finite(self.noise_percentile) or not 0 <= self.noise_percentile <= 100:
            raise ValueError(f"noise_percentile is {self.noise_percentile!r}; allowed is 0 to 100")

    def propose(self, history: History) -> Job | None:
        ladder = history.fold(self.owner, self._begin)
        for k in range(ladder.top - 1, -1, -1):
            best = ladder.rungs[k].find_promotable(history, self.reduction_factor)
            if best is not None:
                return self.resume(history, best[0], self.rungs[k + 1])
        return self.sampler.fresh(history, self.rungs[0], {"rung": 0})

    def _begin(self) -> GrowingLadder:
        return GrowingLadder(
            {until: k for k, until in enumerate(self.rungs)},
            [Rung() for _ in self.rungs],
            top=min(1, len(self.rungs) - 1),
            epsilon=self.epsilon if self.epsilon is not None else 0.0,
            percentile=self.noise_percentile if self.epsilon is None else None,
        )


@dataclass
class GrowingLadder(Ladder):
    """The fold of a PASHA: its rungs, how many of them are open, and what is known of the noise."""

    top: int = 1
    epsilon: float = 0.0
    percentile: float | None = None  # None: epsilon is fixed
    curves: dict[int, Curve] = field(default_factory=dict)  # of the successes in the top rung, by trial
    gaps: list[float] = field(default_factory=list)  # of their pairs that crossed twice

    def copy(self) -> GrowingLadder:
        rungs = super().copy().rungs
        return GrowingLadder(
            self.levels, rungs, self.top, self.epsilon, self.percentile, self.curves.copy(), self.gaps.copy()
        )  # fmt: skip

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        super().absorb(history, keys)
        budget = next(until for until, k in self.levels.items() if k == self.top)
        fresh = [key for key in keys if key[1] == budget and self._is_comparable(history, key)]
        if not fresh or self.top == 0:
            return
        if self.percentile is not None and len(history.header.objectives) == 1:
            self._measure_noise(history, fresh)
        if self.top < len(self.rungs) - 1 and not self._is_stable(history):
            self.top += 1
            self.curves, self.gaps = {}, []

    def _is_comparable(self, history: History, key: Key) -> bool:
        return "rung" in history.jobs[key].note.member and not history.is_failure(key)

    def _measure_noise(self, history: History, fresh: Sequence[Key]) -> None:
        """Epsilon, with the pairs of which one is new in the top rung."""
        assert self.percentile is not None
        for key in fresh:
            curve = learning_curve(history, key)
            gaps = (crossing_gap(curve, other) for other in self.curves.values())
            self.gaps += [gap for gap in gaps if gap is not None]
            self.curves[key[0]] = curve
        if self.gaps:
            self.epsilon = float(np.percentile(self.gaps, self.percentile))

    def _is_stable(self, history: History) -> bool:
        """Whether the trials in the top rung stand there as in the rung below, up to epsilon."""
        there = [key for _, key in self.rungs[self.top].members if not history.is_failure(key)]
        trials = {key[0] for key in there}
        below = [entry for entry in self.rungs[self.top - 1].members if entry[1][0] in trials]
        if len(history.header.objectives) > 1:
            ranked = history.rank(there), history.rank(key for _, key in below)
            return [key[0] for key in ranked[0]] == [key[0] for key in ranked[1]]
        return is_soft_ranking([key[0] for key in there], below, self.epsilon)


def is_soft_ranking(ranking: Sequence[int], below: Sequence[Entry], epsilon: float) -> bool:
    """Whether at every place of a ranking stands a trial whose loss below is within epsilon of the one that stood there.

    below: (losses, key) of the same trials, sorted
    """
    losses = {key[0]: loss[0] for loss, key in below}
    return all(abs(losses[trial] - loss[0]) <= epsilon for trial, (loss, _) in zip(ranking, below, strict=True))


def crossing_gap(curve: Curve, other: Curve) -> float | None:
    """How far two curves are apart at their last common step, if before it they stood the other way, and before that the
    same way again; else None. That takes three common steps."""
    if min(len(curve), len(other)) < 3:
        return None
    values = dict(other)
    differences = [value - values[step] for step, value in curve if step in values]
    if not differences:
        return None
    last, reverse = differences[-1], False
    for difference in reversed(differences[:-1]):
        reverse = reverse or difference * last < 0
        if reverse and difference * last > 0:
            return abs(last)
    return None
