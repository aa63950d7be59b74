"""TPE: tree-structured Parzen estimators (Bergstra et al. 2011, section 4), of one and of several objectives.

What happens at an ask, with n successes read at one budget:

    1. The results are split: `gamma` of them are good, the best; all others are bad. Of several objectives the best are those
       of the first non-dominated fronts, and of the front that does not fit in those that together have the largest
       hypervolume (MOTPE, Ozaki et al. 2020, Algorithm 2).
    2. l is the density of the good configurations, g that of the bad ones (surrogates/parzen.py). Failures and what is
       pending count as bad.
    3. `draws` configurations are drawn from l, and the one with the largest l / g is proposed, which has the largest expected
       improvement (eq. 15). Columns that are active under the same conditions are chosen together; those under other
       conditions, and every column without `multivariate`, by a ratio of their own.

Densities, split and choice are those of Optuna 5.0 (multivariate, group, constant_liar) where both are defined alike. What
differs: initial points are a Sobol sequence; a configuration that was started is not proposed again, the next best is; a
constraint of the space rejects draws, where Optuna knows none; failures are bad, where Optuna leaves them out; results count
at one budget only, where Optuna pools what it pruned. Unlike Ozaki et al., good results of several objectives weigh the same.

The cost of an ask grows with the results: by about 1 ms of a CPU for every thousand of them and half a dozen columns; with three
objectives by 8 ms.

    >>> from hpo import TPE, minimize
    >>> space = {"lr": (1e-5, 1e-1, "log"), "layers": (2, 12)}
    >>> study = minimize(lambda c: abs(c["lr"] - 1e-3) + 0.01 * c["layers"], space, TPE(space, seed=1), 40, quiet=True)
    >>> study.best.config["layers"] < 5
    True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hpo.bounds import Bounds
from hpo.history import History
from hpo.optimizer import Draft
from hpo.optimizers.drafting import DraftSampler
from hpo.optimizers.proposals import draw_feasible, first_unused, random_unused
from hpo.optimizers.rung_results import Reading, RungResults, choose_budget
from hpo.optimizers.sobol import Sobol
from hpo.rng import stream
from hpo.values import format_value, is_finite, whole
from surrogates.parzen import ParzenEstimator, equal_weights, recency_weights
from surrogates.subset_selection import select_by_rank

MOST = 25  # good results of one objective, where gamma is a share
ROUNDS = 4  # times that configurations are drawn anew because all were started before


@dataclass(eq=False)
class TPE(DraftSampler):
    """Tree-structured Parzen estimators, over any space.

    gamma         the share of the results that is good, rounded up; of one objective at most 25 results. Or a rule: of n
                  results how many, a function of n
    draws         configurations that are compared, of each group of columns
    initial       results before the estimators are used: a Sobol sequence until then
    multivariate  True: columns that are active together have one density. False: each has its own, as in Bergstra et al.
                  None: True with one objective, False with several, as Optuna has it
    constraints   {metric: bound}: results should have metric <= bound, and only such are recommended. Others are good only
                  where there are too few, those first that exceed the bounds the least in sum (Optuna's rule)

    Results are read at the highest budget that has `initial` successes, else at the one that has the most. ValueError where an
    option is none of these.
    """

    gamma: float | Callable[[int], int] = 0.1
    draws: int = 24
    initial: int = 10
    multivariate: bool | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.gamma) and not (is_finite(self.gamma) and 0 < self.gamma < 1):
            raise ValueError(f"gamma is {format_value(self.gamma)}; allowed is a number between 0 and 1, or a function of n")
        self.draws, self.initial = whole("draws", self.draws, 1), whole("initial", self.initial, 1)
        if self.multivariate is not None and not isinstance(self.multivariate, bool):
            raise ValueError(f"multivariate is {format_value(self.multivariate)}; allowed are True, False and None")
        self._bounds = Bounds(self.constraints)
        self._sobol = Sobol(self.space, seed=self.seed)

    def suggest(self, history: History, trial: int) -> Draft | None:
        if not self.space.columns:
            return self._sobol.suggest(history, trial)
        results = RungResults.of(history, self.space)
        exclude = results.table.started_keys(history)
        if len(exclude) >= self.space.domain.size:  # everything was started: replicate
            exclude = set()
        until = self._budget(history, results)
        fresh = self._sobol.next_point(history, exclude) if until is None else None
        if fresh is not None:
            return fresh
        good, bad = self.estimators(history, results.at(history, until or history.header.horizon))
        row = self._choose(good, bad, stream(self.seed, trial, "tpe"), exclude)
        return self._sobol.suggest(history, trial) if row is None else Draft(self.space.decode(row))

    # -- what is read ------------------------------------------------------------------------------------------------

    def _budget(self, history: History, results: RungResults) -> int | None:
        """The budget whose results are read; None while there are too few. Where nothing succeeded, the horizon."""
        counts = results.counts()
        until = choose_budget(counts, self.initial)
        few = counts.get(until or 0, 0) + len(results.failures) < self.initial
        return None if few else until or history.header.horizon

    def split(self, history: History, read: Reading) -> np.ndarray:
        """(n,) bool: which of the successes read are good."""
        n, objectives = read.losses.shape
        good, room = np.zeros(n, dtype=bool), min(self._count(n, objectives), n)
        self._bounds.check(history)
        excess = self._bounds.excess(history, read.keys) if self.constraints else np.zeros(n)
        if objectives == 1:
            good[np.lexsort((read.losses[:, 0], excess))[:room]] = True  # stable: of equal ones the older
            return good
        kept, others = np.flatnonzero(excess == 0.0), np.argsort(excess, kind="stable")
        good[kept[select_by_rank(read.losses[kept], min(room, len(kept)))]] = True
        good[others[len(kept) : max(room, len(kept))]] = True
        return good

    def _count(self, n: int, objectives: int) -> int:
        """How many of n results are good."""
        if callable(self.gamma):
            return whole(f"gamma({n})", self.gamma(n), 0)
        count = math.ceil(self.gamma * n)
        return min(count, MOST) if objectives == 1 else count

    def estimators(self, history: History, read: Reading) -> tuple[ParzenEstimator, ParzenEstimator]:
        """l and g: the densities of the good configurations and of the bad ones."""
        good, one = self.split(history, read), read.losses.shape[1] == 1
        domain, joint = self.space.domain, one if self.multivariate is None else self.multivariate
        weigh = recency_weights if one else equal_weights
        return (ParzenEstimator(domain, read.rows[good], weigh, joint),
                ParzenEstimator(domain, read.others(~good), recency_weights, joint))  # fmt: skip

    # -- what is proposed --------------------------------------------------------------------------------------------

    def _choose(
        self, good: ParzenEstimator, bad: ParzenEstimator, rng: np.random.Generator, exclude: set[bytes]
    ) -> np.ndarray | None:
        """The row (d,) of a configuration that was not started; None where none is found."""
        domain = self.space.domain
        for _ in range(ROUNDS):
            values = draw_feasible(domain, good.draw_values, rng, self.draws)
            if len(values):
                rows = self.rank_draws(values, good, bad)
            else:  # what is good is seldom feasible
                rows = self._rank_rows(domain.try_rows(rng, self.draws), good, bad)
            row = first_unused(self.space, rows, exclude)
            if row is not None:
                return row
        return random_unused(domain, rng, exclude)

    @staticmethod
    def _rank_rows(rows: np.ndarray, good: ParzenEstimator, bad: ParzenEstimator) -> np.ndarray:
        """Legal rows (m, d), the largest l / g first."""
        return rows[np.argsort(bad.log_density(rows) - good.log_density(rows), kind="stable")]

    def rank_draws(self, values: np.ndarray, good: ParzenEstimator, bad: ParzenEstimator) -> np.ndarray:
        """(m or m + 1, d) legal rows of feasible draws (m, d), in which every column has a value: the best first.

        That is the one of the best values of each block of columns (see `_combine_blocks`); then come the draws, by l / g.
        """
        ratios = good.block_log_densities(values) - bad.block_log_densities(values)  # (m, blocks)
        rows, firsts = self.space.domain.snap(values), [block[0] for block in good.blocks]
        total = np.where(np.isnan(rows[:, firsts]), 0.0, ratios).sum(axis=1)
        order = np.argsort(-total, kind="stable")
        if len(good.blocks) == 1:
            return np.asarray(rows[order])
        best = self._combine_blocks(values, ratios, good.blocks, int(order[0]))
        return np.concatenate([best, rows[order]])

    def _combine_blocks(self, values: np.ndarray, ratios: np.ndarray, blocks: tuple[np.ndarray, ...], start: int) -> np.ndarray:
        """(1, d) the draw `start`, in which block after block takes the values of the draw with the best ratio of that block
        among those with which the row is feasible. Without constraints that is the best of every block."""
        domain, row = self.space.domain, np.array(values[start])
        for block, ratio in zip(blocks, ratios.T, strict=True):
            if domain.feasible is not None:
                moved = np.tile(row, (len(values), 1))
                moved[:, block] = values[:, block]
                ratio = np.where(domain.is_feasible(domain.snap(moved)), ratio, -np.inf)
            row[block] = values[int(np.argmax(ratio)), block]
        return domain.snap(row[None])
