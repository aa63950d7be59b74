"""Operators of evolutionary methods on rows of a domain: complete, cross over, mutate, choose parents.

A row (d,) is as surrogates.domain has it: numbers as positions in [0, 1] on the search scale, choices as an index, NaN where
a condition does not hold. Every operator takes and gives such rows, which need not satisfy the constraints. Random numbers
come from the generator alone.

Sources:
    uniform crossover       Syswerda 1989, "Uniform crossover in genetic algorithms"
    binomial crossover      Storn and Price 1997, "Differential evolution", equation 6
    tournament              Goldberg and Deb 1991, "A comparative analysis of selection schemes"
    SBX                     Deb and Agrawal 1995, "Simulated binary crossover", in the bounded form of Deb's NSGA-II code
    polynomial mutation     Deb and Goyal 1996, "A combined genetic adaptive search", in the bounded form of the same code
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from surrogates.domain import Domain

CLOSE = 1e-14  # parents so near in a column have the same value

Rng = np.random.Generator
Array = np.ndarray


# -- parents ---------------------------------------------------------------------------------------------------------------


def choose_by_tournament(rng: Rng, count: int, size: int) -> int:
    """The best of `size` different ones of `count` that are ordered with the best first: its place. All if there are fewer."""
    return int(rng.choice(count, min(size, count), replace=False).min())


# -- legal rows ------------------------------------------------------------------------------------------------------------


def complete(domain: Domain, row: Array, rng: Rng) -> Array:
    """The legal row (d,) nearest to one in which active columns may be NaN: these get a random value."""
    fresh = domain.unconditional.from_unit(rng.random((1, domain.d)))[0]
    return np.asarray(domain.snap(np.where(np.isnan(row), fresh, row)[None])[0])


def to_unit(domain: Domain, row: Array, rng: Rng) -> Array:
    """(d,) a position in [0, 1) for each column of a legal row, from which `Domain.from_unit` makes that row: a number's own,
    the middle of an integer's cell, any in a choice's share, any where the column is inactive."""
    u = rng.random(domain.d)
    for j in np.flatnonzero(~np.isnan(row)):
        levels = domain.levels[j]
        if domain.kinds[j] == "categorical":
            u[j] = (row[j] + u[j]) / domain.sizes[j]
        elif levels is None:
            u[j] = row[j]
        elif len(levels) > 1:  # the cells as Domain.from_unit has them
            low, high = (3 * levels[0] - levels[1]) / 2, (3 * levels[-1] - levels[-2]) / 2
            u[j] = (row[j] - low) / (high - low)
    return u


# -- crossover -------------------------------------------------------------------------------------------------------------


def cross_uniformly(a: Array, b: Array, rng: Rng) -> Array:
    """(d,) each column from either parent; from the one in which it is active where it is in one."""
    child = np.where(rng.random(len(a)) < 0.5, a, b)
    return np.where(np.isnan(child), np.where(np.isnan(a), b, a), child)


def cross_binomially(x: Array, v: Array, rate: float, rng: Rng) -> Array:
    """(d,) each column from v with probability `rate`, one at least, else from x: "bin" of differential evolution."""
    from_v = rng.random(len(x)) < rate
    from_v[rng.integers(len(x))] = True
    return np.where(from_v, v, x)


def simulate_binary_crossover(a: Array, b: Array, eta: float, rng: Rng) -> Array:
    """(2, n) children of positions a and b (n,) in [0, 1], all of them crossed: their mean is that of their parents but for
    the bounds, and eta says how near they stay."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    apart = high - low
    near = apart <= CLOSE
    u, apart_or_one = rng.random(len(a)), np.where(near, 1.0, apart)
    below = low - _spread(u, 1.0 + 2.0 * low / apart_or_one, eta) * apart / 2 + apart / 2
    above = high + _spread(u, 1.0 + 2.0 * (1.0 - high) / apart_or_one, eta) * apart / 2 - apart / 2
    children = np.array([np.where(near, a, below), np.where(near, b, above)])
    swap = rng.random(len(a)) < 0.5
    return np.clip(np.where(swap, children[::-1], children), 0.0, 1.0)


def _spread(u: Array, beta: Array, eta: float) -> Array:
    """(n,) how far children lie apart, as a multiple of their parents' distance; never beyond beta."""
    alpha = 2.0 - beta ** -(eta + 1.0)
    inner = (u * alpha) ** (1.0 / (eta + 1.0))
    outer = (1.0 / (2.0 - u * alpha)) ** (1.0 / (eta + 1.0))
    return np.asarray(np.where(u <= 1.0 / alpha, inner, outer))


def cross_numbers(domain: Domain, a: Array, b: Array, eta: float, rng: Rng) -> Array:
    """(d,) one child of two rows, not snapped: numbers by SBX, each with probability 1/2, choices from either parent."""
    child = cross_uniformly(a, b, rng)
    both = ~domain.categorical & ~np.isnan(a) & ~np.isnan(b)
    crossed = simulate_binary_crossover(a[both], b[both], eta, rng)[0]
    kept = (a if rng.random() < 0.5 else b)[both]
    child[both] = np.where(rng.random(len(kept)) < 0.5, crossed, kept)
    return child


# -- mutation --------------------------------------------------------------------------------------------------------------


def mutate_polynomially(x: Array, eta: float, rng: Rng) -> Array:
    """(n,) positions x in [0, 1], all of them mutated within their bounds; a step is about 1 / eta."""
    u, power = rng.random(len(x)), eta + 1.0
    down = (2.0 * u + (1.0 - 2.0 * u) * (1.0 - x) ** power) ** (1.0 / power) - 1.0
    up = 1.0 - (2.0 * (1.0 - u) + 2.0 * (u - 0.5) * x**power) ** (1.0 / power)
    return np.asarray(np.clip(x + np.where(u <= 0.5, down, up), 0.0, 1.0))


def mutate_normally(x: Array, sigma: float, rng: Rng) -> Array:
    """(n,) positions x in [0, 1] with normal steps of standard deviation sigma, reflected at the bounds."""
    return reflect(x + rng.normal(0.0, sigma, len(x)))


def reflect(x: Array) -> Array:
    """Positions beyond [0, 1] reflected at its walls, as often as it takes: a clipped one would lie on the wall for ever."""
    folded = np.abs(x) % 2.0
    return np.asarray(np.where(folded > 1.0, 2.0 - folded, folded))


def mutate(domain: Domain, row: Array, where: Array, step: Callable[[Array, Rng], Array], rng: Rng) -> Array:
    """The row (d,), not snapped, changed in the active columns of the mask `where` (d,): numbers by `step`, choices drawn anew
    among the others. An integer whose step is too small for a level goes to the next one in its direction."""
    child = np.array(row)
    active = where & ~np.isnan(row)
    numbers = active & ~domain.categorical
    child[numbers] = step(row[numbers], rng)
    for j in np.flatnonzero(active):
        levels, size = domain.levels[j], domain.sizes[j]
        if domain.kinds[j] == "categorical":
            other = int(rng.integers(max(size - 1, 1)))
            child[j] = min(other + (other >= row[j]), size - 1)
        elif levels is not None and size > 1:
            child[j] = _leave_level(levels, float(row[j]), float(child[j]))
    return child


def _leave_level(levels: Array, old: float, new: float) -> float:
    """The position of an integer, moved from `old` at least to the next level towards `new`; inwards at an end."""
    at = int(np.abs(levels - old).argmin())
    if int(np.abs(levels - new).argmin()) != at:
        return new
    beside = at + (1 if new >= old else -1)
    return float(levels[beside if 0 <= beside < len(levels) else 2 * at - beside])
