"""Metrics in what a command prints, line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.commands.errors import CommandError
from hpo.values import format_value, whole

COUNT = "count"  # as the step: the number of lines with the first metric so far
STEP = "step"  # the name of the group, and of the entry of a JSON line, that says how far a training is
SHOWN = 200  # characters of a line in a sentence


@dataclass(frozen=True)
class Patterns:
    """How metrics are found.

    metrics   regular expressions by name, whose group `value`, else first group, is the number; or "json": every line that is a
              JSON object, and its numbers by their names
    step      a regular expression whose group is the step, or a group `step` in those of metrics; of JSON lines the entry's name.
              "count": how often the first metric was printed, for regular expressions

    ValueError for what is no regular expression, or has no group.
    """

    metrics: Mapping[str, str] | str
    step: str | None = None
    expressions: Mapping[str, re.Pattern[str]] = field(init=False, repr=False, default_factory=dict)
    counter: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.metrics == "json":
            return
        if not isinstance(self.metrics, Mapping) or not self.metrics:
            raise ValueError(f"metrics is {format_value(self.metrics)}; allowed are 'json' and regular expressions by name, "
                             r"such as {'loss': r'val loss (\S+)'}")  # fmt: skip
        found = {name: _compile(f"the metric {name!r}", text) for name, text in self.metrics.items()}
        object.__setattr__(self, "expressions", found)
        if self.step is not None and not self.has_count:
            object.__setattr__(self, "counter", _compile("step", self.step))

    @property
    def has_count(self) -> bool:
        """Whether the step is the number of lines with the first metric."""
        return self.step == COUNT and self.metrics != "json"

    @property
    def has_steps(self) -> bool:
        """Whether metrics come with a step, so that a training can be stopped on its way."""
        return self.step is not None or any(STEP in pattern.groupindex for pattern in self.expressions.values())


def _compile(what: str, text: Any) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, TypeError) as error:
        raise ValueError(f"{what} is {format_value(text)}, which is no regular expression: {error}") from None
    if not pattern.groups:
        raise ValueError(rf"{what} is {format_value(text)}, which has no group for the number; allowed is such as 'loss (\S+)'")
    return pattern


class MetricReader:
    """Reads one command's lines: the last value of every metric, and the last step."""

    def __init__(self, patterns: Patterns) -> None:
        self.patterns = patterns
        self.values: dict[str, float] = {}
        self.step: int | None = None

    def read(self, line: str) -> bool:
        """Takes one line. Whether it held a metric, and every metric has a value now. CommandError for one that is no number."""
        found = self._read_json(line) if self.patterns.metrics == "json" else self._match(line)
        self.values |= {name: _read_number(name, text, line) for name, text in found.items()}
        return bool(found) and all(name in self.values for name in self.patterns.expressions)

    def _match(self, line: str) -> dict[str, Any]:
        if self.patterns.counter is not None and (match := self.patterns.counter.search(line)) is not None:
            self.step = _read_step(match[1], line)
        matches = {name: match for name, pattern in self.patterns.expressions.items() if (match := pattern.search(line))}
        if self.patterns.has_count and next(iter(self.patterns.expressions)) in matches:
            self.step = (self.step or 0) + 1
        for match in matches.values():
            if STEP in match.re.groupindex:
                self.step = _read_step(match[STEP], line)
        return {name: _value_of(match) for name, match in matches.items()}

    def _read_json(self, line: str) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError:
            return {}
        if not isinstance(entry, dict):
            return {}
        if (name := self.patterns.step) is not None and name in entry:
            self.step = _read_step(entry.pop(name), line)
        return {name: value for name, value in entry.items() if isinstance(value, int | float) and not isinstance(value, bool)}

    def explain(self) -> str | None:
        """Which metric was never printed; None if all were."""
        lacking = [name for name in self.patterns.expressions if name not in self.values]
        if lacking:
            pattern = self.patterns.expressions[lacking[0]].pattern
            return f"no line that it printed matches the metric {lacking[0]!r} ({pattern!r})"
        return None if self.values else "it printed no JSON object with a number"


def _value_of(match: re.Match[str]) -> Any:
    """The group `value`; else the first that is not the step."""
    if "value" in match.re.groupindex:
        return match["value"]
    step = match.re.groupindex.get(STEP)
    return next((text for place, text in enumerate(match.groups(), 1) if place != step), None)


def _read_number(name: str, text: Any, line: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError, OverflowError):
        said = f"the metric {name!r} is {format_value(text)}, which is no number"
        raise CommandError(f"{said}, in the line {line[:SHOWN]!r}") from None


def _read_step(text: Any, line: str) -> int:
    try:
        return whole("the step", float(text) if isinstance(text, str) else text, 0)
    except (TypeError, ValueError):
        raise CommandError(f"the step is {format_value(text)}, which is no whole number, in the line {line[:SHOWN]!r}") from None
