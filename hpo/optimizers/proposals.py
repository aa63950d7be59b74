"""From what a method draws to a configuration that may be proposed: feasible, and not started before."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from hpo.history import History
from hpo.optimizers.gp.observations import RowTable
from hpo.space import Space
from surrogates import Domain, find_unused

CHILDREN = 100  # that may break a constraint or repeat a configuration before a random row stands for them
BATCHES = 16  # of draws, after which those that are feasible so far have to do


def draw_feasible(
    domain: Domain, draw: Callable[[np.random.Generator, int], np.ndarray], rng: np.random.Generator, n: int
) -> np.ndarray:
    """At most n draws (m, d) whose legal rows are feasible; fewer, or none, where they are seldom.

    draw: (rng, m) -> (m, d) values of every column.
    """
    values = draw(rng, n)
    if domain.feasible is None:
        return values
    found = [values[domain.is_feasible(domain.snap(values))]]
    for _ in range(BATCHES):
        if sum(map(len, found)) >= n:
            break
        values = draw(rng, 4 * n)
        found.append(values[domain.is_feasible(domain.snap(values))])
    return np.concatenate(found)[:n]


def first_unused(space: Space, rows: np.ndarray, exclude: Collection[bytes]) -> np.ndarray | None:
    """The first of legal rows (m, d) whose configuration's key (domain.keys) is not among `exclude`; None without one.

    The key of the decoded configuration's row is compared, since rows at a rounding edge have other keys.
    """
    domain = space.domain
    for row in rows:
        if domain.keys(row[None])[0] not in exclude:
            encoded = space.encode(space.decode(row))[None]
            if domain.keys(encoded)[0] not in exclude and bool(domain.is_feasible(encoded)[0]):
                return np.asarray(encoded[0])
    return None


def random_unused(domain: Domain, rng: np.random.Generator, exclude: Collection[bytes]) -> np.ndarray | None:
    """A random feasible row (d,) whose key is not among `exclude`; None where none is found."""
    return find_unused(domain, rng, exclude, lambda rows: rng.random(len(rows)))


def find_new(
    history: History, space: Space, rng: np.random.Generator, child: Callable[[], np.ndarray] | None = None
) -> np.ndarray:
    """A feasible row (d,) of a configuration that was not started: the first such that `child` draws, of CHILDREN; else, and
    without `child`, a random one. Where every configuration was started it is any random one.

    ValueError where nothing feasible is found.
    """
    domain = space.domain
    if not domain.d:
        return np.asarray(domain.random(rng, 1)[0])
    exclude = RowTable.of(history, space).started_keys(history)
    for _ in range(CHILDREN if len(exclude) < domain.size else 0):
        row = first_unused(space, child()[None] if child else domain.random(rng, 1), exclude)
        if row is not None:
            return row
        if child is None:
            break
    fresh = random_unused(domain, rng, exclude)
    return np.asarray(domain.random(rng, 1)[0]) if fresh is None else fresh
