"""Measures the configurations again that were trained to the end, and says whether the front holds.

In a search every shape is measured at another moment, when the machine may be faster or slower, and the front takes those that
were lucky. So at the end all shapes are measured side by side: one call of each in every round, in an order that changes. A
member of the front that is dominated by these times does not hold. If the quartiles of the two overlap, their times do not tell
them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.front.objective import IDLE, FrontObjective
from experiments.front.record import Point, Quartiles, Record
from experiments.job import flat
from hpo.pareto import dominates

ROUNDS = 50


def measure_again(record: Record, objective: FrontObjective, vocabulary: int) -> Record:
    """The record with second measurements, equal ones for equal shapes, and with verdicts.

    Models are built anew, since what a pass takes depends on the shape and not on what was learned.
    """
    from models.config import split
    from models.gpt import GPT
    from models.inference import Spread, compare_inference

    fixed, job, warmup = {**objective.job.fixed_config, "vocabulary": vocabulary}, objective.job, objective.warmup
    shapes = [replace(split({**fixed, **flat(point.config)})[0], **IDLE) for point in record.points]
    each = list(dict.fromkeys(shapes))
    found = compare_inference(
        [GPT(shape) for shape in each], objective.sequences, None, job.device, job.precision, job.threads, warmup=warmup,
        repeats=ROUNDS,
    )  # fmt: skip
    times = dict(zip(each, found, strict=True))

    def triple(spread: Spread) -> Quartiles:
        return 1e3 * spread.low, 1e3 * spread.median, 1e3 * spread.high

    points = [
        replace(point, again=triple(times[shape].forward), token=triple(times[shape].token))
        for point, shape in zip(record.points, shapes, strict=True)
    ]
    names = ("batch", "context", "device", "precision", "threads", "warmup", "repeats", "torch")
    measured: Mapping[str, Any] = {"shapes": len(each), "cache": True, **{name: getattr(found[0], name) for name in names}}
    return replace(record, points=tuple(judge_points(points)), measured=measured)


def judge_points(points: Sequence[Point]) -> list[Point]:
    """The points, where those that were measured again know what dominates them by that: of several, the lowest loss.

    A point that was no member is dominated also by one that is better in loss and bytes, and as fast as far as can be told.
    """
    compared = sorted((one for one in points if one.again is not None), key=lambda one: (one.loss, one.trial))
    found = []
    for point in points:
        above = (one for one in compared if point.again is not None and _is_above(one, point))
        found.append(replace(point, **_compare(point, next(above, None))))
    return found


def _is_above(one: Point, point: Point) -> bool:
    if dominates(_losses(one), _losses(point)):
        return True
    return not point.is_member and _has_overlap(one, point) and dominates(_losses(one)[:2], _losses(point)[:2])


def _compare(point: Point, best: Point | None) -> dict[str, Any]:
    if best is None:
        return {"dominated_by": None, "is_close": False}
    return {"dominated_by": best.trial, "is_close": _has_overlap(best, point)}


def _losses(point: Point) -> tuple[float, float, float]:
    return point.loss, point.bytes, point.time[1]


def _has_overlap(one: Point, other: Point) -> bool:
    return one.time[0] <= other.time[2] and other.time[0] <= one.time[2]
