"""The one call that turns any acquisition into a score of rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from surrogates.acquisitions.context import Context, ModelAcquisition, ScoreFunction
from surrogates.acquisitions.ensemble import combine
from surrogates.acquisitions.marginal import Acquisition, Score
from surrogates.linalg import one_thread


@one_thread
def score_of(acquisition: Acquisition | ModelAcquisition, context: Context) -> ScoreFunction:
    """What the maximiser climbs in this context.

    Proposals of a batch are made one after the other, each with those before it among context.pending: nei and nehvi
    integrate over their outcomes, thompson does not need them, all others hallucinate them at their posterior mean,
    which also counts as a value to beat (the kriging believer, Ginsbourger et al. 2010): else a pending row that is
    expected to be the best stays the most promising one. ValueError when several objectives come to an acquisition of one.
    """
    if isinstance(acquisition, ModelAcquisition):
        return acquisition.score(context)
    incumbent = min(context.incumbent, context.gp.mean(context.pending_rows).min(initial=np.inf))
    return Score(context.hallucinated_gp, acquisition, float(incumbent))


def ensemble_of(acquisition: Acquisition | ModelAcquisition, contexts: Iterable[Context]) -> ScoreFunction:
    """The acquisition averaged over contexts that differ in their hyperparameters; a draw is one of them (`combine`).

    The seed of the first context decides which one. ValueError for no contexts.
    """
    every = list(contexts)
    return combine(acquisition, [score_of(acquisition, one) for one in every], every[0].seed if every else 0)
