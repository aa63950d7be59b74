"""What models of the same results predict of whole language_models that they have not seen.

    rank     Spearman's correlation with the truth, over all, and over the best third of them
    density  log predictive density of the best third, mean, in nats
    pick     where the five that the model likes best stand among all: 0 is the best, 1 the worst

Models   decay     what the GP does (hpo/optimizers/gp/observations.py)
         levelled  what it did before (baselines.py); column: the same without levelling
         last      the last result of every trial, as if it were the whole training; pooled: all results so
         highest   only the highest rung with at least eight results
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, pi
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from experiments.benchmark.tables import taskset_space
from experiments.curves.baselines import level_losses, log_share, with_column
from experiments.curves.data import RUNGS, curves_of, language_models
from hpo.job import Key
from surrogates import Domain, GaussianProcess, fit, standardise

LANGUAGE_MODELS = "language models"
ETA = 3
ENOUGH = 8  # results of a rung
HELD = 200  # configurations of TaskSet that are predicted


@dataclass(frozen=True, eq=False)
class Told:
    """What ASHA left: losses by (row, budget), in the order in which they came, of rows X of a domain."""

    domain: Domain
    X: np.ndarray
    losses: Mapping[Key, float]
    horizon: int

    def subset(self, keys: Sequence[Key]) -> Told:
        """Of these keys only."""
        return Told(self.domain, self.X, {key: self.losses[key] for key in keys}, self.horizon)

    @property
    def keys(self) -> list[Key]:
        """In order."""
        return list(self.losses)

    @property
    def rows(self) -> np.ndarray:
        """(n, d) a row a result."""
        return self.X[[row for row, _ in self.losses]]

    @property
    def y(self) -> np.ndarray:
        """(n,) losses."""
        return np.array(list(self.losses.values()))


def asha_results(y: np.ndarray, rungs: Sequence[int], order: Sequence[int], n: int) -> dict[Key, float]:
    """The first n results of ASHA with one worker, over rows in this order with losses y (rows, rungs)."""
    found: dict[Key, float] = {}
    fresh = iter(order)
    while len(found) < n:
        row, until = next_promotion(found, rungs) or (int(next(fresh)), rungs[0])
        found[row, until] = float(y[row, rungs.index(until)])
    return found


def next_promotion(found: Mapping[Key, float], rungs: Sequence[int]) -> Key | None:
    """What ASHA continues: the best of the top third of the highest rung that has not gone on; None: nobody."""
    for low, high in reversed(list(itertools.pairwise(rungs))):
        there = sorted((key for key in found if key[1] == low), key=lambda key: found[key])
        good = [key for key in there[: len(there) // ETA] if (key[0], high) not in found and np.isfinite(found[key])]
        if good:
            return good[0][0], high
    return None


# --- models ---------------------------------------------------------------------------------------------------------------


class Prediction(NamedTuple):
    """Mean and variance (m,) of standardised last losses, noise included; and what they were standardised by."""

    mean: np.ndarray
    variance: np.ndarray
    shift: float
    scale: float


def pooled_model(told: Told, asked: np.ndarray, seed: int) -> Prediction:
    return gp_prediction(told.domain, told.rows, told.y, told.X[asked], seed)


def last_model(told: Told, asked: np.ndarray, seed: int) -> Prediction:
    return pooled_model(told.subset(sorted({row: (row, until) for row, until in sorted(told.keys)}.values())), asked, seed)


def highest_model(told: Told, asked: np.ndarray, seed: int) -> Prediction:
    budgets = sorted({until for _, until in told.keys}, reverse=True)
    enough = [until for until in budgets if sum(key[1] == until for key in told.keys) >= ENOUGH]
    return pooled_model(told.subset([key for key in told.keys if key[1] == enough[0]]), asked, seed)


def decay_model(told: Told, asked: np.ndarray, seed: int) -> Prediction:
    return budget_model(told, "budget", [until / told.horizon for _, until in told.keys], told.y, asked, seed)


def column_model(told: Told, asked: np.ndarray, seed: int) -> Prediction:
    return budget_model(told, "float", log_shares(told), told.y, asked, seed)


def levelled_model(told: Told, asked: np.ndarray, seed: int) -> Prediction:
    y = level_losses({key: [loss] for key, loss in told.losses.items()}, told.keys)[:, 0]
    return budget_model(told, "float", log_shares(told), y, asked, seed)


def log_shares(told: Told) -> list[float]:
    """Budgets by their logarithms, on [0, 1]."""
    lowest = min(until for _, until in told.keys)
    return [log_share(until, lowest, told.horizon) for _, until in told.keys]


def budget_model(
    told: Told, kind: Literal["float", "budget"], share: Sequence[float], y: np.ndarray, asked: np.ndarray, seed: int
) -> Prediction:
    """With the budget as one column more, which is 1 at the horizon."""
    rows, top = np.column_stack([told.rows, share]), np.column_stack([told.X[asked], np.ones(len(asked))])
    return gp_prediction(with_column(told.domain, kind), rows, y, top, seed)


def gp_prediction(domain: Domain, rows: np.ndarray, y: np.ndarray, asked: np.ndarray, seed: int) -> Prediction:
    """By a GP that is fitted to rows (n, d) and raw losses y (n,)."""
    scaled = standardise(y)
    gp = GaussianProcess(domain, rows, scaled.z, fit(rows, scaled.z, domain, seed))
    return Prediction(*gp.predict(asked, noise=True), scaled.shift, scaled.scale)


Model = Callable[[Told, np.ndarray, int], Prediction]
MODELS: dict[str, Model] = {
    "decay": decay_model, "levelled": levelled_model, "column": column_model, "last": last_model, "pooled": pooled_model,
    "highest": highest_model,
}  # fmt: skip


# --- one measurement ------------------------------------------------------------------------------------------------------


def prediction_scores(prediction: Prediction, truth: np.ndarray) -> dict[str, float | None]:
    """See the top of the file; truth (m,) may be infinite. None where a number is not finite."""
    mean, variance, shift, scale = prediction
    order = np.argsort(truth, kind="stable")
    third, place = order[: len(order) // 3], np.argsort(order) / len(order)
    z = (truth[third] - shift) / scale
    density = -0.5 * (np.log(2 * pi * variance[third]) + (z - mean[third]) ** 2 / variance[third]) - log(scale)
    found = {
        "rank": spearmanr(mean, truth).statistic,
        "rank_third": spearmanr(mean[third], truth[third]).statistic,
        "density": np.mean(density),
        "pick": place[np.argsort(mean, kind="stable")[:5]].mean(),
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def measure_predictions(source: str, seed: int, n: int, name: str) -> dict[str, Any]:
    """The scores of one model of n results over curves of one source; the seed draws who is tried and who is asked for."""
    rng = np.random.default_rng([seed, *source.encode()])
    if source == LANGUAGE_MODELS:
        domain, X, y, rungs = language_models()
    else:
        domain, X, rungs = taskset_space().domain, curves_of(source).U, RUNGS
        y = curves_of(source).valid[:, rungs]
    order = rng.permutation(len(X))
    found = asha_results(y, rungs, list(order), n)
    seen = {row for row, _ in found}
    asked = np.array([row for row in order if row not in seen][:HELD])
    told = Told(domain, X, found, rungs[-1])
    return {"scores": prediction_scores(MODELS[name](told, asked, seed), y[asked, -1])}
