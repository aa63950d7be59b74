"""The models that experiments/subsets.py compares: an exact GP of some of the results, a sparse one of all of them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hpo.optimizers.gp.fits import MOST, select_subset
from surrogates import GaussianProcess, LogEI, Normal, Score, fit, maximize
from surrogates.domain import Array, Domain

EPOCHS, MORE = 60, 5  # of the variational GP: at first, and after a result


def rows_near(domain: Domain, best: Array, n: int, rng: np.random.Generator) -> Array:
    """(n, d) rows near the given ones."""
    return domain.snap(best[rng.integers(0, len(best), n)] + 0.03 * rng.standard_normal((n, domain.d)) * domain.floats)


class SubsetModel(Protocol):
    """What can be asked for means, for a row that it is told the result of, and again."""

    def mean(self, rows: Array) -> Array: ...

    def propose(self, taken: set[bytes]) -> Array: ...

    def tell(self, row: Array, z: float) -> None: ...


def subset(way: str, z: Array, rng: np.random.Generator) -> Any:
    """Indices of the results that a model is made of."""
    if way == "all":
        return np.arange(len(z))
    return {
        "kept": lambda: select_subset(z),
        "best": lambda: np.sort(np.argsort(z, kind="stable")[:MOST]),
        "latest": lambda: np.arange(max(0, len(z) - MOST), len(z)),
        "random": lambda: np.sort(rng.choice(len(z), min(MOST, len(z)), replace=False)),
    }[way]()  # fmt: skip


class Exact:
    """An exact GP of some of the results."""

    def __init__(self, way: str, domain: Domain, X: Array, z: Array, seed: int) -> None:
        use = subset(way, z, np.random.default_rng(seed))
        self.domain, self.rows = domain, X[use]
        self.seed = 100 * seed  # of the next proposal
        self.gp = GaussianProcess(domain, X[use], z[use], fit(X[use], z[use], domain, seed))

    def mean(self, rows: Array) -> Array:
        return self.gp.mean(rows)

    def propose(self, taken: set[bytes]) -> Array:
        mean = self.mean(self.rows)
        score = Score(self.gp, LogEI(), float(mean.min()))
        row = maximize(score, self.domain, self.seed, self.rows[np.argsort(mean)], taken)
        assert row is not None
        return row

    def tell(self, row: Array, z: float) -> None:
        self.rows, self.seed = np.concatenate([self.rows, row[None]]), self.seed + 1
        self.gp = self.gp.extend(row[None], np.append(self.gp.y, z))


class Sparse:
    """gpytorch's variational GP of all results, over one-hot features for choices."""

    def __init__(self, domain: Domain, X: Array, z: Array, seed: int) -> None:
        import gpytorch
        import torch

        torch.manual_seed(seed)
        torch.set_num_threads(1)

        class Variational(gpytorch.models.ApproximateGP):
            def __init__(self, inducing: torch.Tensor) -> None:
                distribution = gpytorch.variational.CholeskyVariationalDistribution(len(inducing))
                super().__init__(gpytorch.variational.VariationalStrategy(self, inducing, distribution))
                kernel = gpytorch.kernels.MaternKernel(2.5, ard_num_dims=inducing.shape[1])
                self.mean_module, self.covar_module = gpytorch.means.ConstantMean(), gpytorch.kernels.ScaleKernel(kernel)

            def forward(self, A: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
                return gpytorch.distributions.MultivariateNormal(self.mean_module(A), self.covar_module(A))

        self.domain, self.X, self.z, self.rng = domain, X, z, np.random.default_rng(seed)
        A = self.features(X)
        self.model = Variational(A[self.rng.choice(len(A), min(500, len(A)), replace=False)]).double()
        self.likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        self.adam = torch.optim.Adam([*self.model.parameters(), *self.likelihood.parameters()], lr=0.02)
        self.train(EPOCHS)

    def features(self, rows: Array) -> Any:
        """(m, k) as a tensor."""
        import torch

        Z, domain = self.domain.features(rows), self.domain
        hot = [np.eye(domain.sizes[c] + 1)[Z[:, c].astype(int)] / np.sqrt(2) for c in np.flatnonzero(domain.categorical)]
        return torch.tensor(np.column_stack([Z[:, ~domain.categorical], *hot]), dtype=torch.float64)

    def train(self, epochs: int) -> None:
        """So many epochs of three batches."""
        import gpytorch
        import torch

        self.model.train()
        A, z = self.features(self.X), torch.tensor(self.z)
        loss = gpytorch.mlls.VariationalELBO(self.likelihood, self.model, len(A))
        for _ in range(epochs):
            for batch in np.array_split(self.rng.permutation(len(A)), 3):
                self.adam.zero_grad()
                (-loss(self.model(A[batch]), z[batch])).backward()
                self.adam.step()
        self.model.eval()

    def posterior(self, rows: Array) -> Normal:
        """Of f."""
        import torch

        with torch.no_grad():
            found = self.model(self.features(rows))
            return Normal(found.mean.numpy(), found.variance.clamp_min(1e-12).sqrt().numpy())

    def mean(self, rows: Array) -> Array:
        return self.posterior(rows).mean

    def propose(self, taken: set[bytes]) -> Array:
        best = self.X[np.argsort(self.z)[:20]]
        candidates = np.concatenate([self.domain.random(self.rng, 2000), rows_near(self.domain, best, 2000, self.rng)])
        candidates = candidates[[key not in taken for key in self.domain.keys(candidates)]]
        score = LogEI()(self.posterior(candidates), float(self.mean(self.X).min()))
        return np.asarray(candidates[np.argmax(score)])

    def tell(self, row: Array, z: float) -> None:
        self.X, self.z = np.concatenate([self.X, row[None]]), np.append(self.z, z)
        self.train(MORE)
