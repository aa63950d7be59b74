"""Keys by budget, in the order of their losses, and the first front of every budget; kept up to date with each."""

from __future__ import annotations

import itertools
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence

from hpo.job import Key
from hpo.pareto import dominates


class Ranking:
    """The successes of a history, or some of them.

    losses   of a key: every objective, to be minimised
    rank     sorts keys, the best first
    """

    def __init__(self, losses: Callable[[Key], tuple[float, ...]], rank: Callable[[Iterable[Key]], list[Key]]) -> None:
        self._losses, self._rank = losses, rank
        self._ranked: dict[int, list[tuple[tuple[float, ...], Key]]] = {}  # by budget, sorted by losses, then key
        self._fronts: dict[int, list[Key]] = {}  # of several objectives, by budget
        self._keys: set[Key] = set()
        self.budgets: list[int] = []  # those with a success, lowest first

    def add(self, key: Key) -> None:
        """Takes one more. The cost is logarithmic in their number, for several objectives linear in the front's."""
        losses, until = self._losses(key), key[1]
        if until not in self._ranked:
            insort(self.budgets, until)
        insort(self._ranked.setdefault(until, []), (losses, key))
        self._keys.add(key)
        front = self._fronts.setdefault(until, [])
        if len(losses) > 1 and not any(dominates(self._losses(other), losses) for other in front):
            kept = [other for other in front if not dominates(losses, self._losses(other))]
            insort(kept, key)
            self._fronts[until] = kept

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def highest_budget(self) -> int | None:
        """The highest budget that has any; None without one."""
        return self.budgets[-1] if self.budgets else None

    def at(self, until: int) -> list[Key]:
        """Those at a budget by their losses, the first objective's before the others', ties by key."""
        return [key for _, key in self._ranked.get(until, ())]

    def order(self, until: int) -> Iterator[Key]:
        """Those at a budget, best first. With several objectives only the first front, which saves sorting all of them."""
        front = self._fronts.get(until)
        yield from self._rank(front) if front else (key for _, key in self._ranked.get(until, ()))

    def front(self, until: int) -> Sequence[Key]:
        """Those at a budget that no other dominates, sorted by key; with one objective, the best and its ties."""
        if self._fronts.get(until):
            return self._fronts[until]
        ranked = self._ranked.get(until, [])
        least = ranked[0][0] if ranked else ()
        return [key for _, key in itertools.takewhile(lambda entry: entry[0] == least, ranked)]
