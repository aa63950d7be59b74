"""Analytic gradients against torch's autograd, with and without warping.

Floors: by hyperparameters a thousandth of the gradient's largest component; by rows the largest component of that row
(and 1e-290: below, EI goes through numbers that a double holds with fewer and fewer digits).
Warpings are drawn with log a, log b ~ N(0, 0.4). A model that is bent much further has places where w is as good as flat:
there its slope, which is computed from w, is off by some 1e-12, and in so far as it is less than that, altogether.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch

from experiments.exactness.measure import DOMAINS, Extent, Problem, Worst, track_items
from experiments.exactness.model import SCORES, TorchModel, tensor
from surrogates import KERNELS, GaussianProcess, Score, acquisition, log_marginal_likelihood
from surrogates.domain import Array


def gradients(size: Extent) -> dict[str, Any]:
    """Of the log marginal likelihood by hyperparameters; of mean, variance and four acquisitions by the rows asked about."""
    found = Worst()
    grid = product(DOMAINS, KERNELS, [n for n in size.rows if 1 < n <= 50], size.columns, size.noises,
                   range(size.seeds), (False, True))
    problems = list(grid)
    for make, kernel, n, d, noise, seed, warped in track_items(problems, "gradients"):
        p = Problem.of(make, kernel, n, d, noise, seed, warped)
        model = TorchModel(p)
        gradients_by_hyperparameters(found, p, model)
        gradients_by_rows(found, p, model)
    return {"errors": found, "problems": len(problems)}


def gradients_by_hyperparameters(found: Worst, p: Problem, model: TorchModel) -> None:
    """In the order of Hyperparameters.to_list."""
    (theirs,) = torch.autograd.grad(model.likelihood(), model.t)
    floor = 1e-3 * float(theirs.abs().max())
    found.see("likelihood by hyperparameters", log_marginal_likelihood(p.X, p.y, p.domain, p.theta)[1], theirs, floor, p.name)


def gradients_by_rows(found: Worst, p: Problem, model: TorchModel) -> None:
    """The incumbent is the least posterior mean at told rows, as it is in a study."""
    gp, F = GaussianProcess(p.domain, p.X, p.y, p.theta), tensor(p.domain.features(p.asked)).requires_grad_()
    mean, variance = model.posterior(F)
    incumbent, active = float(gp.predict(p.X)[0].min()), p.domain.active(p.asked)
    moving = active & (np.array(p.domain.kinds) != "budget")

    def see(name: str, ours: Array, value: torch.Tensor) -> None:
        (slope,) = torch.autograd.grad(value.sum(), F, retain_graph=True)
        theirs = np.where(moving, slope.numpy(), 0.0)  # an inactive column has a feature, but cannot be moved; nor is a budget
        largest = np.maximum(np.abs(theirs).max(axis=1, keepdims=True), 1e-290)
        found.see(name + " by rows", ours, theirs, largest, p.name)

    _, _, by_mean, by_variance = gp.predict_gradient(p.asked)
    see("mean", by_mean, mean)
    see("variance", by_variance, variance)
    for name, score in SCORES.items():
        see(name, Score(gp, acquisition(name), incumbent).gradient(p.asked)[1], score(mean, variance.sqrt(), incumbent))  # type: ignore[arg-type]
