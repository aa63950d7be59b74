"""The hypervolume of a study's front, and how it grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hpo.bounds import feasible
from hpo.history import History
from hpo.job import Key
from hpo.trial import best_front
from hpo.values import format_value, is_finite
from surrogates.hypervolume import hypervolume

Reference = Mapping[str, float] | Sequence[float]


def front_volume(history: History, reference: Reference) -> float:
    """What the front dominates below the reference; see Study.hypervolume."""
    bound, front = read_reference(history, reference), best_front(history)
    return _volume([history.losses(key) for key in front], bound) if front else 0.0


def volume_curve(history: History, reference: Reference) -> list[float]:
    """After each result, in the order of their arrival, the hypervolume of those so far that are at the budget of the front and
    keep the optimizer's bounds.

    Only a result that enters the front makes it be computed anew.
    """
    bound, kept, curve = read_reference(history, reference), feasible(history), [0.0]
    front: list[tuple[float, ...]] = []
    for event in history.events:
        if event.kind not in ("finish", "add"):
            continue
        body = event.body["job"] if event.kind == "add" else event.body
        key: Key = body["trial"], body["until"]
        if key[1] != kept.highest_budget or key not in kept or _is_covered(history.losses(key), front):
            curve.append(curve[-1])
            continue
        front = [*(row for row in front if not _is_covered(row, [history.losses(key)])), history.losses(key)]
        curve.append(_volume(front, bound))
    return curve[1:]


def read_reference(history: History, reference: Reference) -> np.ndarray:
    """(M,) the reference as losses. ValueError where it does not name every objective by a finite number."""
    directions = history.header.objectives
    if not isinstance(reference, Mapping):
        if len(reference) != len(directions):
            raise ValueError(f"the reference holds {len(reference)} numbers; allowed are one for each of {list(directions)}")
        reference = dict(zip(directions, reference, strict=True))
    if {*reference} != {*directions} or not all(is_finite(value) for value in reference.values()):
        came = format_value(dict(reference))
        raise ValueError(f"the reference is {came}; allowed is a finite number for each of {list(directions)}")
    return np.array([reference[name] if way == "min" else -reference[name] for name, way in directions.items()], dtype=float)


def _is_covered(row: tuple[float, ...], by: Sequence[tuple[float, ...]]) -> bool:
    """Whether some row is nowhere worse."""
    return any(all(x <= y for x, y in zip(other, row, strict=True)) for other in by)


def _volume(rows: Sequence[tuple[float, ...]], bound: np.ndarray) -> float:
    return hypervolume(np.array(rows, dtype=float).reshape(-1, len(bound)), bound)
