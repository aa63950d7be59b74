"""Outcome: what a program found, beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A value, and others of the same kind by name, such as the default's.

    measure   what the value is, with its unit
    beside    by name; the first is what the program must not be worse than
    is_higher_better   else lower values are
    facts     what else is to be said, by name
    """

    measure: str
    value: float
    beside: Mapping[str, float]
    is_higher_better: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def is_no_worse(self, than: str | None = None) -> bool:
        """Whether the value is at least as good as another one; by default as the first."""
        other = self.beside[next(iter(self.beside)) if than is None else than]
        return self.value >= other if self.is_higher_better else self.value <= other

    def describe(self) -> list[str]:
        """Sentences: the value, each comparison with its verdict, the facts."""
        lines = [f"{self.measure}: {write_number(self.value)}"]
        lines += [f"  {name}: {write_number(other)}, {self._judge(name)}" for name, other in self.beside.items()]
        return lines + [f"  {name}: {fact}" for name, fact in self.facts.items()]

    def _judge(self, name: str) -> str:
        if isclose(self.value, self.beside[name], rel_tol=1e-9):
            return "the same"
        return "so no worse" if self.is_no_worse(name) else "so WORSE"


def write_number(value: float) -> str:
    """A number as it is printed: whole ones in full, others with four decimals."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"


def format_config(config: Mapping[str, Any]) -> str:
    """A configuration on one line, without the seed that all have."""
    shown = {name: value for name, value in config.items() if name != "seed"}
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items())
