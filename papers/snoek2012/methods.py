"""The searches that are compared, what they search, and what is measured of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from experiments.benchmark import functions
from experiments.benchmark.tables import LDA, SVM
from hpo import GP, minimize
from hpo.optimizers.gp.fits import Recipe
from papers.designs import RandomDesign, running_best
from papers.snoek2012.rules import EVALUATIONS, SAMPLES
from surrogates import Domain, Hyperparameters, fit
from surrogates.domain import Array
from surrogates.priors import LogNormal, default_prior


class Flat(LogNormal):
    """A prior that says nothing; where a search for the most probable hyperparameters starts is left as it is."""

    def log_density(self, t: Array) -> tuple[float, Array]:
        return 0.0, np.zeros_like(t)


class LikelihoodRecipe(Recipe):
    """The hyperparameters of the greatest marginal likelihood, without a prior."""

    def thetas(
        self, rows: np.ndarray, z: np.ndarray, domain: Domain, seed: int, start: Hyperparameters | None = None
    ) -> list[Hyperparameters]:
        usual = default_prior(domain.d)
        return [fit(rows, z, domain, seed, start, self.kernel, prior=Flat(usual.mu, usual.sigma))]


@dataclass(eq=False)
class MaximumLikelihood(RandomDesign):
    """As a RandomDesign, with the point estimate that most implementations had in 2012."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._recipe = LikelihoodRecipe(self.kernel)


SECONDS = replace(LDA, objective="time_s")
SPACES = {"lda": LDA.space, "svm": SVM.space, "branin": functions.branin_space}
LOSSES = {"lda": LDA.true, "svm": SVM.true, "branin": functions.branin}
OPTIONS: dict[str, Any] = {"acquisition": "logei"}
METHODS: dict[str, tuple[type[GP], dict[str, Any]]] = {  # the class and its options; the paper's names, then ours
    "GP EI MCMC": (RandomDesign, {**OPTIONS, "samples": SAMPLES}),
    "GP EI Opt": (RandomDesign, OPTIONS),
    "Matern 3/2": (RandomDesign, {**OPTIONS, "samples": SAMPLES, "kernel": "matern32"}),
    "squared exponential": (RandomDesign, {**OPTIONS, "samples": SAMPLES, "kernel": "rbf"}),
    "GP EI per second": (RandomDesign, {**OPTIONS, "samples": SAMPLES, "cost": "duration"}),
    "maximum likelihood": (MaximumLikelihood, OPTIONS),
    "the default here": (GP, {}),
    "ten random first points": (RandomDesign, {**OPTIONS, "samples": SAMPLES, "initial": 10}),
}
# What the lines of PLANS made us ask: some was tried on the same seeds, and all is judged on seeds of its own
EXPLAINED = {"lda": ("maximum likelihood", "the default here"), "branin": ("maximum likelihood",),
             "svm": ("maximum likelihood", "the default here")}  # fmt: skip
ASKED = {"lda": ("GP EI MCMC", "GP EI Opt", "maximum likelihood", "the default here", "ten random first points",
                 "GP EI per second"),
         "svm": ("GP EI MCMC", "GP EI Opt", "maximum likelihood", "the default here", "ten random first points"),
         "branin": ("GP EI MCMC", "GP EI Opt", "maximum likelihood")}  # fmt: skip


def objective_of(problem: str, config: dict[str, Any]) -> dict[str, float]:
    """The loss, and how long the training took where the table says it."""
    found = {"loss": LOSSES[problem](config)}
    return {**found, "duration": SECONDS.true(config)} if problem == "lda" else found


def measure(problem: str, method: str, seed: int) -> dict[str, Any]:
    """The best loss after every evaluation, and the seconds of training spent until then."""
    count, space = EVALUATIONS[problem], SPACES[problem]()
    cls, options = METHODS[method]
    history = minimize(partial(objective_of, problem), space, cls(space, seed=seed, **options), count, quiet=True).history
    results = [history.results[key].metrics for key in history.finished_keys]
    spent = np.cumsum([metrics.get("duration", 0.0) for metrics in results]).round(1).tolist()
    return {"best": running_best([metrics["loss"] for metrics in results]), **({"spent": spent} if problem == "lda" else {})}


def measure_reach(method: str, seed: int) -> dict[str, Any]:
    """How far Branin's evaluations 3 to 10 are from what was evaluated before, in the unit cube; and how many are on its edge."""
    space = SPACES["branin"]()
    cls, options = METHODS[method]
    history = minimize(partial(objective_of, "branin"), space, cls(space, seed=seed, **options), 10, quiet=True).history
    rows = np.array([space.encode(history.jobs[key].config) for key in history.finished_keys])
    near = [float(np.linalg.norm(rows[:n] - rows[n], axis=1).min()) for n in range(2, 10)]
    return {"distance": round(float(np.mean(near)), 6), "edge": int(((rows[2:] <= 0) | (rows[2:] >= 1)).any(axis=1).sum())}
