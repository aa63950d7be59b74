"""Results by budget as arrays that grow with a history: what samplers read that learn from one budget at a time.

Only trials with their own weights count, and fidelities are never pooled. A trial that failed at any budget has failed: it is
no success anywhere, since it cannot be trained through. What is pending has no result at the budget that is read; a trial
that has one there counts by it, whatever it does now, and a paused trial without one does not count at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.gp.observations import RowTable
from hpo.space import Space


class Column:
    """Rows of numbers that are appended one at a time: `values` is an array (n, ...) of all of them."""

    def __init__(self, *shape: int, dtype: type = float) -> None:
        self._held: np.ndarray = np.empty((64, *shape), dtype)
        self._count = 0

    def append(self, value: object) -> None:
        """One more row."""
        if self._count == len(self._held):
            self._held = np.concatenate([self._held, np.empty_like(self._held)])
        self._held[self._count] = value
        self._count += 1

    @property
    def values(self) -> np.ndarray:
        """(n, ...), not to be changed."""
        return self._held[: self._count]

    def __len__(self) -> int:
        return self._count


@dataclass
class Successes:
    """Trials that succeeded at one budget, in the order in which they were read."""

    trials: Column  # (n,) their numbers
    losses: Column  # (n, objectives)
    places: Column  # (n,) where their rows are in the table

    @classmethod
    def of(cls, history: History) -> Successes:
        """None yet."""
        return cls(Column(dtype=int), Column(len(history.header.objectives)), Column(dtype=int))


@dataclass(frozen=True)
class Reading:
    """What a sampler reads: n trials that succeeded at one budget, in order of their numbers, and f + p others.

    until           the budget
    trials (n,)     their numbers, rising      failures (f,)   trials that failed anywhere, rising
    rows (n, d)     configurations             failed (f, d)   theirs
    losses (n, M)   to be minimised            pending (p,)    trials without a result here, rising
                                               running (p, d)  theirs
    """

    until: int
    trials: np.ndarray
    rows: np.ndarray
    losses: np.ndarray
    failures: np.ndarray
    failed: np.ndarray
    pending: np.ndarray
    running: np.ndarray

    @property
    def keys(self) -> list[Key]:
        """(n,) of the successes; the only part that costs a turn of Python for each."""
        return [(trial, self.until) for trial in self.trials.tolist()]

    def others(self, left: np.ndarray) -> np.ndarray:
        """(k, d) in order of their trials: the rows of successes that are left (n,) bool, of failures and of what is pending."""
        order = np.argsort(np.concatenate([self.trials[left], self.failures, self.pending]), kind="stable")
        return np.concatenate([self.rows[left], self.failed, self.running])[order]


class RungResults:
    """The results of a history over a space, each read once."""

    def __init__(self, table: RowTable) -> None:
        self.table = table
        self._clear()

    def _clear(self) -> None:
        self.read, self.adopted = 0, 0
        self.rungs: dict[int, Successes] = {}
        self.failures: dict[int, int] = {}  # by trial: where its row is in the table
        self.trials: set[int] = set()

    @classmethod
    def of(cls, history: History, space: Space) -> RungResults:
        """Those of a history and a space, up to date."""
        table = RowTable.of(history, space)
        found: RungResults = history.memo.setdefault(("rung results", table.name), cls(table))
        found._refresh(history)
        return found

    def _refresh(self, history: History) -> None:
        if len(history.adopted) != self.adopted and self.trials & history.adopted:  # adopted weights after a result of its own
            self._clear()
        self.adopted = len(history.adopted)
        for key in islice(history.results, self.read, None):
            if history.is_own(key):
                self._add(history, key)
        self.read = len(history.results)

    def _add(self, history: History, key: Key) -> None:
        self.table(history, [key])
        place = self.table.index[key]
        self.trials.add(key[0])
        if history.is_failure(key):
            self.failures.setdefault(key[0], place)
            return
        if key[1] not in self.rungs:
            self.rungs[key[1]] = Successes.of(history)
        rung = self.rungs[key[1]]
        rung.trials.append(key[0])
        rung.losses.append(history.losses(key))
        rung.places.append(place)

    def counts(self) -> dict[int, int]:
        """Successes by budget, the highest first."""
        return {until: int(self._stands(self.rungs[until]).sum()) for until in sorted(self.rungs, reverse=True)}

    def _stands(self, rung: Successes) -> np.ndarray:
        """(n,) bool: which trials have not failed at another budget."""
        if not self.failures:
            return np.ones(len(rung.trials), dtype=bool)
        return ~np.isin(rung.trials.values, np.fromiter(self.failures, int))

    def at(self, history: History, until: int) -> Reading:
        """What is read at a budget."""
        rung = self.rungs.get(until) or Successes.of(history)
        stands = np.flatnonzero(self._stands(rung))
        order = stands[np.argsort(rung.trials.values[stands], kind="stable")]
        rows, failures = self.table.table, np.array(sorted(self.failures), dtype=int)
        waiting = self._waiting(history, until)
        return Reading(
            until=until,
            trials=rung.trials.values[order],
            rows=rows[rung.places.values[order]],
            losses=rung.losses.values[order],
            failures=failures,
            failed=rows[np.array([self.failures[trial] for trial in failures.tolist()], dtype=int)],
            pending=np.array([key[0] for key in waiting], dtype=int),
            running=self.table(history, waiting),
        )

    def _waiting(self, history: History, until: int) -> list[Key]:
        """A key of every pending trial that has neither a result at the budget nor failed, by trial."""
        keys = sorted({key[0]: key for key in [*history.pending, *history.retries]}.values())
        return [key for key in keys if key[0] not in self.failures and (key[0], until) not in history.results]


def choose_budget(counts: Mapping[int, int], enough: int) -> int | None:
    """The highest budget with enough successes, else the one with the most (of equal ones the highest); None without any.

    counts: successes by budget, the highest first.
    """
    if not counts:
        return None
    return next((until for until, count in counts.items() if count >= enough), max(counts, key=lambda until: counts[until]))
