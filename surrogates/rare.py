"""Rows of a feasible set that random rows seldom hit: found once, then varied by a random walk.

Feasible rows are found by chance; with several constraints, rows that satisfy more of them are varied first. From the
feasible rows others are reached in steps, and a step that leaves the feasible set is rejected: a Metropolis walk, whose
target is uniform where steps are symmetric. Half of the steps are differences of two feasible rows, which have the set's
own scale and shape (ter Braak 2006, "A Markov chain Monte Carlo version of the genetic algorithm differential evolution").

What is found depends on the domain alone (its draws have a seed of their own), so that a study replays whatever was asked
before in the process. What is drawn from there comes from the caller's generator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from surrogates.columns import Array, Mask

DRAWS = 100_000  # random rows that are looked at before a feasible set counts as empty
CELLS = 16_000_000  # values in so many rows, if more, where the constraint takes them by columns: about five seconds
SCOUTS, FEW = 4096, 32  # a feasible set is rare if less than FEW of so many random rows lie in it
BLOCK = 4096  # random rows at a time
SEEDS = 8  # feasible rows after which the search by chance ends
CONTENT = 8 * BLOCK  # or any number of them, after so many rows
BRED, ROUNDS = 64, 48  # rows that satisfy the most constraints, and how often they are varied
POOL = 256  # feasible rows that are kept
GROWN, SPREAD = 32, 16  # rounds in which they are found, from the first ones, and in which they then walk
TURN = 64  # walks at a time
SHORT, LONG = 4, 16  # steps of a walk: among many candidates; for a row that is taken as it is


class Ground(Protocol):
    """What is needed of a Domain."""

    @property
    def d(self) -> int: ...
    @property
    def categorical(self) -> Mask: ...
    @property
    def feasible(self) -> Callable[[Array], Any] | None: ...
    @property
    def unconditional(self) -> Ground: ...
    def from_unit(self, U: Array) -> Array: ...
    def snap(self, X: Array) -> Array: ...
    def is_feasible(self, X: Array) -> Mask: ...
    def keys(self, X: Array) -> list[bytes]: ...


def is_rare(domain: Ground) -> bool:
    """Whether fewer than FEW of SCOUTS random rows are feasible; most sets that are not rare are recognised after a hundred."""
    rng, found, looked, size = np.random.default_rng(0), 0, 0, 64
    while looked < SCOUTS:
        found += int(domain.is_feasible(domain.from_unit(rng.random((size, domain.d)))).sum())
        looked += size
        if found >= FEW:
            return False
        size = min(looked, SCOUTS - looked)
    return True


def budget(domain: Ground) -> int:
    """Random rows that may be looked at for a feasible one."""
    return max(DRAWS, CELLS // max(domain.d, 1)) if getattr(domain.feasible, "cheap", False) else DRAWS


def pool(domain: Ground) -> Array:
    """At most POOL feasible rows (k, d), all different; none where none was found."""
    rng = np.random.default_rng(0)
    rows = _by_chance(domain, rng)
    for _ in range(GROWN if len(rows) else 0):
        if len(rows) >= POOL:
            break
        moved = vary_rows(domain, rows[rng.integers(len(rows), size=POOL)], rows, rng)
        rows = different(domain, np.concatenate([rows, moved[domain.is_feasible(moved)]]))[:POOL]
    if len(rows) < POOL:
        return rows  # a few points: all that was found is worth keeping
    for _ in range(SPREAD):
        moved = vary_rows(domain, rows, rows, rng)
        rows = np.where(domain.is_feasible(moved)[:, None], moved, rows)
    return different(domain, rows)


def _by_chance(domain: Ground, rng: np.random.Generator) -> Array:
    """The first feasible rows: random ones, or variations of rows that satisfy the most constraints."""
    held = getattr(domain.feasible, "count_held", None)
    found, looked, most = [np.zeros((0, domain.d))], 0, budget(domain)
    while looked < most and sum(map(len, found)) < SEEDS and not (looked >= CONTENT and len(found) > 1):
        X = domain.from_unit(rng.random((BLOCK, domain.d)))
        good = domain.is_feasible(X)
        if good.any():
            found.append(X[good])
        if looked == BLOCK and len(found) == 1 and held is not None:
            bred = _bred(domain, held, X, rng)
            found += [bred] if len(bred) else []
        looked += BLOCK
    return different(domain, np.concatenate(found))


def _bred(domain: Ground, held: Callable[[Array], Array], X: Array, rng: np.random.Generator) -> Array:
    """Feasible rows reached from X (m, d) by steps that never break a constraint that held; often none."""
    counts = held(X)
    if len(np.unique(counts)) == 1:  # all break the same one: nothing to go by
        return X[:0]
    for _ in range(ROUNDS):
        best = np.argsort(-counts, kind="stable")[:BRED]
        X, counts = X[best], counts[best]
        moved = step_rows(domain, X[rng.integers(len(X), size=4 * BRED)], rng)
        X, counts = np.concatenate([moved, X]), np.concatenate([held(moved), counts])  # of equals the new ones go on
        good = domain.is_feasible(X)
        if good.any():
            return np.asarray(X[good])
    return X[:0]


def step_rows(domain: Ground, X: Array, rng: np.random.Generator) -> Array:
    """Rows (n, d) a step away from X: one column or several, each by 1e-4 to 1 of its range, or drawn anew."""
    n, d = X.shape
    fresh = domain.unconditional.from_unit(rng.random((n, d)))
    X = np.where(np.isnan(X), fresh, X)  # for when a parent wakes them; snap puts the others back to sleep
    change = rng.random((n, d)) < rng.choice([0.0, 0.3, 0.6], size=(n, 1))
    if d:
        change[np.arange(n), rng.integers(0, d, n)] = True
    moved = np.abs(X + 10.0 ** rng.uniform(-4.0, 0.0, (n, 1)) * rng.standard_normal((n, d)))
    moved = 1.0 - np.abs(1.0 - moved)  # thrown back at both ends
    jump = domain.categorical | (rng.random((n, d)) < 0.3)
    return domain.snap(np.where(change, np.where(jump, fresh, moved), X))


def vary_rows(domain: Ground, X: Array, among: Array, rng: np.random.Generator) -> Array:
    """Rows (n, d) a step away from X, half of them in the numbers by the difference of two rows of among (k, d)."""
    n = len(X)
    own = step_rows(domain, X, rng)
    first, second = rng.integers(len(among), size=(2, n))
    shift = rng.uniform(0.2, 1.2, (n, 1)) * (among[first] - among[second]) + 1e-6 * rng.standard_normal(X.shape)
    shift[np.isnan(shift) | domain.categorical] = 0.0
    moved = 1.0 - np.abs(1.0 - np.abs(X + shift))
    moved = domain.snap(np.where(domain.categorical, X, moved))
    return np.where(rng.random((n, 1)) < 0.5, moved, own)


def walk_rows(domain: Ground, start: Array, rng: np.random.Generator, n: int, steps: int) -> Array:
    """n feasible rows (n, d), each so many steps from one of the feasible rows start (k, d), k >= 1.

    The first m of n are those of m, if both are multiples of TURN or rounded up to one.
    """
    rows = []
    for _ in range(0, n, TURN):
        X = start[rng.integers(len(start), size=TURN)]
        for _ in range(steps):
            moved = vary_rows(domain, X, start, rng)
            X = np.where(domain.is_feasible(moved)[:, None], moved, X)
        rows.append(X)
    return np.concatenate(rows)[:n] if rows else start[:0]


def different(domain: Ground, X: Array) -> Array:
    """The rows without repetitions, in their order."""
    kept = {key: i for i, key in reversed(list(enumerate(domain.keys(X))))}
    return X[sorted(kept.values())]
