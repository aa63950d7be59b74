"""Surrogates for optimisation: arrays in, arrays out. Knows nothing of studies, jobs or configurations.

    domain.py           what is known of a search space: columns, levels, conditions, feasibility; moves
    discrete.py         points of discrete columns: how many, all of them, moves between them
    draws.py            random and quasi-random (Sobol) feasible rows
    rare.py             feasible rows where few are feasible: found once, then varied by a random walk
    transform.py        robust standardisation of the targets, also with failures and diverged runs
    distances.py        scaled distances of rows over mixed and conditional columns, with their derivatives
    kernels.py          Matern-5/2, Matern-3/2 and RBF of such a distance, with derivatives and frequencies; or your own
    linalg.py           Cholesky with reported jitter, factors that grow by rows, one BLAS thread
    hyperparameters.py  the hyperparameters that are fitted, and input warping
    priors.py           log-normal priors of the hyperparameters
    likelihood.py       the log marginal likelihood and its gradient
    fitting.py          the most probable hyperparameters (MAP)
    slice_sampling.py   hyperparameters drawn from their posterior by slice sampling
    gp.py               the exact posterior, growing by rows, with pending points
    posterior.py        covariances between rows, joint draws, gradients of both
    paths.py            functions drawn from the posterior
    parzen.py           Parzen estimators: densities over the rows of a domain, their logarithm and their draws
    forest.py           a random forest, with its mean and variance
    subset_selection.py the best k of many points of several objectives: by non-domination rank, then by hypervolume
    acquisitions/       how much a point is worth: EI, PI, UCB, MES, KG, Thompson, noisy EI, hypervolume, or your own
    maximizer.py        the point with the highest acquisition
    local_search.py     rows with a high score that has no gradient
    unused.py           a feasible row that is not excluded, where there is one
    linting/            what is wrong with an acquisition
    plotting.py         a picture of a posterior and an acquisition
    style.py            how every figure of the house looks

To write an acquisition of your own, begin with README.md beside this file.

One proposal, from rows X (n, d) and raw losses y (n,):

    z = standardise(y).z
    theta = fit(X, z, domain, seed)  # record theta.to_list(): the rest replays from it bit for bit
    gp = GaussianProcess(domain, X, z, theta)
    score = Score(gp.condition(pending), acquisition("logei"), incumbent=gp.mean(X).min())  # not z.min(): noise
    x = maximize(score, domain, seed, best_rows=X[z.argsort()], exclude=set(domain.keys(X)) | set(domain.keys(pending)))
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogates.acquisitions import (
        ACQUISITIONS,
        EHVI,
        EI,
        KG,
        MES,
        NEHVI,
        NEI,
        UCB,
        Acquisition,
        Autograd,
        Belief,
        Context,
        Ensemble,
        Feasibility,
        Known,
        LogEI,
        LogPI,
        ModelAcquisition,
        Normal,
        Numerical,
        PosteriorMean,
        Score,
        ScoreFunction,
        Sum,
        Thompson,
        acquisition,
        combine,
        cost_aware,
        ensemble_of,
        is_logarithmic,
        is_multi_objective,
        pibo,
        score_of,
        with_constraints,
    )
    from surrogates.domain import Domain
    from surrogates.fitting import fit
    from surrogates.gp import GaussianProcess
    from surrogates.hyperparameters import Hyperparameters
    from surrogates.kernels import KERNELS
    from surrogates.likelihood import log_marginal_likelihood
    from surrogates.linting import lint
    from surrogates.maximizer import maximize
    from surrogates.plotting import plot
    from surrogates.priors import LogNormal, default_prior
    from surrogates.slice_sampling import draw
    from surrogates.transform import Standardised, isolation, standardise
    from surrogates.unused import find_unused

# Where each name stands. It is imported when it is asked for: a space needs few, and most of them load much of scipy.
PLACES = {
    "surrogates.acquisitions": (
        "ACQUISITIONS EHVI EI KG MES NEHVI NEI UCB Acquisition Autograd Belief Context Ensemble Feasibility "
        "Known LogEI LogPI ModelAcquisition Normal Numerical PosteriorMean Score ScoreFunction Sum Thompson "
        "acquisition combine cost_aware ensemble_of is_logarithmic is_multi_objective pibo score_of "
        "with_constraints"
    ),
    "surrogates.domain": "Domain",
    "surrogates.fitting": "fit",
    "surrogates.gp": "GaussianProcess",
    "surrogates.hyperparameters": "Hyperparameters",
    "surrogates.kernels": "KERNELS",
    "surrogates.likelihood": "log_marginal_likelihood",
    "surrogates.linting": "lint",
    "surrogates.maximizer": "maximize",
    "surrogates.plotting": "plot",
    "surrogates.priors": "LogNormal default_prior",
    "surrogates.slice_sampling": "draw",
    "surrogates.transform": "Standardised isolation standardise",
    "surrogates.unused": "find_unused",
}

_MODULES = {name: module for module, names in PLACES.items() for name in names.split()}


def _find(name: str) -> Any:
    """A public name, or a module of this package, that nobody has asked for before. AttributeError if there is none."""
    if name in _MODULES:
        found = getattr(import_module(_MODULES[name]), name)
    elif not name.startswith("_") and find_spec(f"surrogates.{name}"):
        found = import_module(f"surrogates.{name}")
    else:
        raise AttributeError(f"module 'surrogates' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """For completion: the public names, whether they were asked for or not."""
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # there every name is known
    __getattr__ = _find

__all__ = [
    "ACQUISITIONS",
    "EHVI",
    "EI",
    "KERNELS",
    "KG",
    "MES",
    "NEHVI",
    "NEI",
    "UCB",
    "Acquisition",
    "Autograd",
    "Belief",
    "Context",
    "Domain",
    "Ensemble",
    "Feasibility",
    "GaussianProcess",
    "Hyperparameters",
    "Known",
    "LogEI",
    "LogNormal",
    "LogPI",
    "ModelAcquisition",
    "Normal",
    "Numerical",
    "PosteriorMean",
    "Score",
    "ScoreFunction",
    "Standardised",
    "Sum",
    "Thompson",
    "acquisition",
    "combine",
    "cost_aware",
    "default_prior",
    "draw",
    "ensemble_of",
    "find_unused",
    "fit",
    "is_logarithmic",
    "is_multi_objective",
    "isolation",
    "lint",
    "log_marginal_likelihood",
    "maximize",
    "pibo",
    "plot",
    "score_of",
    "standardise",
    "with_constraints",
]
