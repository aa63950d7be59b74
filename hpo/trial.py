"""Trial: one finished key in a form for people, made from the history alone; and which key is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hpo.bounds import explain_infeasible, feasible
from hpo.history import History
from hpo.job import Key
from hpo.values import format_value


@dataclass(frozen=True)
class Trial:
    """One finished key: a configuration at a budget, with its result."""

    number: int
    until: int
    config: Mapping[str, Any]
    value: float  # the first objective, raw
    metrics: Mapping[str, float]
    curve: tuple[tuple[int, float], ...]  # of the whole trial, up to `until`
    seed: int
    error: str | None
    system: Mapping[str, float]  # what the framework measured: seconds and its parts
    traceback: str | None

    @classmethod
    def of(cls, history: History, key: Key) -> Trial:
        """A finished key (trial, until). ValueError for any other."""
        if not isinstance(key, tuple) or key not in history.results:
            raise ValueError(f"{format_value(key)} is no finished key (trial, until) of this study")
        job, result = history.jobs[key], history.results[key]
        value = result.metrics.get(first_objective(history), float("nan"))
        config, metrics, system = deepcopy((job.config, result.metrics, result.system))  # copies, which the caller may change
        return cls(*key, config, value, metrics, learning_curve(history, key), job.seed, result.error, system, result.traceback)

    @property
    def key(self) -> Key:
        return self.number, self.until


def first_objective(history: History) -> str:
    """The name of the first objective, which a plain number stands for."""
    return next(iter(history.header.objectives))


def learning_curve(history: History, key: Key) -> tuple[tuple[int, float], ...]:
    """(step, value) of the first objective from the start of the trial to a key, its rungs included."""
    if not isinstance(key, tuple) or key[0] not in history.trials:
        raise ValueError(f"{format_value(key)} is no key (trial, until) of this study")
    points: dict[int, float] = {}
    objective = first_objective(history)
    for other in history.trials[key[0]]:
        if other[1] <= key[1] and other in history.results:
            result = history.results[other]
            points.update(result.curve)
            if objective in result.metrics:
                points[other[1]] = result.metrics[objective]
    return tuple(sorted(points.items()))


def best_key(history: History) -> Key | None:
    """The key with the lowest loss at the highest budget reached, with several objectives the first of the front, of the
    successes that keep the optimizer's bounds; None without one."""
    kept = feasible(history)
    return None if kept.highest_budget is None else next(kept.order(kept.highest_budget))


def best_front(history: History) -> Sequence[Key]:
    """Of the successes that keep the optimizer's bounds, those at the highest budget reached that no other dominates, sorted by
    key; with one objective the best and its ties; empty without one."""
    kept = feasible(history)
    return () if kept.highest_budget is None else kept.front(kept.highest_budget)


def describe_best(history: History) -> str:
    """The best so far in a few words: `best 0.1 (trial 3)`, with several objectives `front of 4, best loss=0.1 size=96`: the
    best value of each, which are seldom of one trial. Where there is none, why."""
    key = best_key(history)
    if key is None:
        return explain_infeasible(history) or "no success yet"
    if len(history.header.objectives) > 1:
        return _describe_front(history)
    return f"best {history.results[key].metrics[first_objective(history)]:.4g} (trial {key[0]})"


def _describe_front(history: History) -> str:
    front = [history.results[key].metrics for key in best_front(history)]
    pick = {"min": min, "max": max}
    best = [f"{name}={pick[way](metrics[name] for metrics in front):.4g}" for name, way in history.header.objectives.items()]
    return f"front of {len(front)}, best {' '.join(best)}"
