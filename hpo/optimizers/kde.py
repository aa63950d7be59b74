"""KDE: the sampler of BOHB (Falkner, Klein, Hutter 2018, "BOHB: robust and efficient hyperparameter optimization at scale").

At an ask, with N results at the largest budget that has enough (section 3.2 and Algorithm 2 of the paper):

    1. With probability `random_fraction`, and while no budget has enough, a random configuration. Enough are
       N_min = min_points_in_model successes, and with failures N_min + 2 results.
    2. The best N_l = max(N_min, top_n_percent of N) results are good, the worst max(N_min, N - N_l) are bad (eq. 3): of few
       results some are both.
    3. l and g are product kernel densities of both, with a bandwidth a column by the normal reference rule.
    4. `draws` configurations are drawn from l with all bandwidths times `bandwidth_factor`; the one with the largest l / g is
       proposed.

Unlike TPE it has no prior kernel, no recency, one width a column, one density over all columns, and does not see what is
pending. What is inactive is filled with the values of another row of the same set, as in the authors' HpBandSter, from which
the settings are. Changed: kernels are truncated to their ranges where densities are evaluated, too; a failure is never good;
integers have the mass of their cells; a configuration that was started is not proposed again. HpBandSter asks for disjoint sets
and so for more results; here it is the paper's rule.

The cost of an ask grows with the results, as that of TPE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo.history import History
from hpo.optimizer import Sampler
from hpo.optimizers.proposals import draw_feasible, first_unused, random_unused
from hpo.optimizers.rung_results import Reading, RungResults
from hpo.rng import stream
from hpo.space import Config
from hpo.values import format_value, is_finite, whole
from surrogates import Domain
from surrogates.parzen import active_blocks, kernel_density

LEAST = np.log(1e-32)  # a log density counts as at least this


@dataclass(eq=False)
class KDE(Sampler):
    """Kernel densities of good and bad configurations, with the published settings of BOHB.

    random_fraction       how often a configuration is drawn at random all the same
    min_points_in_model   results that a density needs; None: one more than there are columns
    top_n_percent         of the results at a budget, how many percent are good
    draws                 configurations that are compared
    bandwidth_factor      how much wider the kernels are from which those are drawn
    min_bandwidth         of a kernel, as a share of the range

    Several objectives are ordered by `history.rank`. ValueError where an option is none of these.
    """

    random_fraction: float = 1 / 3
    min_points_in_model: int | None = None
    top_n_percent: float = 15
    draws: int = 64
    bandwidth_factor: float = 3.0
    min_bandwidth: float = 1e-3

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low, high in (("random_fraction", 0, 1), ("top_n_percent", 0, 100)):
            value = getattr(self, name)
            if not is_finite(value) or not low <= value <= high:
                raise ValueError(f"{name} is {format_value(value)}; allowed is a number from {low} to {high}")
        for name in ("bandwidth_factor", "min_bandwidth"):
            value = getattr(self, name)
            if not is_finite(value) or value <= 0:
                raise ValueError(f"{name} is {format_value(value)}; allowed is a number above 0")
        self.draws = whole("draws", self.draws, 1)
        if self.min_points_in_model is not None:
            self.min_points_in_model = whole("min_points_in_model", self.min_points_in_model, 1)

    def sample(self, history: History, trial: int) -> Config | None:
        rng, domain = stream(self.seed, trial, "kde"), self.space.domain
        if not self.space.columns:
            return self.space.decode(domain.random(rng, 1)[0])
        results = RungResults.of(history, self.space)
        exclude = results.table.started_keys(history)
        if len(exclude) >= domain.size:  # everything was started: replicate
            exclude = set()
        until = None if rng.random() < self.random_fraction else self.largest_budget(results)
        row = None
        if until is not None:
            good, bad = self.split(history, results.at(history, until))
            row = first_unused(self.space, self._rank_draws(good, bad, rng), exclude)
        if row is None:
            row = random_unused(domain, rng, exclude)
        return self.space.decode(row if row is not None else domain.random(rng, 1)[0])

    @property
    def enough(self) -> int:
        """N_min."""
        return len(self.space.columns) + 1 if self.min_points_in_model is None else self.min_points_in_model

    def largest_budget(self, results: RungResults) -> int | None:
        """The largest budget with enough results; None without one."""
        n, failures = self.enough, len(results.failures)
        return next((until for until, count in results.counts().items() if count >= n and count + failures >= n + 2), None)

    def split(self, history: History, read: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Rows (N_l, d) of the good results, best first, and (N_g, d) of the bad ones (eq. 3)."""
        if read.losses.shape[1] == 1:
            order = np.argsort(read.losses[:, 0], kind="stable")
        else:
            places = {key: i for i, key in enumerate(read.keys)}
            order = np.array([places[key] for key in history.rank(read.keys)])
        rows = np.concatenate([read.rows[order], read.failed])
        good = min(max(self.enough, int(self.top_n_percent * len(rows) / 100)), len(order))
        return rows[:good], rows[-max(self.enough, len(rows) - good) :]

    def _rank_draws(self, good: np.ndarray, bad: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(m, d) legal rows, feasible, the largest l / g first."""
        domain = self.space.domain
        good, bad = fill_inactive(domain, good, rng), fill_inactive(domain, bad, rng)
        wide = kernel_density(domain, good, self.bandwidth_factor, self.min_bandwidth)
        values = draw_feasible(domain, wide.draw_rows, rng, self.draws)
        densities = [kernel_density(domain, rows, 1.0, self.min_bandwidth).log_density(values) for rows in (good, bad)]
        ratio = np.maximum(densities[0], LEAST) - np.maximum(densities[1], LEAST)
        return domain.snap(values)[np.argsort(-ratio, kind="stable")]


def fill_inactive(domain: Domain, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows X (n, d) in which what is inactive has the values of a random row in which it is active; where it is so in none,
    random values."""
    X = np.array(X)
    for block in active_blocks(domain):
        off = np.isnan(X[:, block[0]])
        on = X[~off][:, block]
        if off.any():
            count = int(off.sum())
            free = domain.unconditional.from_unit(rng.random((count, domain.d)))[:, block]
            X[np.ix_(off, block)] = on[rng.integers(len(on), size=count)] if len(on) else free
    return X
