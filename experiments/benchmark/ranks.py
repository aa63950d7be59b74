"""Ranks of methods over tasks: which seed beats which, what a bootstrap makes of it, and Demšar's tests.

    k methods, T tasks, C checkpoints, D bootstrap draws; S_m seeds of method m on a task, S = Σ_m S_m

    x        (C, S)     regrets on one task, all methods' seeds side by side; lower is better; infinite for a failure
    owner    (S,)       the method of a column, 0 … k-1, ascending
    A        (k, S)     A[m, i] = 1/S_m where owner_i = m, else 0
    W        (C, S, S)  W[c, i, j] = 1 if x_i < x_j, 1/2 if equal, 0 if x_i > x_j
    P        (C, k, k)  A W Aᵀ: P[c, a, b] is the probability that a random seed of a beats a random seed of b; P_aa = 1/2
    r        (C, k)     r_b = 1 + Σ_{a ≠ b} P_ab = 1/2 + Σ_a P_ab: the expected rank

The expected rank is the mean of the rank (equal values share theirs) over all ways to take one seed of every method. It needs
no equal numbers of seeds and no thresholds: it says how surely one method is ahead, where the rank of the median says
only that it is. Seeds of different methods are taken as independent.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006, for the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DRAWS = 10_000  # of the bootstrap
FEW = 5  # seeds below which a bootstrap says nothing of a method's spread
SAME = 1e-5  # mean ranks of draws nearer than this are equal: they are sums in float32


def side_by_side(groups: Sequence[Floats]) -> tuple[Floats, Ints]:
    """x (C, S) and its owner (S,) from one array (S_m, C) a method. ValueError for a method without seeds."""
    sizes = [len(group) for group in groups]
    if not sizes or min(sizes) == 0:
        raise ValueError(f"every method needs at least one seed, but the numbers of seeds are {sizes}")
    return np.concatenate(groups).T.copy(), np.repeat(np.arange(len(sizes)), sizes)


def win_matrix(x: Floats) -> Floats:
    """W (..., S, S) of values (..., S)."""
    mine, other = x[..., :, None], x[..., None, :]
    found: Floats = (mine < other) + 0.5 * (mine == other)
    return found


def estimate_wins(x: Floats, owner: Ints) -> Floats:
    """P (C, k, k): the probability that a random seed of one method beats a random seed of another."""
    share = (owner == np.arange(owner[-1] + 1)[:, None]).astype(float)
    share /= share.sum(axis=1, keepdims=True)
    found: Floats = share @ win_matrix(x) @ share.T
    return found


def expected_ranks(p: Floats) -> Floats:
    """r (..., k) of P (..., k, k): 1 for a method that every seed of all others loses to, k for the opposite."""
    found: Floats = 0.5 + p.sum(axis=-2)
    return found


# -- bootstrap ---------------------------------------------------------------------------------------------------------


def resample(owner: Ints, draws: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(D, S) weights of seeds drawn with replacement within every method; a method's weights sum to one."""
    columns = []
    for seeds in np.bincount(owner):
        drawn = rng.integers(seeds, size=(draws, seeds)) + seeds * np.arange(draws)[:, None]
        columns.append(np.bincount(drawn.ravel(), minlength=draws * seeds).reshape(draws, seeds) / seeds)
    return np.concatenate(columns, axis=1).astype(np.float32)


def drawn_ranks(x: Floats, owner: Ints, draws: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(D, C, k): r on one task for resampled seeds. A seed is drawn with all its checkpoints."""
    weights = resample(owner, draws, rng)  # w; r_b = 1/2 + Σ_{i of b} w_i (wᵀ W)_i, of which b against itself is 1/2
    starts = np.searchsorted(owner, np.arange(owner[-1] + 1))
    made = [np.add.reduceat(weights * (weights @ won.astype(np.float32)), starts, axis=1) for won in win_matrix(x)]
    return np.stack(made, axis=1) + np.float32(0.5)


@dataclass(frozen=True)
class Draws:
    """Mean ranks in every bootstrap draw, (D, 1 + C, k): over all checkpoints first, then at each alone."""

    seeds: Floats  # seeds drawn within fixed tasks
    tasks: Floats  # tasks drawn, and seeds within every drawn task anew


def bootstrap(tasks: Sequence[tuple[Floats, Ints]], draws: int = DRAWS, seed: int = 0) -> Draws:
    """The mean rank's distribution over seeds for these tasks, and over tasks of their kind."""
    rng = np.random.default_rng(seed)
    ranks = np.stack([drawn_ranks(x, owner, draws, rng) for x, owner in tasks])  # (T, D, C, k)
    chosen = rng.integers(len(tasks), size=(len(tasks), draws))
    # A permutation of the draws for each place, so that a task that is drawn twice has other seeds the second time.
    again = sum((ranks[place, rng.permutation(draws)] for place in chosen), np.zeros(ranks.shape[1:])) / len(tasks)
    return Draws(_with_all(ranks.mean(axis=0, dtype=float)), _with_all(again))


def _with_all(ranks: Floats) -> Floats:
    return np.concatenate([ranks.mean(axis=-2, keepdims=True), ranks], axis=-2)


def first(draws: Floats) -> Floats:
    """(..., k) share of the draws (D, ..., k) in which a method's mean rank is the lowest; equal ones share a draw."""
    leads = draws <= draws.min(axis=-1, keepdims=True) + SAME
    found: Floats = (leads / leads.sum(axis=-1, keepdims=True)).mean(axis=0)
    return found


# -- tests over tasks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Friedman:
    """Are all methods alike? `ranks` (k,) are mean whole ranks; two that differ by less than `critical` may be alike."""

    ranks: Floats
    tasks: int
    chi2: float
    p: float
    f: float  # Iman and Davenport's less conservative statistic, Demšar's F_F
    p_f: float
    critical: float  # Nemenyi's critical difference at 5 %


def friedman(scores: Floats) -> Friedman | None:
    """Of scores (T, k), lower is better, one block a task; None below three methods or two tasks, or if all tie."""
    tasks, k = scores.shape
    near = np.round(scores, 9)  # what rounding alone tells apart is a tie
    if k < 3 or tasks < 2 or np.all(np.ptp(near, axis=1) == 0):
        return None
    chi2, p = stats.friedmanchisquare(*near.T)
    rest = tasks * (k - 1) - chi2
    f = (tasks - 1) * chi2 / rest if rest > 1e-9 else math.inf
    p_f = stats.f.sf(f, k - 1, (k - 1) * (tasks - 1))
    ranks = stats.rankdata(near, axis=1).mean(axis=0)
    return Friedman(ranks, tasks, float(chi2), float(p), float(f), float(p_f), critical_difference(k, tasks))


def critical_difference(k: int, tasks: int, alpha: float = 0.05) -> float:
    """Nemenyi: CD = q_α sqrt(k (k + 1) / (6 N)), q_α the studentized range over sqrt 2. Demšar 2006, section 3.2.2."""
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(k * (k + 1) / (6 * tasks)))


def cliques(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """(first, last) of every maximal run of ascending mean ranks within the critical difference, of two or more."""
    found: list[tuple[int, int]] = []
    for low, rank in enumerate(ranks):
        high = max(place for place, other in enumerate(ranks) if other - rank <= critical)
        if high > low and (not found or high > found[-1][1]):
            found.append((low, high))
    return found


def wilcoxon(differences: Floats) -> float:
    """Two-sided p of the signed-rank test; zeros are shared by both sides (Demšar 2006, section 3.1.3)."""
    near = np.round(differences, 9)
    if not near.any():
        return 1.0
    return float(stats.wilcoxon(near, zero_method="zsplit").pvalue)


def holm(p: Sequence[float]) -> Floats:
    """p-values for all tests together, in the given order. Holm, Scandinavian Journal of Statistics 6, 1979."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    steps = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    found = np.empty_like(values)
    found[order] = steps
    return found
