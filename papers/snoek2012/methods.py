"""A point estimate without a prior, which the reading of the paper needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo.optimizers.gp.fits import Recipe
from papers.designs import RandomDesign
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
