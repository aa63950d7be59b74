"""Bayesian optimisation with a random forest, as in SMAC (Hutter, Hoos and Leyton-Brown 2011, "Sequential model-based
optimization for general algorithm configuration"; Lindauer et al. 2022), over any space.

What happens at an ask, with n results read at one budget:

    1. Losses are standardised robustly; a failure counts as bad as the worst. Several objectives are first made one (ParEGO,
       Knowles 2006), with other weights for every trial, as the GP does it.
    2. A forest is fitted (surrogates/forest.py). What is pending counts as observed at its mean, and it is fitted again.
    3. The row with the highest log expected improvement on the lowest mean of a result, found by local search
       (surrogates/local_search.py), is proposed; no configuration that was started is.

One proposal in ten is random instead (SMAC 1: every second, SMAC3: every fifth). Changed: SMAC first tries a Sobol sequence of
ten points a parameter, up to a quarter of the budget, here it is the GP's short one; SMAC's intensification runs a configuration
on one instance after the other, which has no meaning here; SMAC3 takes logarithms of costs.

It needs scikit-learn, and takes about 15 ms an ask after 100 results and 34 ms after 480 of them. Beside our other samplers:
experiments/benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo.history import History
from hpo.optimizer import Draft, Sampler
from hpo.optimizers.proposals import first_unused, random_unused
from hpo.optimizers.rung_results import Reading, RungResults, choose_budget
from hpo.optimizers.sobol import Sobol
from hpo.rng import stream
from hpo.space import Config
from hpo.values import format_value, is_finite, whole
from surrogates import LogEI, standardise
from surrogates.forest import RegressionForest, require_trees
from surrogates.local_search import search_rows

CHEBYSHEV = 0.05  # the share of the plain sum in ParEGO's augmented Chebyshev function


@dataclass(eq=False)
class RandomForest(Sampler):
    """A random forest with log expected improvement, over any space. pip install 'hpo-lm[forest]' installs what it needs.

    trees            of the forest
    initial          results before the forest is used: the middle of the space, then a Sobol sequence. Default: half the columns
                     plus one, or the number of categorical options if larger; between 4 and 10
    random_fraction  how often a configuration is drawn at random all the same

    Results are read at the highest budget that has `initial` successes, else at the one that has the most. ValueError where an
    option is none of these, ImportError without scikit-learn.

        import hpo

        space = {"lr": (1e-5, 1e-1, "log"), "layers": (2, 12), "optimizer": ["adam", "sgd"]}
        study = hpo.minimize(lambda c: abs(c["lr"] - 1e-3) + 0.01 * c["layers"], space, hpo.RandomForest(space, seed=1), 30)
        print(study.best.config)
    """

    trees: int = 30
    initial: int | None = None
    random_fraction: float = 0.1

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_trees()
        self.trees = whole("trees", self.trees, 1)
        if self.initial is not None:
            self.initial = whole("initial", self.initial, 1)
        if not is_finite(self.random_fraction) or not 0 <= self.random_fraction <= 1:
            raise ValueError(f"random_fraction is {format_value(self.random_fraction)}; allowed is a number from 0 to 1")
        self._sobol = Sobol(self.space, seed=self.seed)

    @property
    def enough(self) -> int:
        """Results before the forest is used."""
        domain = self.space.domain
        options = sum(size for size, choice in zip(domain.sizes, domain.categorical, strict=True) if choice)
        return self.initial if self.initial is not None else min(max(domain.d // 2 + 1, options, 4), 10)

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        if not history.trials:
            return Draft(self.space.midpoint())
        if not self.space.columns:
            return self._sobol.suggest(history, trial)
        domain, results = self.space.domain, RungResults.of(history, self.space)
        exclude = results.table.started_keys(history)
        if len(exclude) >= domain.size:  # everything was started: replicate
            exclude = set()
        counts = results.counts()
        until = choose_budget(counts, self.enough)
        few = counts.get(until or 0, 0) + len(results.failures) < self.enough
        fresh = self._sobol.next_point(history, exclude) if few else None
        if fresh is not None:
            return fresh
        rng, row = stream(self.seed, trial, "forest"), None
        if rng.random() >= self.random_fraction:
            row = self._best_row(results.at(history, until or history.header.horizon), rng, exclude)
        if row is None:
            row = random_unused(domain, rng, exclude)
        return self._sobol.suggest(history, trial) if row is None else Draft(self.space.decode(row))

    def _best_row(self, read: Reading, rng: np.random.Generator, exclude: set[bytes]) -> np.ndarray | None:
        """The row (d,) with the highest expected improvement found, of a configuration that was not started; else None."""
        X, domain = np.concatenate([read.rows, read.failed]), self.space.domain
        if not len(X):
            return None
        forest = self.fit(read, rng)
        means = forest.predict(X).mean
        incumbent, best = means.min(), X[np.argsort(means, kind="stable")]
        rows = search_rows(lambda rows: LogEI()(forest.predict(rows), incumbent), domain, rng, best)
        return first_unused(self.space, rows, exclude)

    def fit(self, read: Reading, rng: np.random.Generator) -> RegressionForest:
        """The forest of what is read, with what is pending at the mean of a forest without it."""
        domain, X, z = self.space.domain, np.concatenate([read.rows, read.failed]), self.targets(read, rng)
        forest = RegressionForest.fit(domain, X, z, rng, self.trees)
        if len(read.running):
            X, z = np.concatenate([X, read.running]), np.concatenate([z, forest.predict(read.running).mean])
            forest = RegressionForest.fit(domain, X, z, rng, self.trees)
        return forest

    @staticmethod
    def targets(read: Reading, rng: np.random.Generator) -> np.ndarray:
        """(n + f,) standardised losses of successes and failures; of several objectives ParEGO's function of them."""
        losses = np.concatenate([read.losses, np.full((len(read.failed), read.losses.shape[1]), np.inf)])
        z = np.column_stack([standardise(column).z for column in losses.T])
        if z.shape[1] == 1:
            return z[:, 0]
        weighted = (z - z.min(0)) * rng.dirichlet(np.ones(z.shape[1]))
        return standardise(weighted.max(1) + CHEBYSHEV * weighted.sum(1)).z
