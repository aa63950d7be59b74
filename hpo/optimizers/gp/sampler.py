"""Bayesian optimisation with a Gaussian process (Jones et al. 1998; Snoek et al. 2012), over any space.

What happens at an ask, with n results read:

    1. The results of all trials with their own weights are read, at every budget: where there are several, the budget is
       an input of the model, and proposals are judged at the horizon (see observations.py).
    2. Losses are standardised robustly. Several objectives get a model each, or are first made one (ParEGO, Knowles 2006).
    3. Hyperparameters: those of the last fit that stands in a note, or a new fit if n has grown by an eighth; between two
       fits the model grows row by row (see fits.py).
    4. The acquisition gets the context, pending jobs included; terms are added to it (see term_models.py); it is maximised,
       and no configuration that was started is proposed again.

Every step is a function of the history and of `stream(seed, trial, role)`: the same log gives the same next job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.bounds import Bounds
from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Draft, Sampler
from hpo.optimizers.gp.fits import MOST, Recipe, check_count, posteriors, select_subset
from hpo.optimizers.gp.observations import AtHorizon, Observations
from hpo.optimizers.gp.regions import Part, another_part
from hpo.optimizers.gp.term_models import TermModels
from hpo.optimizers.sobol import Sobol
from hpo.rng import stream
from hpo.space import Config
from surrogates import (
    Acquisition,
    Context,
    Domain,
    GaussianProcess,
    ModelAcquisition,
    ScoreFunction,
    acquisition,
    combine,
    is_logarithmic,
    is_multi_objective,
    isolation,
    maximize,
    score_of,
    standardise,
)

NOISY = 0.02  # a learned noise variance (of standardised losses) above which the model's opinion beats one observation
TWINS = 4  # rows that may turn out to be of a configuration that was started, although their own keys are new
PAREGO = "parego"  # of several objectives; the acquisition of the one that they become is log EI
CHEBYSHEV = 0.05  # the share of the plain sum in ParEGO's augmented Chebyshev function


def reference_point(gps: Sequence[GaussianProcess], told: np.ndarray) -> np.ndarray:
    """(M,) the reference point of the hypervolume: a little worse than the posterior mean of every told row.

    At the worst of the front itself, extending the ends of the front would gain nothing.
    """
    means = np.column_stack([gp.mean(told) for gp in gps])
    return np.asarray(means.max(axis=0) + 0.1 * np.ptp(means, axis=0))


@dataclass(eq=False)
class GP(Sampler):
    """A Gaussian process with an acquisition: a name of surrogates.ACQUISITIONS, or any f(posterior, incumbent) -> score.

    An acquisition of your own sees standardised losses to be minimised: `posterior.mean` and `posterior.sd` (m,), and
    the incumbent; a higher score is better. "auto" is log EI; where noise was learned, noisy EI; with several objectives
    (noisy) expected hypervolume improvement. An acquisition of one objective is used with several through ParEGO (Knowles
    2006): a model of one augmented Chebyshev function of the losses, with random weights anew every trial; "parego" is that
    with log EI. Changed: weights are uniform on the simplex, not on a lattice; losses are standardised robustly, not by their
    range.

    Above about 1000 results the model reads a subset of data, since an exact GP costs O(n^3): the best half of 1000, and as
    many of the others, evenly spaced in their order (fits.py).

    kernel       "matern52", "matern32" or "rbf"
    initial      points before the model is used: the middle of the space, then a Sobol sequence. Default: half the columns
                 plus one, or the number of categorical options if larger; between 4 and 10. The middle comes first because
                 people choose ranges around what they believe; few points are enough because the priors keep an early model
                 reasonable (Hvarfner et al. 2024)
    warp         fit a warping of the numeric parameters too (Snoek et al. 2014)
    power        a power transform of the losses, fitted to make them normal (Yeo & Johnson 2000), after robust scaling
    samples      so many hyperparameters drawn from their posterior by slice sampling, over which the acquisition is
                 averaged (Snoek et al. 2012); 0: the most probable ones
    cost         what improvement is divided by: the name of a metric that results report, or else of what the framework
                 measured beside them, such as "seconds"; or a function of a configuration, such as its FLOPs (Snoek et al.
                 2012, section 3.2). Finite and above 0: a function's other values raise, a result's leave it out of the
                 cost's model, with a warning
    explore_every  one proposal in so many is made for another part of the space (regions.py), by a model in which results
                 that lie close together count as one; 0: none. The other proposals tend to refine the best basin
    constraints  {metric: bound}: results should have metric <= bound, and only such are recommended (Gardner et al. 2014)
    prior        log density over configurations of where the optimum may be, for example Around(space, config); -inf where
                 it cannot be. It fades as results come in (PiBO, Hvarfner et al. 2022). prior_weight: how many results it
                 weighs. The first `initial` points are the same without it: a density cannot be drawn from (the paper
                 draws them)
    """

    acquisition: str | Acquisition | ModelAcquisition | Callable[..., Any] = "auto"
    kernel: str = "matern52"
    initial: int | None = None
    warp: bool = False
    power: bool = False
    samples: int = 0
    explore_every: int = 5
    cost: str | Callable[[Config], float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    prior: Callable[[Config], float] | None = None
    prior_weight: float = 10.0

    repeats = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._acquisition = acquisition("logei" if self.acquisition == PAREGO else self.acquisition)
        self._recipe = Recipe(self.kernel, self.warp, self.samples)
        self._terms = TermModels(self.space, self.cost, Bounds(self.constraints), self.prior, self.prior_weight)
        if self.initial is not None:
            check_count("initial", self.initial, 1)
        check_count("explore_every", self.explore_every, 0)
        if not isinstance(self.power, bool):
            raise ValueError(f"power is {self.power!r}; allowed are True and False")
        if self._terms.has_terms and not is_logarithmic(self._acquisition):
            raise ValueError(f"acquisition {self.acquisition!r} is not on a log scale, so that neither cost nor constraints nor "
                             "a prior can be added to it; allowed are logei, pi, mes, kg, nei and others with log_scale = True")
        domain = self.space.domain
        options = sum(size for size, choice in zip(domain.sizes, domain.categorical, strict=True) if choice)
        self._enough = self.initial if self.initial is not None else min(max(domain.d // 2 + 1, options, 4), 10)
        self._sobol = Sobol(self.space, seed=self.seed)

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        if not history.trials:
            return Draft(self.space.midpoint(), {})
        if not self.space.columns:
            return self._sobol.suggest(history, trial)
        read, domain = self.observe(history), self.space.domain
        exclude = read.table.started_keys(history)
        if len(history.trials) < self._enough or not read.keys:
            fresh = self._sobol.next_point(history, exclude) if len(exclude) < domain.size else None
            if fresh is not None or not read.keys:
                return fresh or self._sobol.suggest(history, trial)
        every = self.explore_every
        whole = every > 0 and trial % every == every - 1 and len(history.header.objectives) == 1
        models, note = self._models(read, trial, whole)
        terms = self._terms.fit_terms(read, self._recipe.plain, self._draw(trial, "fit"))
        score, best, part = self._score(read, models, trial, whole, terms.valid)
        seed, climbed = self._draw(trial, "maximise"), AtHorizon(terms.add_to(score), read)
        where = domain if part is None else part.of(domain)
        row = self._new(climbed, where, seed, best, exclude)
        if row is None and part is not None:
            row = self._new(climbed, domain, seed, best, exclude)
        if row is None:  # every point was started, as far as can be found: replicate where it is worth most
            row = self.search(climbed, domain, seed, best, set())
        if row is not None:
            self._look(climbed, row)
        found = {**note, **terms.note}
        return None if row is None else Draft(self.space.decode(row), {"gp": found} if found else {})

    def _new(
        self, score: ScoreFunction, where: Domain, seed: int, best: np.ndarray, started: set[bytes]
    ) -> np.ndarray | None:
        """The best row of a configuration that was not started; None where none is found.

        The key of the decoded configuration's row is compared, since rows at a rounding edge have other keys.
        """
        exclude = set(started)
        for _ in range(TWINS):
            row = self.search(score, where, seed, best, exclude)
            if row is None or where.keys(self.space.encode(self.space.decode(row))[None])[0] not in started:
                return row
            exclude.update(where.keys(row[None]))
        return None

    def search(
        self, score: ScoreFunction, domain: Domain, seed: int, best: np.ndarray, exclude: Collection[bytes]
    ) -> np.ndarray | None:
        """The row (d,) with the best score that is not excluded: what a subclass overrides that climbs in another way.

        best: rows worth searching around, best first. The same arguments give the same row.
        """
        return maximize(score, domain, seed, best_rows=best, exclude=exclude)

    def _look(self, score: ScoreFunction, row: np.ndarray) -> None:
        """Warns if the best score is -inf or NaN: then every score was, and the search had nothing to follow."""
        with np.errstate(all="ignore"):
            value = float(score(row[None])[0])
        if not value > -np.inf:
            self._terms.warn("the score of every candidate is -inf or NaN, and proposals are as good as random: look at "
                               f"the acquisition {self.acquisition!r}, the cost, and where the prior is -inf")

    def _draw(self, trial: int, role: str) -> int:
        return int(stream(self.seed, trial, role).integers(2**31))

    # -- what is modelled --------------------------------------------------------------------------------------------

    def posterior(self, history: History | None = None, objective: int = 0) -> GaussianProcess:
        """The posterior of an objective after all results, on standardised losses: to be looked at, with
        surrogates.plot(optimizer.posterior(), acquisition, names=space.columns), or asked by predict.

        history: the optimizer's own by default. With ParEGO there is one model, of a random combination. ValueError while
        nothing was told, and where the space has no columns.
        """
        history = self.history if history is None else history
        read = self.observe(history)
        if not read.keys or not self.space.columns:
            raise ValueError(f"there is no posterior of {len(read.keys)} results over {len(self.space.columns)} parameters; "
                             "allowed is at least one of each")
        models, _ = self._models(read, history.next_trial, False)
        return models[objective][0]

    def observe(self, history: History, keys: Sequence[Key] | None = None) -> Observations:
        """The model's data: all that can be learned from, or some finished keys."""
        return Observations.of(history, self.space, keys)

    def _models(
        self, read: Observations, trial: int, whole: bool
    ) -> tuple[list[list[GaussianProcess]], dict[str, Any]]:
        """Posteriors by objective (or of the one that ParEGO makes), each one or `samples`; and the note of new fits."""
        names = list(read.history.header.objectives)
        z = self.targets(read, whole)
        names = [f"{names[0]} overall"] if whole else names
        parego = len(names) > 1 and not is_multi_objective(self._acquisition)
        if parego:
            names, z = ["parego"], self._chebyshev(z, trial)[:, None]
        models: list[list[GaussianProcess]] = []
        note: dict[str, Any] = {}
        seed = self._draw(trial, "fit")
        for name, column in zip(names, z.T, strict=True):
            gps, found = posteriors(read, self._recipe, name, column, seed, afresh=parego)
            models.append(gps)
            note |= found
        return models, note

    def targets(self, read: Observations, whole: bool = False) -> np.ndarray:
        """(n, objectives) standardised losses; for the whole space results that lie close together count as one."""
        weights = None
        if whole:
            domain = self.space.domain
            weights = isolation(domain.features(read.configs), domain.columns)
        return np.column_stack([standardise(column, self.power, weights).z for column in read.losses.T])

    def _chebyshev(self, z: np.ndarray, trial: int) -> np.ndarray:
        """(n,) an augmented Chebyshev function with random weights: another one every trial (Knowles 2006, eq. 2)."""
        weights = stream(self.seed, trial, "weights").dirichlet(np.ones(z.shape[1]))
        weighted = (z - z.min(0)) * weights
        return standardise(weighted.max(1) + CHEBYSHEV * weighted.sum(1)).z

    # -- what is maximised -------------------------------------------------------------------------------------------

    def _score(
        self, read: Observations, models: list[list[GaussianProcess]], trial: int, whole: bool, valid: np.ndarray
    ) -> tuple[ScoreFunction, np.ndarray, Part | None]:
        """The acquisition in this context, averaged over samples of the hyperparameters; the rows that it is compared
        with, best first; and the part of the space that is searched (None: all of it)."""
        plain = read.configs
        if len(plain) > MOST and len(models) == 1:  # the best is among what the model is made of
            losses = read.losses[:, 0]
            few = select_subset(np.where(valid, losses, np.inf) if valid.any() else losses)
            plain, valid = plain[few], valid[few]
        told = read.lift(plain)
        means = [gp.mean(told) for gp in models[0]]
        mean = np.mean(means, axis=0)
        valid = valid if valid.any() else np.ones(len(plain), dtype=bool)
        best = int(np.argmin(np.where(valid, mean, np.inf)))
        part = another_part(self.space.domain, plain[best], stream(self.seed, trial, "part")) if whole else None
        compared = valid & part.contains(plain) if part is not None else valid
        compared = compared if compared.any() else valid
        pending = read.pending_rows
        beside = part.contains(pending) if part is not None else np.ones(len(pending), dtype=bool)
        seed, scores = self._draw(trial, "acquisition"), []
        for i, gps in enumerate(zip(*models, strict=True)):  # one of each objective's, a sample of the hyperparameters at a time
            noisy = any(np.exp(gp.theta.log_noise) > NOISY for gp in gps)
            incumbent = float(means[i][compared].min())
            reference = reference_point(gps, told[compared]) if len(gps) > 1 else None
            if not beside.all():  # pending elsewhere: known as well as it will be, and nothing to beat here
                gps = tuple(gp.condition(pending[~beside]) for gp in gps)
            context = Context(gps, told[compared], pending[beside], incumbent, seed, noisy, reference)
            scores.append(score_of(self._acquisition, context))
        order = np.argsort(np.where(compared, mean, np.inf), kind="stable")[: int(compared.sum())]
        return combine(self._acquisition, scores, seed), plain[order], part

    # -- what is recommended -----------------------------------------------------------------------------------------

    def recommend(self, history: History) -> Key | None:
        """By the model where it has learned that the results are noisy, else the lowest observed."""
        good = self.candidates(history)
        observed = good[0] if good else None
        if observed is None or len(history.header.objectives) > 1:
            return observed
        keys = [key for key in history.at(observed[1]) if history.is_own(key)]
        if len(keys) < self._enough or not self.space.columns:
            return observed
        read = self.observe(history, keys)
        z = self.targets(read)[:, 0]
        few = select_subset(z)
        rows, z = read.rows[few], z[few]
        (theta,) = self._recipe.plain.thetas(rows, z, read.domain, self._draw(0, "fit"))
        if np.exp(theta.log_noise) <= NOISY:
            return observed
        mean = GaussianProcess(read.domain, rows, z, theta).mean(read.rows_of(good))
        return good[int(np.argmin(mean))]
