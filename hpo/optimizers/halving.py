"""Successive halving (Jamieson and Talwalkar 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo.optimizers.rungs import Brackets, Ladder, check_rate, check_resources, geometric, least_of


@dataclass(eq=False)
class SuccessiveHalving(Brackets):
    """Brackets of one shape: `configs` trials at the lowest rung (default: reduction_factor^rungs, so that one reaches the
    top; without the `min_early_stopping_rate` lowest rungs), repeated `rounds` times (default: until stopped). Rungs are
    max_resource / reduction_factor^k, so the lowest may lie above `min_resource`, as Hyperband's."""

    min_resource: int = 1
    max_resource: int | None = None
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0
    configs: int | None = None
    rounds: int | None = None

    @property
    def _least(self) -> int:
        return least_of(self.min_resource)

    def _arrange(self, top: int) -> None:
        check_resources(self.min_resource, top, self.reduction_factor)
        if self.configs is not None and (type(self.configs) is not int or self.configs < 1):
            raise ValueError(f"configs is {self.configs!r}; allowed is an integer of at least 1")
        budgets = geometric(self.min_resource, top, self.reduction_factor)
        check_rate(self.min_early_stopping_rate, len(budgets) - 1)
        budgets = budgets[self.min_early_stopping_rate :]
        first = self.configs if self.configs is not None else round(self.reduction_factor ** (len(budgets) - 1))
        sizes = [max(1, math.floor(first / self.reduction_factor**i + 1e-9)) for i in range(len(budgets))]
        self._ladder = list(zip(sizes, budgets, strict=True))

    def ladder(self, bracket: int) -> Ladder | None:
        return self._ladder if self.rounds is None or bracket < self.rounds else None
