"""What a study's Gaussian process believes of a configuration before it is paid for.

It is asked at the budget at which proposals are judged, with all results read. So whoever proposes beside the optimizer, a
person or a program, is judged as its own proposals are:

    mean, low, high   of what would be measured, noise included, in 95 of 100 cases between the last two. Where the model
                      squeezes bad results (surrogates/transform.py), the mean is the value at the mean of the squeezed ones,
                      and what lies beyond the worst result is infinite: there may be anything
    better            P(what is expected of it is better than what is expected of the best); with several objectives, that none
                      of the front dominates it. Times `feasible` where results have bounds
    feasible          P(its metrics keep the bounds); None without bounds
    place, among      by the acquisition, 1 is the best, of itself, the sampler's next proposal and 1,000 random configurations
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hpo.bounds import Bounds
from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Optimizer, Scheduler
from hpo.optimizers.finals import Finals
from hpo.optimizers.gp.fits import Recipe
from hpo.optimizers.gp.observations import Observations
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.gp.term_models import TermModels
from hpo.optimizers.llamatune import LlamaTune
from hpo.rng import stream
from hpo.space import Config
from hpo.trial import best_front, best_key
from hpo.values import identity
from surrogates import Domain, GaussianProcess, ScoreFunction
from surrogates.inversion import invert
from surrogates.posterior import covariances_with

WIDTH = 1.959963984540054  # standard deviations on either side that hold 95 of 100 draws of a normal
OTHERS = 1000  # random configurations beside which it is ranked
DRAWS = 4096  # of a front, and of a configuration beside it


class NoModelError(ValueError):
    """There is no model to ask; the message says why."""


class Interval(NamedTuple):
    """An objective as it would be reported."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Belief:
    """See the module. `until` is the budget; `tried` are results of the same configuration."""

    until: int
    values: Mapping[str, Interval]
    better: float | None  # None while nothing has succeeded
    feasible: float | None
    place: int | None  # None while the sampler does not ask its model yet
    among: int | None
    tried: Sequence[Key]


def score_config(optimizer: Optimizer, history: History, config: Mapping[str, Any]) -> Belief:
    """The belief of a study's optimizer in a configuration of its space. NoModelError where it has no model, or no results."""
    tried = [key for key in history.finished_keys if identity(history.jobs[key].config) == identity(config)]
    sampler, history, config = _find_model(optimizer, history, config)
    read = sampler.observe(history)
    if not read.keys or not sampler.space.columns:
        lack = "no results yet" if not read.keys else "nothing to search"
        raise NoModelError(f"the model of {type(sampler).__name__} has {lack}, so it believes nothing")
    model = replace(sampler, acquisition="auto", samples=0)  # one model for each objective, whatever is proposed by
    gps = [model.posterior(history, place) for place in range(len(history.header.objectives))]
    row = sampler.space.encode(config)
    feasible = _feasible(sampler, read, row)
    better = _better(gps, read, row)
    place, among = _rank(sampler, history, row) or (None, None)
    return Belief(read.horizon, _intervals(sampler, gps, read, row), _times(better, feasible), feasible, place, among, tried)


def _find_model(optimizer: Optimizer, history: History, config: Mapping[str, Any]) -> tuple[GP, History, Config]:
    """The GP that chooses configurations, with the history and the configuration as it reads them."""
    found, config = optimizer, dict(config)
    while not isinstance(found, GP):
        if isinstance(found, Finals):
            found = found.optimizer
        elif isinstance(found, Scheduler):
            found = found.sampler
        elif isinstance(found, LlamaTune):
            point = found.projection.find_point(config)
            if point is None:
                raise NoModelError("no point of LlamaTune's low space is this configuration, so it believes nothing of it")
            history, config = found.view(history), point
            found = found.inner
        else:
            name = type(found).__name__
            raise NoModelError(f"{name} has no model of what a configuration will give; a GP has one, alone or under a scheduler")
    return found, history, config


def _times(better: float | None, feasible: float | None) -> float | None:
    return better if better is None or feasible is None else better * feasible


def _intervals(sampler: GP, gps: Sequence[GaussianProcess], read: Observations, row: np.ndarray) -> dict[str, Interval]:
    """Of every objective, in its own direction."""
    found = {}
    for place, (name, way) in enumerate(read.history.header.objectives.items()):
        (mean,), (variance,) = gps[place].predict(read.lift(row[None]), noise=True)
        z = mean + WIDTH * np.sqrt(variance) * np.array([0.0, -1.0, 1.0])
        middle, low, high = invert(read.losses[:, place], z, sampler.power).tolist()
        found[name] = Interval(middle, low, high) if way == "min" else Interval(-middle, -high, -low)
    return found


def _better(gps: Sequence[GaussianProcess], read: Observations, row: np.ndarray) -> float | None:
    """P(better than the best), at the horizon; None without a best."""
    history, best = read.history, best_key(read.history)
    if best is None:
        return None
    front = [best] if len(gps) == 1 else list(best_front(history))
    rows = read.lift(np.concatenate([row[None], read.table(history, front)]))
    means, covariances = [gp.mean(rows) for gp in gps], [covariances_with(gp, rows)[1] for gp in gps]
    if len(gps) == 1:
        (mean,), (c,) = means, covariances
        variance = c[0, 0] + c[1, 1] - 2.0 * c[0, 1]
        return _normal((mean[1] - mean[0]) / np.sqrt(variance)) if variance > 0.0 else 0.0
    rng = stream(0, 0, "belief")
    draws = np.stack([_draw(mean, c, rng) for mean, c in zip(means, covariances, strict=True)])  # (objectives, DRAWS, 1 + front)
    covers = np.all(draws[:, :, 1:] <= draws[:, :, :1], axis=0)  # (DRAWS, front)
    return float(1.0 - np.any(covers, axis=1).mean())


def _draw(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(DRAWS, k) of a normal, by the eigenvectors: rows that are the same have a singular covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(mean + rng.standard_normal((DRAWS, len(mean))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T)


def _feasible(sampler: GP, read: Observations, row: np.ndarray) -> float | None:
    """P(all bounds on metrics are kept); None without any."""
    if not sampler.constraints:
        return None
    terms = TermModels(sampler.space, None, Bounds(sampler.constraints), None, sampler.prior_weight)
    seed = int(stream(sampler.seed, read.history.next_trial, "belief").integers(2**31))
    excess = terms.fit_terms(read, Recipe(sampler.kernel, sampler.warp), seed).excess
    moments = [gp.predict(read.lift(row[None])) for gp in excess]
    return float(np.prod([_normal(-mean[0] / np.sqrt(variance[0])) for mean, variance in moments]))


def _rank(sampler: GP, history: History, row: np.ndarray) -> tuple[int, int] | None:
    """The place of a row by what the next proposal maximises; None where that is not the model's."""
    scores: list[ScoreFunction] = []
    watched = replace(sampler, explore_every=0)  # else one proposal in so many is for a part of the space alone

    def search(score: ScoreFunction, domain: Domain, *rest: Any) -> np.ndarray | None:
        scores.append(score)
        return sampler.search(score, domain, *rest)

    vars(watched).update(search=search)
    next_draft = watched.suggest(history, history.next_trial)
    if not scores or next_draft is None:
        return None
    random = sampler.space.domain.random(stream(sampler.seed, history.next_trial, "belief"), OTHERS)
    rows = np.concatenate([row[None], sampler.space.encode(next_draft.config)[None], random])
    values = np.asarray(scores[0](rows))
    return 1 + int((values > values[0]).sum()), len(rows)


def _normal(z: float) -> float:
    """The probability below z of a standard normal."""
    from scipy.special import ndtr

    return float(ndtr(z))
