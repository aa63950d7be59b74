"""Two methods beside one another: ours and the same of a peer's, or two of ours. Is one as good, whatever the others do?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.benchmark.collected import Collected, task_of
from experiments.benchmark.ranking import Ranking

# The first, the other, and which tasks count (KINDS): Optuna's CMA-ES draws choices at random.
PAIRS = (
    ("TPE", "Optuna TPE", "tasks"),
    ("CMA-ES", "Optuna CMA-ES", "tasks of numbers"),
    ("random forest", "SMAC", "tasks"),
    ("random forest", "TPE", "tables"),
    ("random forest", "GP", "tables"),
)
MOST = 0.1  # the loss in mean rank that is to be excluded


@dataclass(frozen=True)
class Pair:
    """Two methods ranked by themselves: the difference of their mean ranks (below 0: the first is better), and its 95 % interval.

    Tasks are drawn for it, and seeds within them.
    """

    ours: str
    peer: str
    kind: str
    tasks: int
    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        said = "excluded" if self.high <= MOST else "not excluded"
        return (
            f"{self.ours} beside {self.peer}, ranked by themselves over {self.tasks} {self.kind}: {self.difference:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}] in mean rank (below 0 the first is better); a loss above {MOST} is {said}."
        )


def is_numeric(name: str) -> bool:
    """Whether no parameter of a task is a choice, or active under conditions only."""
    task = task_of(name)
    return task is not None and not (task.space().domain.categorical.any() or task.space().domain.is_conditional)


def is_table(name: str) -> bool:
    """Whether a task is a table of measured networks."""
    task = task_of(name)
    return task is not None and task.kind == "tabular"


KINDS = {"tasks": lambda name: True, "tasks of numbers": is_numeric, "tables": is_table}


def compare_pairs(found: Collected) -> Iterator[Pair]:
    """Every pair that has whole studies on a task of both."""
    for ours, peer, kind in PAIRS:
        there = [all(len(found.regrets(task, method, found.checkpoints)) for method in (ours, peer)) for task in found.tasks]
        tasks = [task for task, both in zip(found.tasks, there, strict=True) if both and KINDS[kind](task)]
        if not tasks:
            continue
        ranking = Ranking(found, [ours, peer], tasks, found.checkpoints)
        drawn = ranking.draws.tasks[:, 0]
        low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
        yield Pair(ours, peer, kind, len(tasks), float(ranking.means[0, 0] - ranking.means[0, 1]), float(low), float(high))
