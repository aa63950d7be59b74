"""What is asked and what is told: Job, Result and the Header that every log opens with. All of it survives JSON."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Key = tuple[int, int]  # (trial, until): names a result and a checkpoint; nominal, never where a run really stopped
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Job:
    """What `ask` returns: train this trial until that budget, starting from that checkpoint."""

    trial: int  # one configuration, one learning curve, for ever
    config: Mapping[str, Any]  # plain Python values; inactive parameters are absent; never the budget
    until: int  # absolute budget in the study's unit
    source: Key | None = None  # None: fresh start; own trial: resume; another trial: clone
    seed: int = 0  # training noise; a duplicate means same (config, seed)
    note: Mapping[str, Any] = field(default_factory=dict)  # the optimizer's own memory

    @property
    def key(self) -> Key:
        return self.trial, self.until

    def to_json(self) -> dict[str, Any]:
        source = list(self.source) if self.source is not None else None
        return {
            "trial": self.trial, "config": dict(self.config), "until": self.until,
            "source": source, "seed": self.seed, "note": dict(self.note),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        source = (int(data["source"][0]), int(data["source"][1])) if data["source"] is not None else None
        return cls(data["trial"], data["config"], data["until"], source, data["seed"], data["note"])


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
        """A Result from a number (the first objective), a mapping of metrics or a Result.

        Raises TypeError or ValueError that names what came when an objective is missing or is not a number.
        """
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            value = {next(iter(objectives)): float(value)}
        if isinstance(value, Mapping):
            value = cls(value)
        if not isinstance(value, Result):
            raise TypeError(f"a result is a number, a mapping of metrics or a Result, but {value!r} came")
        missing = [name for name in objectives if name not in value.metrics]
        if missing and value.error is None:
            raise ValueError(f"the result lacks the objective {missing[0]!r}; it holds {list(value.metrics)}")
        metrics = {str(name): _number(name, metric) for name, metric in value.metrics.items()}
        curve = tuple((int(step), float(metric)) for step, metric in value.curve)
        return cls(metrics, curve, value.error, dict(value.system), value.traceback)

    def to_json(self) -> dict[str, Any]:
        return {
            "metrics": dict(self.metrics), "curve": [list(point) for point in self.curve], "error": self.error,
            "system": dict(self.system), "traceback": self.traceback,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        curve = tuple((int(s), float(v)) for s, v in data["curve"])
        return cls(data["metrics"], curve, data["error"], data.get("system", {}), data.get("traceback"))


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"the metric {name!r} is {value!r}; allowed is a number") from None


@dataclass(frozen=True)
class Header:
    """The first event of a log: everything a reader must know to judge what follows. Directions live here only."""

    space: Mapping[str, Any]
    objectives: Mapping[str, str]
    unit: str
    horizon: int
    optimizer: Mapping[str, Any]
    seed: int
    lost_limit: int = 3  # how often one job may be lost before that is an error
    version: int = 2  # of the log; older headers are read as ones of this version

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

    def to_json(self) -> dict[str, Any]:
        # directions as a list of pairs: their order is the order of the losses, and JSON objects are sorted on disk
        return {**self.__dict__, "objectives": [list(pair) for pair in self.objectives.items()]}

    def losses(self, result: Result) -> tuple[float, ...]:
        """Every objective as something to minimise; a failure, a NaN or an infinity is infinite."""
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
