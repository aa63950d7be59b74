"""A user's prior belief about the optimum, as a log density over configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

from hpo.space import Config, Space


@dataclass(frozen=True)
class Around:
    """log density of a belief that the optimum is near a configuration: GP(space, prior=Around(space, config, sd=0.2)).

    A number is normal around the given one on the scale of the search (sd is a share of the range). A choice is the given
    one with probability `sure`. Inactive parameters do not count.
    """

    space: Space
    config: Mapping[str, Any]
    sd: float = 0.2
    sure: float = 0.7

    def __post_init__(self) -> None:
        if not self.sd > 0 or not 0 < self.sure < 1:
            raise ValueError(f"sd is {self.sd!r} and sure is {self.sure!r}; allowed are sd > 0 and 0 < sure < 1")
        self.space.check(self.config)

    def __call__(self, config: Config) -> float:
        """The log density, up to a constant."""
        total = 0.0
        for name in self.space.columns:
            if name not in config or name not in self.config:
                continue
            spec = self.space.parameters[name]
            if spec.kind == "categorical":
                same = config[name] == self.config[name]
                total += log(self.sure if same else (1.0 - self.sure) / max(spec.size - 1, 1))
            else:
                total -= 0.5 * ((spec.encode(config[name]) - spec.encode(self.config[name])) / self.sd) ** 2
        return total
