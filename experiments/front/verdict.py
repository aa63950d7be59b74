"""Measures the members of the front again, and says whether the front holds.

In a search every shape is measured at another moment, when the machine may be faster or slower, and the front takes those that
were lucky. So at the end its members and the default are measured side by side: one call of each in every round, in
an order that changes. A member that another one dominates by these times does not hold. If the quartiles of the two
overlap, their times do not tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.front.objective import FrontObjective
from experiments.front.record import Point, Quartiles, Record
from experiments.job import flat
from hpo.pareto import dominates

ROUNDS = 50


def measure_again(record: Record, objective: FrontObjective, vocabulary: int) -> Record:
    """The record with second measurements of the front's members and of the default, and with verdicts.

    Models are built anew, since what a pass takes depends on the shape and not on what was learned.
    """
    from models.config import split
    from models.gpt import GPT
    from models.inference import Spread, compare_inference

    chosen = [point for point in record.points if point.is_member or point.is_default]
    fixed = {**objective.job.fixed_config, "vocabulary": vocabulary}
    built = [GPT(split({**fixed, **flat(point.config)})[0]) for point in chosen]
    job, warmup = objective.job, objective.warmup
    found = compare_inference(
        built, objective.sequences, None, job.device, job.precision, job.threads, warmup=warmup, repeats=ROUNDS
    )

    def triple(spread: Spread) -> Quartiles:
        return 1e3 * spread.low, 1e3 * spread.median, 1e3 * spread.high

    times = {point.trial: (triple(one.forward), triple(one.token)) for point, one in zip(chosen, found, strict=True)}
    names = ("batch", "context", "device", "precision", "threads", "warmup", "repeats", "torch")
    measured: Mapping[str, Any] = {name: getattr(found[0], name) for name in names} if found else {}
    points = [
        replace(point, again=times[point.trial][0], token=times[point.trial][1]) if point.trial in times else point
        for point in record.points
    ]
    return replace(record, points=tuple(judge_members(points)), measured=measured)


def judge_members(points: Sequence[Point]) -> list[Point]:
    """The points, where those that were measured again know which member dominates them by that: of several, the fastest."""
    members = sorted((one for one in points if one.is_member and one.again is not None), key=lambda one: one.time[1])
    found = []
    for point in points:
        above = [one for one in members if point.again is not None and dominates(_losses(one), _losses(point))]
        best = above[0] if above else None
        found.append(replace(point, **_compare(point, best)))
    return found


def _compare(point: Point, best: Point | None) -> dict[str, Any]:
    if best is None:
        return {"dominated_by": None, "is_close": False}
    return {"dominated_by": best.trial, "is_close": _overlap(best, point)}


def _losses(point: Point) -> tuple[float, float, float]:
    return point.loss, point.bytes, point.time[1]


def _overlap(one: Point, other: Point) -> bool:
    return one.time[0] <= other.time[2] and other.time[0] <= one.time[2]
