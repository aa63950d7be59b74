"""Rows with a high score that has no gradient, such as a forest's: random rows, then local search from the best of them and
from the best results, as in SMAC (Hutter, Hoos and Leyton-Brown 2011, "Sequential model-based optimization for general algorithm
configuration", section 4.3).

Changed: all searches go on together, a batch of random neighbours a round, and a number is moved by steps of many sizes (SMAC:
all neighbours of one size, searched to their local optimum).
"""

from __future__ import annotations

import numpy as np

from surrogates.domain import Array, Domain
from surrogates.unused import RowScore, score_rows

CANDIDATES = 512  # random rows
STARTS = 8  # searches
TOLD = 4  # of which so many begin at results
MOVES = 24  # neighbours of each in a round
ROUNDS = 12
PATIENCE = 2  # rounds without any gain before the end
STEPS = (-2.0, -0.5)  # log10 of the sd of a number's steps
ENUMERABLE = 5_000  # a discrete domain of at most this size is scored whole


def search_rows(score: RowScore, domain: Domain, rng: np.random.Generator, best: Array) -> Array:
    """(m, d) all rows that were scored, feasible, the best first.

    best  (k, d) results worth searching around, best first
    """
    if not domain.floats.any() and domain.size <= ENUMERABLE:
        rows = domain.enumerate()
        return np.asarray(rows[np.argsort(-score_rows(score, rows), kind="stable")])
    rows = domain.try_rows(rng, CANDIDATES)
    rows = rows if len(rows) else domain.random(rng, STARTS)
    rows = np.concatenate([rows, best[:TOLD]])
    pool, values = [rows], [score_rows(score, rows)]
    told = np.arange(len(rows) - len(best[:TOLD]), len(rows))
    drawn = np.argsort(-values[0][: told[0] if len(told) else None], kind="stable")[: STARTS - len(told)]
    X, V = rows[[*drawn, *told]], values[0][[*drawn, *told]]
    still = 0
    for _ in range(ROUNDS):
        near, owner = neighbour_draws(domain, rng, X)
        pool.append(near)
        values.append(score_rows(score, near))
        still = 0 if _climb(X, V, near, values[-1], owner) else still + 1
        if still == PATIENCE:
            break
    order = np.argsort(-np.concatenate(values), kind="stable")
    return np.asarray(np.concatenate(pool)[order])


def _climb(X: Array, V: Array, near: Array, values: Array, owner: np.ndarray) -> bool:
    """Moves every row of X (b, d) to the best of its neighbours where that is better, in place; whether any has moved."""
    moved = False
    for i in range(len(X)):
        mine = np.flatnonzero(owner == i)
        k = mine[np.argmax(values[mine])] if len(mine) else None
        if k is not None and values[k] > V[i]:
            X[i], V[i], moved = near[k], values[k], True
    return moved


def neighbour_draws(domain: Domain, rng: np.random.Generator, X: Array) -> tuple[Array, np.ndarray]:
    """Feasible neighbours (m, d) of rows X (b, d), which differ in one active column and in what that activates; and of which
    row (m,) each is one."""
    owner = np.repeat(np.arange(len(X)), MOVES)
    Y, m = X[owner], len(X) * MOVES
    at = np.arange(m), np.argmax(np.where(np.isnan(Y), -1.0, rng.random(Y.shape)), axis=1)
    fresh = domain.unconditional.from_unit(rng.random(Y.shape))
    moved = Y[at] + 10.0 ** rng.uniform(*STEPS, m) * rng.standard_normal(m)
    values = np.where(domain.categorical[at[1]], fresh[at], moved)
    Y = np.where(np.isnan(Y), fresh, Y)  # for the case that their parents activate them
    Y[at] = values
    Y = domain.snap(Y)
    good = domain.is_feasible(Y)
    return Y[good], owner[good]
