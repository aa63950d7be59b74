"""Acquisitions: how much a row is worth to be tried next. Minimisation, standardised targets, higher is better.

    normal.py        normal tails in log space: log h, Mills ratios, log Phi, log of a mean of exponentials
    marginal.py      f(posterior, incumbent) of means and sds, Score of rows, anybody's function with derivatives
    adapt.py         whether a function needs autograd or differences
      ei.py pi.py ucb.py
    traits.py        log_scale, several, is_draw: what an acquisition may say of itself
    context.py       what an acquisition of the whole model gets, and what a score of rows is
    draws.py         f drawn at told and pending rows, and the posterior given each draw
    minima.py        where a model, or functions drawn from it, are least
    expected_maximum.py  the expected maximum of lines
    pareto.py        fronts, reference points, boxes
      nei.py kg.py mes.py thompson.py     one objective
      ehvi.py nehvi.py                    several
      auto.py                             one of them, by the context
    score.py         score_of(acquisition, context): any acquisition as a score of rows
    terms.py         what is added to a score on a log scale: cost, constraints, a prior
    ensemble.py      one acquisition under samples of the hyperparameters: averaged, or one of its draws
    registry.py      all acquisitions by name

A marginal acquisition is one function f(posterior, incumbent) -> score. One of the whole model is one class with
`log_scale` and `score(context) -> ScoreFunction`; listed in registry.py it inherits every test.
"""

from surrogates.acquisitions.auto import Auto
from surrogates.acquisitions.context import Context, ModelAcquisition, ScoreFunction
from surrogates.acquisitions.ehvi import EHVI
from surrogates.acquisitions.ei import EI, LogEI
from surrogates.acquisitions.ensemble import Ensemble, combine
from surrogates.acquisitions.kg import KG
from surrogates.acquisitions.marginal import (
    Acquisition,
    AcquisitionFunction,
    Autograd,
    Belief,
    Normal,
    Numerical,
    Score,
)
from surrogates.acquisitions.mes import MES
from surrogates.acquisitions.nehvi import NEHVI
from surrogates.acquisitions.nei import NEI
from surrogates.acquisitions.pi import LogPI
from surrogates.acquisitions.registry import ACQUISITIONS, acquisition
from surrogates.acquisitions.score import ensemble_of, score_of
from surrogates.acquisitions.terms import Feasibility, Known, PosteriorMean, Sum, cost_aware, pibo, with_constraints
from surrogates.acquisitions.thompson import Thompson
from surrogates.acquisitions.traits import is_logarithmic, is_multi_objective
from surrogates.acquisitions.ucb import UCB

__all__ = [
    "ACQUISITIONS",
    "EHVI",
    "EI",
    "KG",
    "MES",
    "NEHVI",
    "NEI",
    "UCB",
    "Acquisition",
    "AcquisitionFunction",
    "Auto",
    "Autograd",
    "Belief",
    "Context",
    "Ensemble",
    "Feasibility",
    "Known",
    "LogEI",
    "LogPI",
    "ModelAcquisition",
    "Normal",
    "Numerical",
    "PosteriorMean",
    "Score",
    "ScoreFunction",
    "Sum",
    "Thompson",
    "acquisition",
    "combine",
    "cost_aware",
    "ensemble_of",
    "is_logarithmic",
    "is_multi_objective",
    "pibo",
    "score_of",
    "with_constraints",
]
