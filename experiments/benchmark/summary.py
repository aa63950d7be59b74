"""Regrets and seconds by task and method, the tasks on which ours lost, and ours beside variants of it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.benchmark.collected import OURS, Collected, is_variant, kind
from experiments.benchmark.ranks import Floats


@dataclass(frozen=True)
class Cell:
    """One method on one task after so many evaluations: median and quartiles of the regret over its seeds."""

    task: str
    method: str
    evaluations: int
    seeds: int
    median: float
    low: float
    high: float
    best: bool  # no method has a lower median


def quantile(values: Floats, q: float) -> Floats:
    """Over the first axis, interpolated linearly as NumPy does, but infinite and not NaN next to what is infinite."""
    ordered = np.sort(values, axis=0)
    low, part = divmod(q * (len(values) - 1), 1)
    found: Floats = ordered[int(low)]
    return found if part == 0 else (1 - part) * found + part * ordered[int(low) + 1]


def cells(found: Collected) -> list[Cell]:
    """Every cell that has a study, checkpoint by checkpoint, task by task."""
    made = []
    for count in found.checkpoints:
        for task in found.tasks:
            there = {method: found.regrets(task, method, [count])[:, 0] for method in found.methods}
            there = {method: values for method, values in there.items() if len(values)}
            best = min((float(quantile(values, 0.5)) for values in there.values()), default=math.inf)
            for method, values in there.items():
                low, median, high = (float(quantile(values, q)) for q in (0.25, 0.5, 0.75))
                made.append(Cell(task, method, count, len(values), median, low, high, median <= best < math.inf))
    return made


# -- where ours lost ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """A task and checkpoint at which some peer's median is better than ours, against the best such peer."""

    task: str
    evaluations: int
    ours: float
    peer: str
    its: float
    beats: float  # the probability that a random seed of ours beats a random seed of the peer
    p: float  # Mann and Whitney's, two-sided
    reason: str


def find_losses(found: Collected, reasons: Mapping[str, str]) -> tuple[list[Loss], int]:
    """Every loss, and the number of (task, checkpoint) at which there was a peer to lose against."""
    made, compared = [], 0
    for task in found.tasks:
        for count in found.checkpoints:
            there = {name: found.regrets(task, name, [count])[:, 0] for name in found.methods if not is_variant(name)}
            ours = there.pop(OURS, np.empty(0))
            peers = {name: values for name, values in there.items() if len(values)}
            if not len(ours) or not peers:
                continue
            compared += 1
            peer = min(peers, key=lambda name: float(quantile(peers[name], 0.5)))
            mine, its = float(quantile(ours, 0.5)), float(quantile(peers[peer], 0.5))
            if its < mine:
                test = stats.mannwhitneyu(peers[peer], ours)  # its statistic counts the pairs in which ours is lower
                beats = float(test.statistic) / (len(ours) * len(peers[peer]))
                made.append(Loss(task, count, mine, peer, its, beats, float(test.pvalue), reasons.get(task, "")))
    return made, compared


def read_reasons(path: Path) -> dict[str, str]:
    """task = "sentence"; {} without a file. ValueError for anything but sentences."""
    if not path.exists():
        return {}
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    for task, reason in found.items():
        if not isinstance(reason, str):
            raise ValueError(f"{path.name}: the reason of {task!r} is {reason!r}; it must be a sentence")
    return found


# -- ours and variants of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beside:
    """A variant GP(...) beside ours on a task, over the seeds that both have: medians at the checkpoints."""

    task: str
    method: str
    seeds: int
    its: Sequence[float]
    ours: Sequence[float]
    lower: int  # seeds whose regret is lower with the variant at the last checkpoint
    ties: int


def compare_variants(found: Collected) -> list[Beside]:
    """Every variant on every task where it and ours have a seed in common, at all checkpoints."""
    made, places = [], np.asarray(found.checkpoints) - 1
    for task in found.tasks:
        own = _by_seed(found, task, OURS)
        for method in filter(is_variant, found.methods):
            there = _by_seed(found, task, method)
            if both := sorted({*own} & {*there}):
                mine, its = (np.array([each[seed][places] for seed in both]) for each in (own, there))
                lower, ties = int((its[:, -1] < mine[:, -1]).sum()), int((its[:, -1] == mine[:, -1]).sum())
                median, own_median = quantile(its, 0.5).tolist(), quantile(mine, 0.5).tolist()
                made.append(Beside(task, method, len(both), median, own_median, lower, ties))
    return made


def _by_seed(found: Collected, task: str, method: str) -> dict[int, Floats]:
    """The studies that reach every checkpoint."""
    mine = found.traces.get((task, method), ())
    return {trace.seed: trace.regret for trace in mine if len(trace.regret) >= found.checkpoints[-1]}


# -- seconds -----------------------------------------------------------------------------------------------------------


def seconds(found: Collected) -> list[dict[str, Any]]:
    """Median seconds in all asks and in all tells of a whole study, by method and kind of task."""
    last, made = found.checkpoints[-1], []
    for method in found.methods:
        whole = [trace for trace in found.of(method) if len(trace.regret) >= last]
        for name in dict.fromkeys(kind(task) for task in found.tasks):
            mine = [trace for trace in whole if kind(trace.task) == name]
            if mine:
                ask, tell = (float(np.median([getattr(t, part) for t in mine])) for part in ("ask", "tell"))
                both = float(np.median([trace.ask + trace.tell for trace in mine]))
                row = {"method": method, "kind": name, "studies": len(mine)}
                made.append({**row, "ask_seconds": ask, "tell_seconds": tell, "seconds": both})
    return made
