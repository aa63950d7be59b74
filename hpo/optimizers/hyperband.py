"""Hyperband (Li et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo.optimizers.rungs import Brackets, Ladder, check_rate, check_resources, least_of, levels


@dataclass(eq=False)
class Hyperband(Brackets):
    """All brackets s = s_max ... 0 in turn (Li et al. 2018, Algorithm 1), repeated `rounds` times (default: until stopped),
    without the `min_early_stopping_rate` most aggressive. For R = 81 and eta = 3: (81, 1) (34, 3) (15, 9) (8, 27) (5, 81).

    Rungs are R / eta^k, as published: the lowest one may lie up to eta times above `min_resource` (from 2 to 50 by 3: at 6), and
    one bracket fewer fits in. Where R / min_resource is just below a power of eta, a lower `min_resource` makes the search much
    cheaper a trial.

        space = {"lr": (1e-4, 1e-1, "log")}
        rungs = [[until for _, until in ladder] for ladder in hpo.Hyperband(hpo.Random(space), 1, 50).table()]
        assert rungs == [[2, 6, 17, 50], [6, 17, 50], [17, 50], [50]]
    """

    min_resource: int = 1
    max_resource: int | None = None
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0
    rounds: int | None = None

    @property
    def _least(self) -> int:
        return least_of(self.min_resource)

    def _arrange(self, top: int) -> None:
        check_resources(self.min_resource, top, self.reduction_factor)
        check_rate(self.min_early_stopping_rate, levels(self.min_resource, top, self.reduction_factor))
        self._ladders = hyperband_ladders(self.min_resource, top, self.reduction_factor)[self.min_early_stopping_rate :]

    def table(self) -> list[Ladder]:
        """The ladder of every bracket of a round, the most aggressive first: `ladder(0)`, `ladder(1)`, ..."""
        return hyperband_ladders(self.min_resource, self.horizon, self.reduction_factor)[self.min_early_stopping_rate :]

    def ladder(self, bracket: int) -> Ladder | None:
        turn, shape = divmod(bracket, len(self._ladders))
        return self._ladders[shape] if self.rounds is None or turn < self.rounds else None


def hyperband_ladders(lowest: int, highest: int, eta: float) -> list[Ladder]:
    """The ladder of every bracket between two budgets, the most aggressive first."""
    deepest = levels(lowest, highest, eta)
    ladders: list[Ladder] = []
    for s in range(deepest, -1, -1):
        n = math.ceil((deepest + 1) / (s + 1) * eta**s - 1e-9)
        budgets = [max(lowest, round(highest / eta ** (s - i))) for i in range(s + 1)]
        sizes = [max(1, math.floor(n / eta**i + 1e-9)) for i in range(s + 1)]
        ladders.append(list(zip(sizes, budgets, strict=True)))
    return ladders
