"""Optimizers of ours beside the same method of a peer's: are they as good, whatever the others do?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.benchmark.collected import Collected, task_of
from experiments.benchmark.ranking import Ranking

# Ours, the peer's, and whether only tasks without choices count, which Optuna's CMA-ES draws at random.
PAIRS = (
    ("TPE", "Optuna TPE", False),
    ("CMA-ES", "Optuna CMA-ES", True),
    ("random forest", "SMAC", False),
)
MOST = 0.1  # the loss in mean rank that is to be excluded


@dataclass(frozen=True)
class Pair:
    """Two methods ranked by themselves: the difference of their mean ranks (below 0: ours is better), and its 95 % interval.

    Tasks are drawn for it, and seeds within them.
    """

    ours: str
    peer: str
    tasks: int
    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        said = "excluded" if self.high <= MOST else "not excluded"
        return (
            f"{self.ours} beside {self.peer}, ranked by themselves over {self.tasks} tasks: {self.difference:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}] in mean rank (below 0 ours is better); a loss above {MOST} is {said}."
        )


def is_numeric(name: str) -> bool:
    """Whether no parameter of a task is a choice, or active under conditions only."""
    task = task_of(name)
    return task is not None and not (task.space().domain.categorical.any() or task.space().domain.is_conditional)


def compare_pairs(found: Collected) -> Iterator[Pair]:
    """Every pair that has whole studies on a task of both."""
    for ours, peer, numeric in PAIRS:
        there = [all(len(found.regrets(task, method, found.checkpoints)) for method in (ours, peer)) for task in found.tasks]
        tasks = [task for task, both in zip(found.tasks, there, strict=True) if both and (not numeric or is_numeric(task))]
        if not tasks:
            continue
        ranking = Ranking(found, [ours, peer], tasks, found.checkpoints)
        drawn = ranking.draws.tasks[:, 0]
        low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
        yield Pair(ours, peer, len(tasks), float(ranking.means[0, 0] - ranking.means[0, 1]), float(low), float(high))
