"""The model and the marginal acquisitions once more, written plainly in torch from their definitions.

Made to be differentiated by autograd. Where a position is within EDGE of 0 or 1 the warping is evaluated at EDGE or
1 - EDGE, and so is its slope: the slope that leads away from the bound.
"""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import torch
from torch import Tensor

from experiments.exactness.formulas import formula_of
from experiments.exactness.measure import Problem
from surrogates.columns import ARC, OFF
from surrogates.domain import Array
from surrogates.hyperparameters import EDGE


def tensor(values: Array) -> Tensor:
    """float64."""
    return torch.tensor(np.asarray(values), dtype=torch.float64)


class TorchModel:
    """s k, the evidence and the posterior as functions of t (p,), in the order of Hyperparameters.to_list."""

    def __init__(self, p: Problem) -> None:
        self.kernel, self.d, self.categorical = formula_of(p.theta.kernel), p.domain.d, torch.tensor(p.domain.categorical)
        self.optional = torch.tensor([bool(parents) for parents in p.domain.parents], dtype=torch.bool)
        self.warped, self.budget = bool(p.theta.log_warp), p.domain.has_budget
        self.t = tensor(np.array(p.theta.to_list())).requires_grad_()
        self.F, self.y = tensor(p.domain.features(p.X)), tensor(p.y)
        self.l, (self.s, self.v), self.mu = self.t[: self.d].exp(), self.t[self.d : self.d + 2].exp(), self.t[self.d + 2]

    def warp(self, F: Tensor) -> Tensor:
        """1 - (1 - x^a)^b in numeric columns, if t has a and b."""
        if not self.warped:
            return F
        a, b = self.t[self.d + 3 : 3 * self.d + 3].exp().reshape(2, -1)
        x = F + (F.clamp(EDGE, 1.0 - EDGE) - F).detach()
        return torch.where(self.categorical | (F == OFF), F, 1.0 - (1.0 - x**a) ** b)

    def covariance(self, A: Tensor, B: Tensor) -> Tensor:
        """(m, n) between features: s k, and what budgets add (surrogates/learning_curves.py)."""
        if not self.budget:
            return self.s * self.unit(A, B)
        k, ((r, q, a), b) = self.unit(A, B), (self.t[-3:].exp(), self.l[-1])
        t, u = A[:, -1:], B[:, -1]
        D = sum(sign * (b / (b + both)) ** a for sign, both in ((1, t + u), (-1, t + 1), (-1, u + 1), (1, torch.tensor(2.0))))
        return self.s * (k * (1 + r * D) + q * D)

    def unit(self, A: Tensor, B: Tensor) -> Tensor:
        """(m, n) k. The root of r2 = 0 is kept out of the graph: its slope is infinite, the kernel's is not."""
        gaps, on, both = self.warp(A)[:, None] - self.warp(B), (A != OFF)[:, None], B != OFF
        arcs = torch.where(on & both, 2.0 - 2.0 * torch.cos(ARC * gaps), (on | both).to(torch.float64)) / ARC**2
        squares = torch.where(self.categorical, (gaps != 0).to(torch.float64), torch.where(self.optional, arcs, gaps**2))
        r2 = (squares / self.l**2)[..., : self.d - self.budget].sum(-1)  # a budget is no part of a distance
        r = torch.where(r2 > 0, torch.where(r2 > 0, r2, 1.0).sqrt(), 0.0)
        return torch.as_tensor(self.kernel.value(r2, lambda c: sqrt(c) * r, torch.exp))

    @property
    def noisy_covariance(self) -> Tensor:
        """C (n, n)."""
        return self.covariance(self.F, self.F) + self.v * torch.eye(len(self.y), dtype=torch.float64)

    def likelihood(self) -> Tensor:
        """The log marginal likelihood."""
        return torch.distributions.MultivariateNormal(self.mu.expand(len(self.y)), self.noisy_covariance).log_prob(self.y)

    def posterior(self, F: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (m,) of f at features (m, d)."""
        L, K = torch.linalg.cholesky(self.noisy_covariance), self.covariance(F, self.F)
        V = torch.linalg.solve_triangular(L, K.T, upper=False)
        alpha = torch.cholesky_solve((self.y - self.mu)[:, None], L)[:, 0]
        prior = torch.stack([self.covariance(row[None], row[None])[0, 0] for row in F])
        return self.mu + K @ alpha, prior - (V**2).sum(0)


# --- acquisitions: mean, sd, incumbent -> score -----------------------------------------------------------------------


def log_ei(mean: Tensor, sd: Tensor, incumbent: float) -> Tensor:
    """As it stands above z = -1; below through the scaled complementary error function."""
    z = (incumbent - mean) / sd
    near, far = z.clamp(min=-1.0), z.clamp(max=-1.0)
    h = torch.exp(-(near**2) / 2) / sqrt(2 * pi) + near * torch.special.ndtr(near)
    tail = torch.log1p(far * sqrt(pi / 2) * torch.special.erfcx(-far / sqrt(2))) - far**2 / 2 - log(2 * pi) / 2
    return sd.log() + torch.where(z > -1.0, h.log(), tail)


def ei(mean: Tensor, sd: Tensor, incumbent: float) -> Tensor:
    """exp(log EI)."""
    return log_ei(mean, sd, incumbent).exp()


def log_pi(mean: Tensor, sd: Tensor, incumbent: float) -> Tensor:
    """With the margin that is the default."""
    return torch.special.log_ndtr((incumbent - 0.01 - mean) / sd)


def ucb(mean: Tensor, sd: Tensor, incumbent: float) -> Tensor:
    """With the beta that is the default."""
    return 2.0 * sd - mean


SCORES = {"logei": log_ei, "ei": ei, "pi": log_pi, "ucb": ucb}
