"""The posterior and the log marginal likelihood against gpytorch's.

Floors: 0 for variances, 1 for likelihoods, 0.001 for means (targets have a standard deviation of about 1). For means of
`white` targets 0.1: the model does not believe them, so that its weights C^-1 (y - mu) are of the order |y| / v, ten
thousand where v = 1e-4, and the mean is what their cancellation leaves, in gpytorch's arithmetic as in ours: digits.py.
"""

from __future__ import annotations

from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import torch

from experiments.exactness.digits import posterior_in_digits
from experiments.exactness.formulas import formula_of
from experiments.exactness.measure import DOMAINS, Extent, Problem, Worst, track_items
from surrogates import KERNELS, GaussianProcess, log_marginal_likelihood
from surrogates.columns import ARC, OFF
from surrogates.domain import Array

Answers = tuple[Array, Array, float]  # mean and variance of f at the rows asked about, log marginal likelihood


def posterior(size: Extent) -> dict[str, Any]:
    """Against gpytorch; and both against 40 digits where those are quickly had."""
    found = Worst()
    grid = product(DOMAINS, KERNELS, size.rows, size.columns, size.noises, range(size.seeds), (False, True))
    problems = list(grid)
    for make, kernel, n, d, noise, seed, white in track_items(problems, "posterior"):
        p = Problem.of(make, kernel, n, d, noise, seed, white=white)
        own, other = our_answers(p), gpytorch_answers(p)
        compare_answers(found, p, "white targets: " * white, own, other)
        if d == 3 and n <= 50 and noise == min(size.noises) and seed == 0 and not white:
            exact = posterior_in_digits(p)
            compare_answers(found, p, "ours against 40 digits: ", own, exact)
            compare_answers(found, p, "gpytorch against 40 digits: ", other, exact)
    return {"errors": found, "problems": len(problems)}


def compare_answers(found: Worst, p: Problem, what: str, ours: Answers, theirs: Answers) -> None:
    """Answers to one problem."""
    floors = (0.1 if "white" in what else 1e-3, 0.0, 1.0)
    for name, a, b, floor in zip(("mean", "variance", "likelihood"), ours, theirs, floors, strict=True):
        found.see(what + name, a, b, floor, p.name)


def our_answers(p: Problem) -> Answers:
    """Ours, which must not have taken any jitter."""
    gp = GaussianProcess(p.domain, p.X, p.y, p.theta)
    assert gp.jitter == 0.0, p.name
    mean, variance = gp.predict(p.asked)
    return mean, variance, log_marginal_likelihood(p.X, p.y, p.domain, p.theta)[0]


def gpytorch_answers(p: Problem) -> Answers:
    """Theirs, by Cholesky factors."""
    from gpytorch import settings

    (A, owner), (B, _) = one_hot(p, p.X), one_hot(p, p.asked)
    owner = owner[: len(owner) - p.domain.has_budget]
    model, likelihood = exact_gp(p, torch.from_numpy(A), torch.from_numpy(p.y), owner)
    with torch.no_grad(), settings.fast_computations(False, False, False), settings.max_cholesky_size(10_000), \
            settings.fast_pred_var(False):
        evidence = likelihood(model(*model.train_inputs)).log_prob(model.train_targets).item()
        model.eval(), likelihood.eval()
        predicted = model(torch.from_numpy(B))
        return predicted.mean.numpy(), predicted.variance.numpy(), evidence


def exact_gp(p: Problem, x: torch.Tensor, t: torch.Tensor, owner: np.ndarray) -> tuple[Any, Any]:
    """gpytorch's model and likelihood with the hyperparameters of p."""
    import gpytorch

    nu = formula_of(p.theta.kernel).smoothness
    many = len(owner)  # without the budget
    kernel = gpytorch.kernels.MaternKernel(nu, ard_num_dims=many) if nu else gpytorch.kernels.RBFKernel(ard_num_dims=many)
    inner = kernel.double()

    class Curves(gpytorch.kernels.Kernel):
        """base (1 + r D) + q D, where the last column is a budget: the sums and products of surrogates/learning_curves.py."""

        def forward(self, x1: torch.Tensor, x2: torch.Tensor, diag: bool = False, **more: Any) -> torch.Tensor:
            k = inner.forward(x1[..., :-1], x2[..., :-1], diag=diag, **more)
            t, u = (x1[..., -1], x2[..., -1]) if diag else (x1[..., -1:], x2[..., None, :, -1])
            (r, q, a), b = np.exp(p.theta.log_decay), np.exp(p.theta.log_lengthscales[-1])
            D = (b / (b + t + u)) ** a - (b / (b + t + 1)) ** a - (b / (b + 1 + u)) ** a + (b / (b + 2)) ** a
            return k * (1 + r * D) + q * D

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, likelihood: Any) -> None:
            super().__init__(x, t, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(Curves() if p.domain.has_budget else inner)

        def forward(self, rows: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(rows), self.covar_module(rows))

    floor = gpytorch.constraints.GreaterThan(1e-8)
    likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=floor).double()
    model = Exact(likelihood).double()
    inner.initialize(lengthscale=torch.tensor(np.exp(p.theta.log_l)[owner]))  # shared by a one-hot vector
    model.initialize(**{
        "covar_module.outputscale": torch.tensor(np.exp(p.theta.log_outputscale)),
        "likelihood.noise": torch.tensor([np.exp(p.theta.log_noise)]),
        "mean_module.constant": torch.tensor(p.theta.mean, dtype=torch.float64),
    })
    return model, likelihood


def one_hot(p: Problem, X: Array) -> tuple[Array, np.ndarray]:
    """Rows (m, k) in which a category is a one-hot vector over sqrt 2, and the column (k,) that each belongs to.

    Two such vectors are 1 apart, which makes a Euclidean kernel a Hamming one. Inactive is a category of its own; an
    inactive number is the centre of a circle of radius 1 / ARC, and an active one lies on its arc.
    """
    F, sizes, parts = p.domain.features(X), p.domain.sizes, []
    for c in range(p.domain.d):
        if p.domain.categorical[c]:
            parts.append(np.eye(sizes[c] + 1)[F[:, c].astype(int)] / sqrt(2))
        elif p.domain.parents[c]:
            a = ARC * F[:, c]
            parts.append((F[:, c, None] != OFF) * np.column_stack([np.cos(a), np.sin(a)]) / ARC)
        else:
            parts.append(F[:, c : c + 1])
    return np.concatenate(parts, axis=1), np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
