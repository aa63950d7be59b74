"""One acquisition under several models: hyperparameters are integrated over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surrogates.acquisitions.context import ModelAcquisition, ScoreFunction
from surrogates.acquisitions.marginal import Acquisition
from surrogates.acquisitions.normal import log_mean_exp
from surrogates.acquisitions.traits import is_draw
from surrogates.domain import Array


def combine(chosen: Acquisition | ModelAcquisition, scores: Sequence[ScoreFunction], seed: int) -> ScoreFunction:
    """One score of the acquisition's scores, one a sample of the hyperparameters: as a rule their average worth.

    Where a score is a draw (an attribute is_draw = True, as of Thompson), one of them, by the seed: a draw from the mixture
    is a draw from one of its parts, and an average of draws varies too little to be one. ValueError for no scores.
    """
    if len(scores) == 1:
        return scores[0]
    if scores and is_draw(chosen):
        return scores[seed % len(scores)]
    return Ensemble(scores)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The average worth over scores of one acquisition, one a sample of the hyperparameters (Snoek et al. 2012, 3.1).

    log of the mean of exp(score) where scores are logarithms, the mean where they are not. ValueError for none, or
    when some are logarithms and some are not.
    """

    scores: Sequence[ScoreFunction]

    def __post_init__(self) -> None:
        if len(self.scores) == 0 or len({score.log_scale for score in self.scores}) > 1:
            raise ValueError(f"{len(self.scores)} scores came to an ensemble; allowed are one or more of one acquisition")

    @property
    def log_scale(self) -> bool:
        """The scores' log_scale."""
        return self.scores[0].log_scale

    def __call__(self, X: Array) -> Array:
        """(m,)"""
        values = np.stack([score(X) for score in self.scores], axis=-1)
        return log_mean_exp(values)[0] if self.log_scale else values.mean(axis=-1)

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d)."""
        found = [score.gradient(X) for score in self.scores]
        values, slopes = np.stack([v for v, _ in found], axis=-1), np.stack([s for _, s in found], axis=-1)
        if not self.log_scale:
            return values.mean(axis=-1), slopes.mean(axis=-1)
        value, weights = log_mean_exp(values)
        return value, np.einsum("mds,ms->md", slopes, weights)
