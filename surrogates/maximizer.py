"""The row with the best score: candidates, then gradients on the float columns and moves on the others, in turn.

Every model call is batched over all starts. A pool keeps every row that was scored; the answer is the best of the pool
that is feasible and not excluded, so excluded rows may be walked through but never returned.

Notation     m rows at a time      b = STARTS rows that are refined      X (m, d) snapped, feasible rows
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from scipy.optimize import minimize

from surrogates.domain import Array, Domain, Mask
from surrogates.draws import first
from surrogates.linalg import one_thread
from surrogates.unused import find_unused, first_free, score_rows

CANDIDATES = 384  # uniform candidates
NEAR = 128  # candidates close to the best rows
STARTS = 8  # candidates that are refined
APART = 0.05  # starts that agree in every discrete column are at least this far apart (largest column)
ROUNDS = 2  # of gradients and moves
KEPT = 4  # rows that are refined after the first round
STEPS = 18  # of L-BFGS on all starts together; the winner then goes on alone
ENUMERABLE = 5_000  # a discrete domain of at most this size is scored whole
SLIDES, SLIDERS = 12, 32  # rounds and rows of the search along a constraint's edge
BEST = 5  # rows around which candidates are drawn

ScoreFunction = Callable[[Array], Any]  # (m, d) rows -> (m,) scores; with an attribute gradient(X) -> (scores, (m, d))


@one_thread
def maximize(score: ScoreFunction, domain: Domain, seed: int, best_rows: Array | None = None,
             exclude: Collection[bytes] = ()) -> Array | None:
    """The feasible row (d,) with the highest score found, or None when every point is excluded.

    score      (m, d) -> (m,), with `gradient(X) -> ((m,), (m, d))` if it has one; else differences are taken
    best_rows  (k, d) rows worth searching around, best first
    exclude    domain.keys of rows never to be returned: told or pending
    The same arguments give the same bits. ValueError when no feasible point can be found.
    """
    if not callable(score):
        raise ValueError(f"score is {score!r}; allowed is a function of rows (m, d), such as score_of(...) gives")
    if not domain.floats.any() and domain.size <= ENUMERABLE:
        rows = domain.enumerate()
        return first_free(domain, rows, score_rows(score, rows), frozenset(exclude))
    return Search(score, domain, np.random.default_rng(seed), frozenset(exclude)).run(best_rows)


class Search:
    """One maximisation: every scored row is kept in the pool."""

    def __init__(
        self, score: ScoreFunction, domain: Domain, rng: np.random.Generator, exclude: frozenset[bytes]
    ) -> None:
        self.score, self.domain, self.rng, self.exclude = score, domain, rng, exclude
        self.rows: list[Array] = []  # the pool
        self.scores: list[Array] = []

    def run(self, best_rows: Array | None) -> Array | None:
        """The whole search."""
        best = np.zeros((0, self.domain.d)) if best_rows is None else self.domain.at_horizon(self.domain.snap(best_rows))
        X = self._candidates(first(self.domain, best, BEST))
        X, values = self._pick(X, self._look(X))
        for i in range(ROUNDS if not self.domain.floats.all() else 1):
            if i:
                best_half = np.argsort(-values, kind="stable")[:KEPT]
                X, values = X[best_half], values[best_half]
            X, values = self._climb(X, values)
            X, values, moved = self._walk(X, values)
            if not moved:
                break
        self._polish(X[np.argmax(values)])
        found = first_free(self.domain, np.concatenate(self.rows), np.concatenate(self.scores), self.exclude)
        return self._anything() if found is None else found

    def _look(self, X: Array) -> Array:
        """Scores rows and keeps them in the pool."""
        values = score_rows(self.score, X)
        self.rows.append(X)
        self.scores.append(values)
        return values

    # --- where to start ----------------------------------------------------------------------------------------------

    def _candidates(self, best: Array) -> Array:
        spread = self.domain.try_rows(self.rng, CANDIDATES)
        if len(spread) == 0:
            spread = self.domain.random(self.rng, STARTS)
        return np.concatenate([spread, self._near(best, NEAR)])

    def _near(self, best: Array, n: int) -> Array:
        """Feasible rows around the best: each column changes with probability 1/2, one surely, by 1e-4 to 0.1."""
        if len(best) == 0:
            return best
        domain, centres = self.domain, best[np.arange(n) % len(best)]
        change = self.rng.random(centres.shape) < 0.5
        change[np.arange(n), self.rng.integers(0, domain.d, n)] = True
        width = 10.0 ** self.rng.uniform(-4.0, -1.0, (n, 1))
        moved = centres + width * self.rng.standard_normal(centres.shape)
        fresh = domain.from_unit(self.rng.random(centres.shape))
        jump = domain.categorical | np.isnan(centres) | (~domain.floats & (self.rng.random(centres.shape) < 0.3))
        rows = domain.at_horizon(domain.snap(self._activate(np.where(change, np.where(jump, fresh, moved), centres))))
        return rows[domain.is_feasible(rows)]

    def _activate(self, X: Array) -> Array:
        """Fills NaN columns at random, for the case that their parents activate them; snap makes the others NaN again."""
        asleep = np.isnan(X)
        if not asleep.any():
            return X
        return np.where(asleep, self._values(len(X)), X)

    def _values(self, n: int) -> Array:
        """(n, d) random values of every column, whether active or not."""
        return self.domain.unconditional.from_unit(self.rng.random((n, self.domain.d)))

    def _pick(self, X: Array, values: Array) -> tuple[Array, Array]:
        """The best rows that are apart from one another; all of them the best in their neighbourhood."""
        Z = self.domain.features(X)
        taken: list[int] = []
        for i in np.argsort(-values, kind="stable"):
            if all(np.abs(Z[i] - Z[j]).max(initial=0.0) > APART for j in taken):
                taken.append(int(i))
            if len(taken) == STARTS:
                break
        return X[taken], values[taken]

    # --- floats ------------------------------------------------------------------------------------------------------

    def _climb(self, X: Array, values: Array, steps: int = STEPS) -> tuple[Array, Array]:
        """Joint L-BFGS-B on the active float columns of all rows: one batched model call a step."""
        free = self.domain.floats & ~np.isnan(X)
        usable = np.isfinite(values)
        free &= usable[:, None]
        if not free.any():
            return X, values
        end = self._lbfgs(X, free, steps)
        end = self._back_inside(X, end)
        reached = self._look(end)
        better = reached > values
        return np.where(better[:, None], end, X), np.where(better, reached, values)

    def _lbfgs(self, X: Array, free: Mask, steps: int) -> Array:
        def negative(x: Array) -> tuple[float, Array]:
            rows = X.copy()
            rows[free] = x
            value, slope = self._gradient(rows)
            total, gradient = -float(value.sum()), -slope[free]
            if not np.isfinite(total) or not np.isfinite(gradient).all():
                return 1e25, np.zeros_like(x)
            return total, gradient

        result = minimize(negative, X[free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * int(free.sum()),
                          options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-10, "gtol": 1e-6})
        end = X.copy()
        end[free] = np.clip(result.x, 0.0, 1.0)
        return self.domain.on_grid(end)

    def _gradient(self, X: Array) -> tuple[Array, Array]:
        own = getattr(self.score, "gradient", None)
        if own is not None:
            value, slope = own(X)
            return np.asarray(value, dtype=float), np.asarray(slope, dtype=float)
        return self._differences(X)

    def _differences(self, X: Array, h: float = 1e-6) -> tuple[Array, Array]:
        """Central differences in the float columns, one-sided at the bounds, in one call of the score."""
        columns, (m, d) = np.flatnonzero(self.domain.floats), X.shape
        up, down = (np.repeat(X[None], len(columns), axis=0) for _ in range(2))  # (columns, m, d)
        for row, c in enumerate(columns):
            up[row, :, c] = np.minimum(X[:, c] + h, 1.0)
            down[row, :, c] = np.maximum(X[:, c] - h, 0.0)
        values = np.asarray(self.score(np.concatenate([X[None], up, down]).reshape(-1, d)), dtype=float)
        values = values.reshape(-1, m)
        high, low = values[1 : 1 + len(columns)], values[1 + len(columns) :]
        slope = np.zeros((m, d))
        for row, c in enumerate(columns):
            slope[:, c] = np.nan_to_num((high[row] - low[row]) / (up[row, :, c] - down[row, :, c]), nan=0.0)
        return values[0], slope

    def _back_inside(self, start: Array, end: Array) -> Array:
        """Moves rows that left the feasible set back along their path, halving it, to a feasible row or to the start."""
        out, share = ~self.domain.is_feasible(end), 0.5
        while out.any() and share > 1e-4:
            end[out] = self.domain.on_grid(start[out] + share * (end[out] - start[out]))
            out, share = ~self.domain.is_feasible(end), share / 2
        end[out] = start[out]
        return end

    # --- the rest ----------------------------------------------------------------------------------------------------

    def _walk(self, X: Array, values: Array, steps: int = 10) -> tuple[Array, Array, bool]:
        """Steepest ascent over discrete moves, all rows at once; columns that become active try several values."""
        moved = False
        if self.domain.floats.all():
            return X, values, moved
        open_ = np.ones(len(X), dtype=bool)  # rows that moved in the last step
        for _ in range(steps):
            moves = [self._moves(X[i]) if open_[i] else X[:0] for i in range(len(X))]
            owner = np.repeat(np.arange(len(X)), [len(rows) for rows in moves])
            if len(owner) == 0:
                break
            rows = np.concatenate(moves)
            scores = self._look(rows)
            open_[:] = False
            for i in np.unique(owner):
                mine = np.flatnonzero(owner == i)
                j = mine[np.argmax(scores[mine])]
                if scores[j] > values[i]:
                    X[i], values[i], open_[i] = rows[j], scores[j], True
            moved |= bool(open_.any())
        return X, values, moved

    def _moves(self, x: Array) -> Array:
        """Neighbours of x (d,); where a move activates columns, also three copies with random values of these."""
        near = self.domain.neighbours(x)
        if not self.domain.is_conditional or len(near) == 0:
            return near
        woke = np.isnan(x) & ~np.isnan(near)  # (k, d)
        again = np.repeat(np.flatnonzero(woke.any(axis=1)), 3)
        rows = np.where(woke[again], self._values(len(again)), near[again])
        rows = self.domain.snap(rows) if len(rows) else rows
        return np.concatenate([near, rows[self.domain.is_feasible(rows)]])

    # --- the end -----------------------------------------------------------------------------------------------------

    def _polish(self, x: Array) -> None:
        """The winner alone, to convergence; then along the edge of the feasible set, if there is one."""
        X, values = x[None], score_rows(self.score, x[None])
        X, values = self._climb(X, values, steps=50)
        if self.domain.feasible is not None:
            self._slide(X[0], float(values[0]))

    def _slide(self, x: Array, value: float) -> None:
        """Random steps in the float columns along the edge of the feasible set, shorter after each round without success."""
        width = 0.05
        for _ in range(SLIDES if self.domain.floats.any() else 0):
            step = width * self.rng.standard_normal((SLIDERS, self.domain.d)) * self.domain.floats
            rows = self.domain.snap(x + step)
            rows = rows[self.domain.is_feasible(rows)]
            scores = self._look(rows)
            if scores.max(initial=-np.inf) > value:
                x, value = rows[np.argmax(scores)], float(scores.max())
            else:
                width /= 4

    def _anything(self) -> Array | None:
        """Every scored row is excluded: returns any other row, and the best of them if they can be listed."""
        return find_unused(self.domain, self.rng, self.exclude, self.score)
