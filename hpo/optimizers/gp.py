"""Bayesian optimisation with a Gaussian process (Jones et al. 1998; Snoek et al. 2012), over any space.

What happens at an ask, with n results read:

    1. The results of all trials with their own weights are read, at every budget: where there are several, the budget is
       an input of the model, and proposals are judged at the horizon (see fidelity.py).
    2. Losses are standardised robustly. Several objectives get a model each, or are first made one (ParEGO, Knowles 2006).
    3. Hyperparameters: those of the last fit that stands in a note, or a new fit if n has grown by an eighth; between two
       fits the model grows row by row (see model.py).
    4. The acquisition is told the situation, what is pending included; terms are added to it (see beliefs.py); it is
       maximised, and nothing ever started is proposed again.

Every step is a function of the history and of `stream(seed, trial, role)`: the same log gives the same next job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizer import CANDIDATES, Draft, Sampler
from hpo.optimizers.beliefs import Beliefs
from hpo.optimizers.fidelity import AtHorizon, View, encoded, levelled, readable
from hpo.optimizers.model import Recipe, posteriors
from hpo.optimizers.parts import Part, elsewhere
from hpo.optimizers.random import Sobol
from hpo.rng import stream
from hpo.space import Config
from surrogates import (
    Acquisition,
    Ensemble,
    GaussianProcess,
    ModelAcquisition,
    ScoreFunction,
    Situation,
    acquisition,
    isolation,
    maximize,
    score_of,
    standardise,
)

NOISY = 0.02  # a learned noise variance (of standardised losses) above which the model's opinion beats one observation
CHEBYSHEV = 0.05  # the share of the plain sum in ParEGO's augmented Chebyshev function


def worst(gps: Sequence[GaussianProcess], told: np.ndarray) -> np.ndarray:
    """(M,) a little worse than any told row is believed to be: the point below which hypervolume counts.

    A point at the worst of the front itself would give its ends no reason to be extended.
    """
    means = np.column_stack([gp.predict(told)[0] for gp in gps])
    return np.asarray(means.max(axis=0) + 0.1 * np.ptp(means, axis=0))


@dataclass(eq=False)
class GP(Sampler):
    """A Gaussian process with an acquisition: a name of surrogates.ACQUISITIONS, or any f(posterior, incumbent) -> score.

    An acquisition of your own sees standardised losses to be minimised: `posterior.mean` and `posterior.sd` (m,), and
    the incumbent; a higher score is better. "auto" is log EI; where noise was learned, noisy EI; with several objectives
    (noisy) expected hypervolume improvement. An acquisition of one objective is used with several through ParEGO.

    kernel       "matern52", "matern32" or "rbf"
    initial      points before the model speaks: the middle of the space, since people lay ranges around what they believe,
                 then a Sobol sequence. By default one more than half the number of columns, but 4 to 10: the priors carry
                 a model that early (Hvarfner et al. 2024), and a study of large models is short
    warp         fit a warping of the numeric parameters too (Snoek et al. 2014)
    power        a power transform of the losses, fitted to make them normal (Yeo & Johnson 2000), after robust scaling
    samples      so many hyperparameters drawn from their posterior by slice sampling, over which the acquisition is
                 averaged (Snoek et al. 2012); 0: the most probable ones
    cost         what improvement is divided by: the name of a metric that results report, such as "seconds", or a
                 function of a configuration, such as its FLOPs (Snoek et al. 2012, section 3.2)
    overview     every so many proposals one is made for another part of the space (parts.py), by a model of the whole in
                 which a crowd of results counts as one; 0: none. The others see the basin in which results crowd ever
                 finer, and nothing else
    constraints  {metric: bound}: results should have metric <= bound, and only such are recommended (Gardner et al. 2014)
    prior        log density over configurations of where the optimum may be, for example Around(space, config); it fades
                 as results come in (PiBO, Hvarfner et al. 2022). prior_weight: how many results it weighs
    """

    acquisition: str | Acquisition | ModelAcquisition | Callable[..., Any] = "auto"
    kernel: str = "matern52"
    initial: int | None = None
    warp: bool = False
    power: bool = False
    samples: int = 0
    overview: int = 5
    cost: str | Callable[[Config], float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    prior: Callable[[Config], float] | None = None
    prior_weight: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._acquisition = acquisition(self.acquisition)
        self._recipe = Recipe(self.kernel, self.warp, self.samples)
        self._beliefs = Beliefs(self.space, self.cost, dict(self.constraints), self.prior, self.prior_weight)
        if self.initial is not None and self.initial < 1:
            raise ValueError(f"initial is {self.initial!r}; allowed is an integer of at least 1")
        if self.overview < 0:
            raise ValueError(f"overview is {self.overview!r}; allowed are 0 (never) and more")
        if not self.prior_weight > 0:
            raise ValueError(f"prior_weight is {self.prior_weight!r}; allowed is a number above 0")
        for name, bound in self.constraints.items():
            if not isinstance(bound, int | float) or not np.isfinite(bound):
                raise ValueError(f"the bound of the constraint {name!r} is {bound!r}; allowed is a finite number")
        columns = len(self.space.columns)
        self._enough = self.initial if self.initial is not None else min(max(columns // 2 + 1, 4), 10)
        self._sobol = Sobol(self.space, seed=self.seed)

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        if not history.trials:
            return Draft(self.space.midpoint(), {})
        keys = readable(history)
        if len(history.trials) < self._enough or not keys or not self.space.columns:
            return self._sobol.suggest(history, trial)
        view, domain = View.of(self.space, history, keys), self.space.domain
        whole = self.overview > 0 and trial % self.overview == self.overview - 1 and len(history.header.objectives) == 1
        models, note = self._models(history, view, keys, trial, whole)
        score, best, part = self._score(history, view, keys, models, trial, whole)
        score, more = self._beliefs.added(score, history, self._recipe.plain, view, keys, self._draw(trial, "fit"))
        seed, climbed = self._draw(trial, "maximise"), AtHorizon(score, view)
        started = encoded(history, self.space, [keys[0] for keys in history.trials.values()])
        where, exclude = domain if part is None else part.of(domain), set(domain.keys(started))
        row = maximize(climbed, where, seed, best_rows=best, exclude=exclude)
        if row is None and part is not None:
            row = maximize(climbed, domain, seed, best_rows=best, exclude=exclude)
        if row is None:  # every point of a finite space was started: replicate where it is worth most
            row = maximize(climbed, domain, seed, best_rows=best)
        found = note | more
        return None if row is None else Draft(self.space.decode(row), {"gp": found} if found else {})

    def _draw(self, trial: int, role: str) -> int:
        return int(stream(self.seed, trial, role).integers(2**31))

    # -- what is modelled --------------------------------------------------------------------------------------------

    def _models(
        self, history: History, view: View, keys: Sequence[Key], trial: int, whole: bool
    ) -> tuple[list[list[GaussianProcess]], dict[str, Any]]:
        """Posteriors by objective (or of the one that ParEGO makes), each one or `samples`; and the note of new fits."""
        names = list(history.header.objectives)
        z = self.targets(history, keys, whole)
        names = [f"{names[0]} overall"] if whole else names
        parego = len(names) > 1 and not getattr(self._acquisition, "several", False)
        if parego:
            names, z = ["parego"], self._chebyshev(z, trial)[:, None]
        models: list[list[GaussianProcess]] = []
        note: dict[str, Any] = {}
        seed = self._draw(trial, "fit")
        for name, column in zip(names, z.T, strict=True):
            gps, found = posteriors(history, self._recipe, view, name, keys, column, seed, afresh=parego)
            models.append(gps)
            note |= found
        return models, note

    def targets(self, history: History, keys: Sequence[Key], whole: bool = False) -> np.ndarray:
        """(n, objectives) standardised losses; for the whole space a crowd of results counts as one."""
        weights = None
        if whole:
            domain = self.space.domain
            weights = isolation(domain.features(encoded(history, self.space, keys)), domain.categorical)
        return np.column_stack([standardise(column, self.power, weights).z for column in levelled(history, keys).T])

    def _chebyshev(self, z: np.ndarray, trial: int) -> np.ndarray:
        """(n,) an augmented Chebyshev function with random weights: another one every trial (Knowles 2006, eq. 2)."""
        weights = stream(self.seed, trial, "weights").dirichlet(np.ones(z.shape[1]))
        weighted = (z - z.min(0)) * weights
        return standardise(weighted.max(1) + CHEBYSHEV * weighted.sum(1)).z

    # -- what is maximised -------------------------------------------------------------------------------------------

    def _score(
        self, history: History, view: View, keys: Sequence[Key], models: list[list[GaussianProcess]], trial: int, whole: bool
    ) -> tuple[ScoreFunction, np.ndarray, Part | None]:
        """The acquisition in this situation, averaged over samples of the hyperparameters; the rows that it is compared
        with, best first; and the part of the space that is searched (None: all of it)."""
        plain = encoded(history, self.space, keys)
        told, valid = view.lift(plain), np.array([self._beliefs.feasible(history, key) for key in keys])
        means = np.mean([gp.predict(told)[0] for gp in models[0]], axis=0)
        valid = valid if valid.any() else np.ones(len(keys), dtype=bool)
        best = int(np.argmin(np.where(valid, means, np.inf)))
        part = elsewhere(self.space.domain, plain[best], stream(self.seed, trial, "part")) if whole else None
        compared = valid & part.holds(plain) if part is not None else valid
        compared = compared if compared.any() else valid
        pending = self._pending(history, view, set(view.domain.keys(view.rows(history, keys))))
        seed, held = self._draw(trial, "acquisition"), (view.domain.d - 1,) if view.several else ()
        scores = []
        for gps in zip(*models, strict=True):  # one of each objective's, a sample of the hyperparameters at a time
            noisy = any(np.exp(gp.theta.log_noise) > NOISY for gp in gps)
            incumbent = float(gps[0].predict(told[compared])[0].min())
            reference = worst(gps, told[compared]) if len(gps) > 1 else None
            situation = Situation(gps, told[compared], pending, incumbent, seed, noisy, reference, held)
            scores.append(score_of(self._acquisition, situation))
        order = np.argsort(np.where(compared, means, np.inf), kind="stable")[: int(compared.sum())]
        return scores[0] if len(scores) == 1 else Ensemble(scores), plain[order], part

    def _pending(self, history: History, view: View, told: set[bytes]) -> np.ndarray:
        """(p, d) rows of jobs in flight that the model has no result for."""
        keys = sorted([*history.pending, *history.retries])
        rows = view.rows(history, keys) if keys else np.zeros((0, view.domain.d))
        return rows[[name not in told for name in view.domain.keys(rows)]] if keys else rows

    # -- what is recommended -----------------------------------------------------------------------------------------

    def candidates(self, history: History) -> list[Key]:
        """With constraints, only results that kept them."""
        if not self.constraints:
            return super().candidates(history)
        for until in reversed(history.budgets):
            good = [key for key in history.at(until) if not history.failed(key) and self._beliefs.feasible(history, key)]
            if good:
                return history.rank(good)[:CANDIDATES]
        return []

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
        rows, z = view.rows(history, keys), self.targets(history, keys)[:, 0]
        (theta,) = self._recipe.plain.thetas(rows, z, view, self._draw(0, "fit"))
        if np.exp(theta.log_noise) <= NOISY:
            return observed
        mean = GaussianProcess(view.domain, rows, z, theta).predict(view.rows(history, kept))[0]
        return kept[int(np.argmin(mean))]
