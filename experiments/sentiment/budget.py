"""The budget of a search in CPU seconds of this process, and the best model that it has evaluated.

CPU seconds of one thread depend little on what else the machine does: waiting does not count, only a shared cache is felt. When
they are used up the search ends where it is: at the next step of a training, or at an evaluation, whose result does not count. So
it is for every arm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import hpo
from hpo.executors import Inline
from hpo.history import History
from hpo.objective import Objective

Weights = Mapping[str, Any]  # tensors by name


class BudgetSpent(BaseException):
    """Ends a search. A BaseException, so that no library takes it for the failure of one trial."""


class Monitor:
    """Hears of every step and every evaluation of a search, and keeps the weights of the best model.

    seconds   of the CPU, from the making of this object on
    clock     tells them; this process's CPU time unless a test has another
    """

    def __init__(self, seconds: float = float("inf"), clock: Callable[[], float] = time.process_time) -> None:
        self._clock, self._start, self.seconds = clock, clock(), seconds
        self.evaluations: list[tuple[float, int, float]] = []  # (CPU seconds, steps, score)
        self.configs: dict[str, int] = {}  # how often a configuration was evaluated, by its text
        self.steps = 0  # of all trainings
        self.first: dict[str, Any] | None = None  # of the evaluations; it does not depend on how fast the machine is
        self.best: dict[str, Any] | None = None
        self.weights: Weights = {}

    @property
    def elapsed_seconds(self) -> float:
        """CPU seconds so far."""
        return self._clock() - self._start

    def check_time(self) -> None:
        """Raises BudgetSpent when the seconds are used up."""
        if self.elapsed_seconds >= self.seconds:
            raise BudgetSpent

    def count_step(self) -> None:
        """Hears that a training has made a step."""
        self.steps += 1
        self.check_time()

    def take(self, config: Mapping[str, Any], steps: int, score: float, weights: Weights) -> None:
        """Hears of an evaluation: of which configuration, after how many steps; a higher score is better. The first of equals
        is kept. Copies the weights of a new best."""
        self.check_time()
        score = float(f"{score:.6g}")
        said = {"config": dict(config), "steps": steps, "score": score}
        self.evaluations.append((round(self.elapsed_seconds, 2), steps, score))
        self.configs[str(said["config"])] = self.configs.get(str(said["config"]), 0) + 1
        self.first = self.first or said
        if self.best is None or score > self.best["score"]:
            self.best, self.weights = said, {name: weight.detach().clone() for name, weight in weights.items()}

    def conclude(self) -> dict[str, Any]:
        """What a line holds of the search: its CPU seconds until now, and what was done in them. RuntimeError if nothing was
        evaluated."""
        if self.best is None:
            raise RuntimeError(f"nothing was evaluated within {self.seconds:.0f} CPU seconds")
        return {
            "seconds": round(self.elapsed_seconds, 1),
            "best": self.best,
            "first": self.first,
            "configurations": len(self.configs),
            "steps": self.steps,
            "evaluations": self.evaluations,
        }


def search_within(
    monitor: Monitor, build: Objective, optimizer: hpo.Optimizer, score: str, horizon: int, unit: str = "steps"
) -> hpo.Study:
    """A search of ours, by default in optimizer steps, for the highest score, until the monitor's seconds are over.

    build   a Run factory whose runs tell the monitor of every step; the one in flight at the end is a failed result
    """

    def is_over(history: History) -> bool:
        return monitor.elapsed_seconds >= monitor.seconds

    optimizer.take_horizon(horizon)
    study = hpo.Study(optimizer, objectives={score: "max"}, unit=unit, horizon=horizon)
    hpo.run(study, Inline(build, horizon), hpo.Stop(when=is_over), catch=BudgetSpent)
    return study
