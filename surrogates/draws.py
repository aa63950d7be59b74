"""Random and quasi-random feasible rows of a domain: by rejection, or where few are feasible by a walk among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from surrogates.columns import Array
from surrogates.rare import DRAWS, LONG, SHORT, Ground, budget, different, walk_rows


class Samplable(Ground, Protocol):
    """What is needed of a Domain."""

    @property
    def is_rare(self) -> bool: ...
    @property
    def refuge(self) -> Array: ...


def first(domain: Ground, X: Array, n: int) -> Array:
    """The first n feasible ones, or fewer, of the snapped rows X (m, d); no more are looked at than it takes."""
    if domain.feasible is None:
        return X[:n]
    found: list[Array] = [X[:0]]
    have, block = 0, max(n, 16)
    for i in range(0, len(X), block):
        if have >= n:
            break
        part = X[i : i + block]
        found.append(part[domain.is_feasible(part)])
        have += len(found[-1])
    return np.concatenate(found)[:n]


def try_rows(domain: Samplable, rng: np.random.Generator, n: int) -> Array:
    """See Domain.some."""
    if domain.feasible is None:
        return domain.from_unit(rng.random((n, domain.d)))
    if domain.is_rare:
        refuge = domain.refuge
        return different(domain, walk_rows(domain, refuge, rng, n, SHORT)) if len(refuge) else refuge
    return first(domain, domain.from_unit(rng.random((4 * n, domain.d))), n)


def random(domain: Samplable, rng: np.random.Generator, n: int) -> Array:
    """See Domain.random."""
    return _among(domain, rng, n) if domain.is_rare else _reject(domain, lambda m: rng.random((m, domain.d)), n)


def sobol(domain: Samplable, seed: int, n: int) -> Array:
    """See Domain.sobol."""
    if domain.d == 0:
        return np.zeros((n, 0))
    if domain.is_rare:
        return _among(domain, np.random.default_rng(seed), n)
    from scipy.stats import qmc  # here, because importing it takes most of a second

    engine = qmc.Sobol(domain.d, scramble=True, rng=np.random.default_rng(seed))
    return _reject(domain, lambda m: np.asarray(engine.random_base2(m.bit_length() - 1) if engine.num_generated == 0
                                                else engine.random(m)), n)


def _among(domain: Samplable, rng: np.random.Generator, n: int) -> Array:
    if len(domain.refuge) == 0:
        raise ValueError(f"no feasible point in {budget(domain):,} random draws: is the constraint ever true?")
    return walk_rows(domain, domain.refuge, rng, n, LONG)


def _reject(domain: Samplable, unit: Callable[[int], Array], n: int) -> Array:
    found: list[Array] = [np.zeros((0, domain.d))]
    have, barren, size = 0, 0, 1 << max(4, (n - 1).bit_length())
    while have < n:
        X = first(domain, domain.from_unit(unit(size)), n - have)
        barren = 0 if len(X) else barren + size
        if barren >= DRAWS:
            raise ValueError(f"no feasible point in {barren:,} random draws: is the constraint ever true?")
        found.append(X)
        have += len(X)
    return np.concatenate(found)
