"""Synchronous brackets: SuccessiveHalving (Jamieson and Talwalkar 2016) and Hyperband (Li et al. 2018).

A bracket is a ladder of rungs (n_i, r_i): n_0 fresh trials are trained to r_0, the best n_1 of them go on to r_1, and so
on. A rung is judged once, when all of it has finished. Membership stands in the note ({"bracket": b}), so foreign trials
are never taken for members; a bracket that waits for stragglers opens the next.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Scheduler

Ladder = Sequence[tuple[int, int]]  # (configurations, budget) of every rung, lowest first


def check_resources(lowest: int, highest: int, factor: float) -> None:
    """Raises ValueError in one sentence if the resources do not make a ladder."""
    for name, value in (("min_resource", lowest), ("max_resource", highest)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; allowed is an integer of at least 1")
    if lowest > highest:
        raise ValueError(f"min_resource {lowest} is above max_resource {highest}")
    if not factor > 1:
        raise ValueError(f"reduction_factor is {factor!r}; allowed is a number above 1")


def check_rate(rate: int, deepest: int) -> None:
    """Raises ValueError in one sentence if so many of the lowest rungs cannot be left out."""
    if not isinstance(rate, int) or not 0 <= rate <= deepest:
        raise ValueError(f"min_early_stopping_rate is {rate!r}; allowed is 0 to {deepest} between these resources")


def levels(lowest: int, highest: int, factor: float) -> int:
    """The largest k with lowest * factor^k <= highest, by counting: a logarithm of 243 to base 3 is below 5."""
    k = 0
    while lowest * factor ** (k + 1) <= highest * (1 + 1e-12):
        k += 1
    return k


def ascending(lowest: int, highest: int, factor: float, skipped: int = 0) -> list[int]:
    """Budgets lowest * factor^k from k = skipped on, below the highest, and the highest: the lowest rung is exact."""
    below = {round(lowest * factor**k) for k in range(skipped, levels(lowest, highest, factor) + 1)}
    return [*sorted(r for r in below if r < highest), highest]


def geometric(lowest: int, highest: int, factor: float) -> list[int]:
    """Budgets highest / factor^k down to at least `lowest`, lowest first: the top rung is always the highest budget."""
    count = levels(lowest, highest, factor)
    return sorted({max(lowest, round(highest / factor**k)) for k in range(count + 1)})


@dataclass(eq=False)
class Brackets(Scheduler):
    """A scheduler over numbered brackets, each with a ladder."""

    @property
    def endless(self) -> bool:  # type: ignore[override]
        return self.ladder(10**9) is not None and self.sampler.endless

    @abstractmethod
    def ladder(self, bracket: int) -> Ladder | None:
        """The rungs of bracket number 0, 1, ...; None behind the last."""

    def propose(self, history: History) -> Job | None:
        members = self._members(history)
        bracket = 0
        while (ladder := self.ladder(bracket)) is not None:
            inside = members.get(bracket, [])
            if len(inside) < ladder[0][0]:
                job = self.sampler.fresh(history, ladder[0][1], {"bracket": bracket})
                if job is not None or not inside:
                    return job
            # full, or the sampler has run dry and the bracket is judged as it is
            promotable, _ = self._frontier(history, inside, ladder)
            if promotable:
                return self.resume(history, *promotable[0])
            bracket += 1
        return None

    def _members(self, history: History) -> dict[int, list[int]]:
        """Trials of every bracket, by the note of their first job, in order of number."""
        members: dict[int, list[int]] = {}
        for trial, keys in sorted(history.trials.items()):
            bracket = history.jobs[keys[0]].note.get("bracket")
            if bracket is not None and trial not in history.added:
                members.setdefault(bracket, []).append(trial)
        return members

    def _frontier(self, history: History, inside: list[int], ladder: Ladder) -> tuple[list[tuple[int, int]], list[Key]]:
        """(trial, budget) of every promotion that complete rungs allow, and finished keys of rungs not yet judged."""
        promotable: list[tuple[int, int]] = []
        entered = inside
        for (_, until), (above, following) in itertools.pairwise(ladder):
            done = [(trial, until) for trial in entered if (trial, until) in history.results]
            if len(done) < len(entered):
                return promotable, done
            best = [key[0] for key in history.rank(key for key in done if not history.failed(key))[:above]]
            promotable += [(trial, following) for trial in best if (trial, following) not in history.jobs]
            entered = best
        return promotable, []

    def live(self, history: History) -> Sequence[Key]:
        """What may still be promoted: the chosen of complete rungs, then everything in rungs not yet judged."""
        chosen: list[Key] = []
        waiting: list[Key] = []
        for bracket, inside in sorted(self._members(history).items()):
            ladder = self.ladder(bracket)
            assert ladder is not None
            if len(inside) < ladder[0][0]:  # may still be filled, or be judged as it is
                waiting += [(t, ladder[0][1]) for t in inside if (t, ladder[0][1]) in history.results]
            promotable, undecided = self._frontier(history, inside, ladder)
            chosen += [history.trials[trial][-1] for trial, _ in promotable]
            waiting += undecided
        return list(dict.fromkeys(chosen + history.rank(waiting)))


@dataclass(eq=False)
class SuccessiveHalving(Brackets):
    """Brackets of one shape: `configs` trials at the lowest rung (default: reduction_factor^rungs, so that one
    reaches the top; without the
    `min_early_stopping_rate` lowest rungs), repeated `rounds` times (default: until stopped)."""

    min_resource: int = 1
    max_resource: int = 81
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0
    configs: int | None = None
    rounds: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resources(self.min_resource, self.max_resource, self.reduction_factor)
        if self.configs is not None and self.configs < 1:
            raise ValueError(f"configs is {self.configs!r}; allowed is an integer of at least 1")
        budgets = geometric(self.min_resource, self.max_resource, self.reduction_factor)
        check_rate(self.min_early_stopping_rate, len(budgets) - 1)
        budgets = budgets[self.min_early_stopping_rate :]
        first = self.configs if self.configs is not None else round(self.reduction_factor ** (len(budgets) - 1))
        sizes = [max(1, math.floor(first / self.reduction_factor**i + 1e-9)) for i in range(len(budgets))]
        self._ladder = list(zip(sizes, budgets, strict=True))

    @property
    def horizon(self) -> int:
        return self.max_resource

    def ladder(self, bracket: int) -> Ladder | None:
        return self._ladder if self.rounds is None or bracket < self.rounds else None


@dataclass(eq=False)
class Hyperband(Brackets):
    """All brackets s = s_max ... 0 in turn (Li et al. 2018, Algorithm 1), repeated `rounds` times (default: until
    stopped), without the
    `min_early_stopping_rate` most aggressive. For R = 81 and eta = 3: (81, 1) (34, 3) (15, 9) (8, 27) (5, 81)."""

    min_resource: int = 1
    max_resource: int = 81
    reduction_factor: float = 3
    min_early_stopping_rate: int = 0
    rounds: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resources(self.min_resource, self.max_resource, self.reduction_factor)
        check_rate(self.min_early_stopping_rate, levels(self.min_resource, self.max_resource, self.reduction_factor))
        self._ladders = self.table()[self.min_early_stopping_rate :]

    @property
    def horizon(self) -> int:
        return self.max_resource

    def table(self) -> list[Ladder]:
        """The ladder of every bracket, the most aggressive first."""
        eta, deepest = self.reduction_factor, levels(self.min_resource, self.max_resource, self.reduction_factor)
        ladders: list[Ladder] = []
        for s in range(deepest, -1, -1):
            n = math.ceil((deepest + 1) / (s + 1) * eta**s - 1e-9)
            budgets = [max(self.min_resource, round(self.max_resource / eta ** (s - i))) for i in range(s + 1)]
            sizes = [max(1, math.floor(n / eta**i + 1e-9)) for i in range(s + 1)]
            ladders.append(list(zip(sizes, budgets, strict=True)))
        return ladders

    def ladder(self, bracket: int) -> Ladder | None:
        turn, shape = divmod(bracket, len(self._ladders))
        return self._ladders[shape] if self.rounds is None or turn < self.rounds else None
