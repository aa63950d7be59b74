"""What `ask` returns and `tell` takes: Job and Result; and the Header that opens every log. All of it survives JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo.logs.base import VERSION
from hpo.pareto import ORDERS
from hpo.values import format_value, is_several, number, whole

LONGEST = 140  # characters that a sentence spends on one of several differences

Key = tuple[int, int]  # (trial, until): names a result and a checkpoint; nominal, never where a run really stopped
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Note:
    """An optimizer's own notes on a job, in three parts. Only the class that writes a key reads it.

    study     what the study itself notes: queued (the position of a pinned configuration), added, finals
    member    where the trial belongs: rung, bracket, slot, generation. A resume copies this part and nothing else
    record    what was computed for this job and is read later: fits, positions in a list. Written once
    """

    study: Mapping[str, Any] = field(default_factory=dict)
    member: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        drawers = {"study": self.study, "member": self.member, "record": self.record}
        return {name: dict(drawer) for name, drawer in drawers.items() if drawer}


@dataclass(frozen=True)
class Job:
    """What `ask` returns: train this trial until that budget, starting from that checkpoint."""

    trial: int  # one configuration, one learning curve, for ever
    config: Mapping[str, Any]  # plain Python values; inactive parameters are absent; never the budget
    until: int  # absolute budget in the study's unit
    source: Key | None = None  # None: fresh start; own trial: resume; another trial: clone
    seed: int = 0  # training noise; a duplicate means same (config, seed)
    note: Note = field(default_factory=Note)  # the optimizer's own memory

    def __post_init__(self) -> None:
        if not isinstance(self.note, Note):
            raise TypeError(f"the note of a job is {format_value(self.note)}; allowed is such as Note(member={{'rung': 0}})")

    @property
    def key(self) -> Key:
        return self.trial, self.until

    def to_json(self) -> dict[str, Any]:
        source = list(self.source) if self.source is not None else None
        return {
            "trial": self.trial, "config": dict(self.config), "until": self.until,
            "source": source, "seed": self.seed, "note": self.note.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        source = (int(data["source"][0]), int(data["source"][1])) if data["source"] is not None else None
        return cls(data["trial"], data["config"], data["until"], source, data["seed"], Note(**data["note"]))


@dataclass(frozen=True)
class Result:
    """What `tell` takes: raw, named, unsigned metrics; a curve; or the configuration's own fault.

    metrics     what the objective reported, under its own names
    system      what the framework measured beside it: seconds, setup_seconds, ... (see executors/worker.py)
    traceback   of the exception that became `error`, as Python prints it
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = ()
    error: str | None = None
    system: Mapping[str, float] = field(default_factory=dict)
    traceback: str | None = None

    @classmethod
    def of(cls, value: Any, objectives: Mapping[str, str]) -> Result:
        """A Result from a number (the first objective), a mapping of metrics, a Result or, of several objectives, a tuple or
        list with one number for each, in their order.

        Numbers may come from numpy, torch and the like, or as an array that holds one number. True and texts are no numbers.
        Raises a TypeError or ValueError that names what came if an objective is missing or is not a number.
        """
        if not isinstance(value, Result):
            value = cls(_by_objective(value, objectives))
        elif not isinstance(value.metrics, Mapping):
            value = replace(value, metrics=_by_objective(value.metrics, objectives))
        elif "" in value.metrics:  # from an executor, which does not know the objective's name
            value = replace(value, metrics={**value.metrics, **_by_objective(value.metrics[""], objectives)})
        error = value.error
        if isinstance(error, BaseException):
            error = f"{type(error).__name__}: {error}"
        if not isinstance(error, str | None):
            raise TypeError(f"the error of a result is {format_value(error)}; allowed are a sentence and None")
        metrics = {str(name): number(f"the metric {name!r}", m) for name, m in value.metrics.items() if name != ""}
        missing = [name for name in objectives if name not in metrics]
        if missing and error is None:
            raise ValueError(f"the result lacks the objective {missing[0]!r}; it holds {list(metrics)}")
        if not isinstance(value.system, Mapping):
            raise TypeError(f"the system's measurements of a result are {format_value(value.system)}; allowed is a mapping")
        return cls(metrics, _curve(value.curve), error, dict(value.system), value.traceback)

    def to_json(self) -> dict[str, Any]:
        return {
            "metrics": dict(self.metrics), "curve": [list(point) for point in self.curve], "error": self.error,
            "system": dict(self.system), "traceback": self.traceback,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        curve = tuple((int(s), float(v)) for s, v in data["curve"])
        return cls(data["metrics"], curve, data["error"], data.get("system", {}), data.get("traceback"))


def _curve(points: Any) -> Curve:
    """(step, value) pairs as plain integers and floats."""
    if not isinstance(points, list | tuple) or not all(is_several(point) and len(point) == 2 for point in points):
        raise TypeError(f"the curve of a result is {format_value(points)}; allowed is a list of (step, value)")
    return tuple((whole("the step of a curve", step), number("the value of a curve", value)) for step, value in points)


def _by_objective(value: Any, objectives: Mapping[str, str]) -> Mapping[str, Any]:
    """What an objective returned, under the names of the objectives."""
    if isinstance(value, Mapping):
        return value
    if len(objectives) > 1 and is_several(value):
        if len(value) != len(objectives):
            raise ValueError(
                f"the result {format_value(value)} holds {len(value)} numbers, but there are {len(objectives)} objectives: "
                f"allowed are one for each of {list(objectives)}, in this order, and a mapping of metrics"
            )
        return dict(zip(objectives, value, strict=True))
    try:
        return {next(iter(objectives)): number("a result", value)}
    except TypeError:
        said = f"a result is a number, a mapping of metrics or a Result, but {format_value(value)} came"
        several = f"; allowed is also a tuple of {len(objectives)} numbers, for {list(objectives)}" if len(objectives) > 1 else ""
        raise TypeError(said + several) from None


@dataclass(frozen=True)
class Header:
    """The first event of a log: everything a reader must know to judge what follows. Directions are nowhere else."""

    space: Mapping[str, Any]
    objectives: Mapping[str, str]
    unit: str
    horizon: int
    optimizer: Mapping[str, Any]
    seed: int
    lost_limit: int = 3  # how often one job may be lost before that is an error
    order: str = "crowding"  # of several objectives within a front: one of hpo.pareto.ORDERS
    version: int = VERSION  # of the log; older headers are upgraded to this version when they are read

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError("a study needs at least one objective, and none was given")
        for name, direction in self.objectives.items():
            if direction not in ("min", "max"):
                raise ValueError(f"objective {name!r} has the direction {direction!r}; allowed are 'min' and 'max'")
        if not isinstance(self.horizon, int) or self.horizon < 1:
            raise ValueError(f"the horizon is {self.horizon!r}; allowed is an integer of at least 1")
        if self.lost_limit < 1:
            raise ValueError(f"lost_limit is {self.lost_limit!r}; allowed is an integer of at least 1")
        if self.order not in (*ORDERS,):
            raise ValueError(f"order is {format_value(self.order)}; allowed are {list(ORDERS)}")
        if self.order != "crowding" and len(self.objectives) == 1:
            raise ValueError(f"order is {self.order!r}, but {next(iter(self.objectives))!r} is the only objective; allowed is an "
                             f"order of several")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        # directions as a list of pairs: their order is the order of the losses, and JSON objects are sorted on disk
        return {**self.__dict__, "objectives": [list(pair) for pair in self.objectives.items()]}

    def losses(self, result: Result) -> tuple[float, ...]:
        """Every objective, with the sign for minimising; a failure, a NaN or an infinity is infinite."""
        if result.error is not None:
            return (math.inf,) * len(self.objectives)
        signed = [
            result.metrics[name] if direction == "min" else -result.metrics[name]
            for name, direction in self.objectives.items()
        ]
        return tuple(loss if math.isfinite(loss) else math.inf for loss in signed)


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, in words: `seed was 0 and is now 1`."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in {**old, **new}:
            inner = f"{path}.{name}" if path else name
            found += differences(old.get(name), new.get(name), inner)
        return found
    return [] if old == new else [f"{path} was {old!r} and is now {new!r}"]


def join_differences(found: Sequence[str], most: int = 3) -> str:
    """The first few differences in a sentence, none of them too long: `seed was 0 and is now 1; unit was ... and 5 more`."""
    cut = [text if len(text) <= LONGEST else f"{text[:LONGEST]}..." for text in found[:most]]
    return "; ".join(cut) + (f" and {len(found) - most} more" if len(found) > most else "")
