"""Bayesian optimisation with a Gaussian process (Jones et al. 1998; Snoek et al. 2012), over any space.

What happens at an ask, with n results read:

    1. The results of all trials with their own weights are read, at every budget: where there are several, the budget is
       an input of the model, and proposals are judged at the horizon (see fidelity.py).
    2. Losses are standardised robustly; several objectives are first made one (ParEGO, Knowles 2006).
    3. Hyperparameters: those of the last fit that stands in a note, or a new fit if n has grown by an eighth. A new
       fit is recorded in the job's note, so that a reopened study never fits its past again.
    4. Pending configurations are conditioned on, the acquisition is maximised, nothing ever started is proposed again.

Every step is a function of the history and of `stream(seed, trial, role)`: the same log gives the same next job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Draft, Sampler
from hpo.optimizers.fidelity import AtHorizon, View, levelled, readable
from hpo.optimizers.model import Recipe, posteriors
from hpo.optimizers.random import Sobol
from hpo.rng import stream
from hpo.space import Config
from surrogates import Acquisition, GaussianProcess, Score, acquisition, maximize, standardise

NOISY = 0.02  # a learned noise variance (of standardised losses) above which the model's opinion beats one observation
CHEBYSHEV = 0.05  # the share of the plain sum in ParEGO's augmented Chebyshev function


@dataclass(eq=False)
class GP(Sampler):
    """A Gaussian process with an acquisition: "logei", "ei", "pi", "ucb", or any f(posterior, incumbent) -> score.

    `initial` is the number of Sobol points before the model speaks; by default one more than half the number of
    columns, but 4 to 10: the priors carry a model that early (Hvarfner et al. 2024), and a study of large models is short.
    `kernel` is "matern52", "matern32" or "rbf".

    An acquisition of your own sees standardised losses to be minimised: `posterior.mean` and `posterior.sd` (m,), and
    the incumbent; a higher score is better.
    """

    acquisition: str | Acquisition | Callable[..., Any] = "logei"
    kernel: str = "matern52"
    initial: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._score = acquisition(self.acquisition)
        self._recipe = Recipe(self.kernel)
        if self.initial is not None and self.initial < 1:
            raise ValueError(f"initial is {self.initial!r}; allowed is an integer of at least 1")
        columns = len(self.space.columns)
        self._enough = self.initial if self.initial is not None else min(max(columns // 2 + 1, 4), 10)
        self._sobol = Sobol(self.space, seed=self.seed)

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        keys = readable(history)
        if len(history.trials) < self._enough or not keys or not self.space.columns:
            return self._sobol.suggest(history, trial)
        view, domain = View.of(self.space, history, keys), self.space.domain
        rows, z = view.rows(history, keys), self.targets(history, keys, trial)
        several = len(history.header.objectives) > 1  # then every trial has another target
        (gp,), note = posteriors(history, self._recipe, view, "loss", keys, z, self._fit_seed(trial), several)
        plain = rows[:, : domain.d]
        mean = gp.predict(view.lift(plain))[0]  # of what was told, at the horizon
        pending = self._pending(history, view, set(view.domain.keys(rows)))
        gp = gp.condition(pending) if len(pending) else gp
        score = AtHorizon(Score(gp, self._score, float(mean.min())), view)
        seed = int(stream(self.seed, trial, "maximise").integers(2**31))
        tried = np.array([self.space.encode(history.jobs[started[0]].config) for started in history.trials.values()])
        best = plain[np.argsort(mean, kind="stable")]
        row = maximize(score, domain, seed, best_rows=best, exclude=set(domain.keys(tried)))
        if row is None:  # every point of a finite space was started: replicate where it is worth most
            row = maximize(score, domain, seed, best_rows=best)
        return None if row is None else Draft(self.space.decode(row), {"gp": note} if note else {})

    # -- what is read ------------------------------------------------------------------------------------------------

    def targets(self, history: History, keys: Sequence[Key], trial: int) -> np.ndarray:
        """(n,) standardised losses; several objectives through an augmented Chebyshev function with random weights
        (Knowles 2006, eq. 2)."""
        losses = levelled(history, keys)
        z = np.column_stack([standardise(column).z for column in losses.T])
        if z.shape[1] == 1:
            return np.asarray(z[:, 0])
        weights = stream(self.seed, trial, "weights").dirichlet(np.ones(z.shape[1]))
        weighted = (z - z.min(0)) * weights
        return np.asarray(standardise(weighted.max(1) + CHEBYSHEV * weighted.sum(1)).z)

    def _pending(self, history: History, view: View, told: set[bytes]) -> np.ndarray:
        """Rows of jobs in flight that the model has no result for."""
        keys = sorted([*history.pending, *history.retries])
        rows = view.rows(history, keys) if keys else np.zeros((0, view.domain.d))
        names = view.domain.keys(rows)
        return np.array([row for row, name in zip(rows, names, strict=True) if name not in told])

    def _fit_seed(self, trial: int) -> int:
        return int(stream(self.seed, trial, "fit").integers(2**31))

    def recommend(self, history: History) -> Key | None:
        """By the model where it has learned that the results are noisy, else the lowest observed."""
        kept = self.candidates(history)
        observed = kept[0] if kept else None
        if observed is None or len(history.header.objectives) > 1:
            return observed
        keys = [key for key in history.at(observed[1]) if history.own(key)]
        if len(keys) < self._enough or not self.space.columns:
            return observed
        view = View.of(self.space, history, keys)
        rows, z = view.rows(history, keys), self.targets(history, keys, 0)
        (theta,) = self._recipe.thetas(rows, z, view, self._fit_seed(0))
        if np.exp(theta.log_noise) <= NOISY:
            return observed
        mean = GaussianProcess(view.domain, rows, z, theta).predict(view.rows(history, kept))[0]
        return kept[int(np.argmin(mean))]
