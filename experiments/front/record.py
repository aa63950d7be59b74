"""What a search has found, as values that can be written as one line of JSON; tables and pictures are made of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from experiments.front.settings import FrontSettings
from experiments.job import default
from experiments.ledger.environment import processor
from experiments.tune.machine import versions
from hpo.study import Study

Quartiles = tuple[float, float, float]  # the first, the median, the third; milliseconds


@dataclass(frozen=True)
class Point:
    """A configuration that was trained as long as the longest."""

    trial: int
    config: Mapping[str, Any]
    loss: float
    bytes: int
    ms: Quartiles  # of a pass, as it was measured in the search
    is_default: bool = False
    is_member: bool = False  # of the front by the search
    again: Quartiles | None = None  # of a pass, measured in turns with all members
    token: Quartiles | None = None  # of a generated token, likewise
    dominated_by: int | None = None  # the trial that dominates this one by the second measurement
    is_close: bool = False  # whether that trial's quartiles and these overlap, so that time does not tell them apart

    @property
    def time(self) -> Quartiles:
        """The milliseconds that are known best."""
        return self.ms if self.again is None else self.again

    @property
    def is_missing(self) -> bool:
        """Whether it is no member, although nothing dominates it by the second measurement."""
        return not self.is_member and self.again is not None and self.dominated_by is None


@dataclass(frozen=True)
class Record:
    """One search."""

    settings: Mapping[str, Any]
    until: int  # tokens of the longest training
    trials: int
    results: int
    failed: int
    seconds: float  # of search
    points: tuple[Point, ...]
    measured: Mapping[str, Any] = field(default_factory=dict)  # how times were measured again
    versions: Mapping[str, str] = field(default_factory=versions)
    machine: str = field(default_factory=lambda: f"{platform.system()}, {processor()}")

    @classmethod
    def of(cls, study: Study, settings: FrontSettings) -> Record:
        """What a study has found so far. ValueError if nothing has succeeded."""
        history, front = study.history, {trial.key for trial in study.pareto}
        usual = default(settings.space)
        points = []
        for trial in map(study.trial, study.successes()):
            spread = tuple(trial.metrics[name] for name in ("ms_low", "ms", "ms_high"))
            place = {"is_default": dict(trial.config) == usual, "is_member": trial.key in front}
            size = int(trial.metrics["bytes"])
            points.append(Point(trial.number, dict(trial.config), trial.metrics["loss"], size, spread, **place))  # type: ignore[arg-type]
        chosen = {name: value for name, value in asdict(settings).items() if name != "folder"}
        failed = sum(map(history.is_failure, history.results))
        counts = len(history.trials), len(history.results), failed
        return cls(chosen, history.highest_budget or 0, *counts, round(history.elapsed_seconds(), 1), tuple(points))

    @property
    def members(self) -> list[Point]:
        """The front by the search, the smallest first."""
        return [point for point in self.shown if point.is_member]

    @property
    def shown(self) -> list[Point]:
        """Everything that is on the front by either measurement, the smallest first."""
        found = (point for point in self.points if point.is_member or point.is_missing)
        return sorted(found, key=lambda point: (point.bytes, point.trial))

    @property
    def default(self) -> Point | None:
        """The default configuration; None if it failed, or does not fit into the memory."""
        return next((point for point in self.points if point.is_default), None)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Record:
        """The record of a line."""
        values = {one.name: line[one.name] for one in fields(cls)}
        return cls(**{**values, "points": tuple(_point(point) for point in line["points"])})


def _point(values: Mapping[str, Any]) -> Point:
    triples = {name: tuple(values[name]) for name in ("ms", "again", "token") if values[name] is not None}
    return Point(**{**values, **triples})
