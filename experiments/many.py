"""Thousands of results: which of them should an exact GP be made of, or should it be a sparse one?

    python -m experiments.many                 # measures what is missing (half an hour on one core), then prints the table
    python -m experiments.many --table         # only prints it, from experiments/results/many.jsonl

A search leaves its results crowded around good places: two thirds of the N results are random, one third lies around the
best of them, ever closer. Every way makes a model from them and proposes one point by log EI; what is shown is

    seconds    fit, posterior and proposal, one thread
    near, all  root mean squared error of the mean at 500 fresh points around the best, at 500 random points; in standard
               deviations of all targets
    proposal   true value of the proposed point, less the best of the N: negative is an improvement

Ways: all N results; 1000 of them: `kept` (the best half, and as many evenly spaced ones of the others: what the GP sampler
does, hpo/optimizers/model.py), the best, the latest, random ones; and gpytorch's variational GP with 500 inducing points
(Hensman et al. 2015), whose proposal is the best of 4000 candidates.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.tasks import TASKS, Task
from hpo.optimizers.model import MOST, kept
from hpo.space import Space
from surrogates import GaussianProcess, LogEI, Normal, Score, fit, maximize, standardise
from surrogates.domain import Array, Domain

RESULTS = Path(__file__).parent / "results" / "many.jsonl"
ON, SIZES, SEEDS = ("hartmann6", "levy8", "mixed8"), (3000,), 3
FRESH = 500
Predict = Callable[[Array], Array]


def results(task: Task, n: int, seed: int) -> tuple[Space, Array, Array]:
    """Rows (n, d) and true values (n,) as a search leaves them."""
    space, rng = task.space(), np.random.default_rng(seed)
    X = space.domain.random(rng, 2 * n // 3)
    while len(X) < n:
        y = values(task, space, X)
        X = np.concatenate([X, around(space.domain, X[np.argsort(y)[:10]], n // 15, rng)])
    X = X[:n]
    return space, X, values(task, space, X)


def around(domain: Domain, best: Array, n: int, rng: np.random.Generator) -> Array:
    """(n, d) rows near the given ones."""
    return domain.snap(best[rng.integers(0, len(best), n)] + 0.03 * rng.standard_normal((n, domain.d)) * domain.floats)


def values(task: Task, space: Space, X: Array) -> Array:
    """(m,) true values."""
    return np.array([task.true(space.decode(row)) for row in X])


def chosen(way: str, z: Array, rng: np.random.Generator) -> Any:
    """Indices of the results that a model is made of."""
    if way == "all":
        return np.arange(len(z))
    return {
        "kept": lambda: kept(z),
        "best": lambda: np.sort(np.argsort(z, kind="stable")[:MOST]),
        "latest": lambda: np.arange(len(z) - MOST, len(z)),
        "random": lambda: np.sort(rng.choice(len(z), MOST, replace=False)),
    }[way]()  # fmt: skip


def exact(way: str, domain: Domain, X: Array, z: Array, seed: int) -> tuple[Predict, Array]:
    """The posterior mean of an exact GP of some of the results, and what it proposes."""
    use = chosen(way, z, np.random.default_rng(seed))
    X, z = X[use], z[use]
    gp = GaussianProcess(domain, X, z, fit(X, z, domain, seed))
    mean = gp.predict(X)[0]
    row = maximize(Score(gp, LogEI(), float(mean.min())), domain, seed, X[np.argsort(mean)], set(domain.keys(X)))
    assert row is not None
    return lambda rows: gp.predict(rows)[0], row


def sparse(domain: Domain, X: Array, z: Array, seed: int) -> tuple[Predict, Array]:
    """The same of gpytorch's variational GP, over one-hot features for choices."""
    import gpytorch
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)

    def features(rows: Array) -> torch.Tensor:
        Z = domain.features(rows)
        hot = [np.eye(domain.sizes[c] + 1)[Z[:, c].astype(int)] / np.sqrt(2) for c in np.flatnonzero(domain.categorical)]
        return torch.tensor(np.column_stack([Z[:, ~domain.categorical], *hot]), dtype=torch.float64)

    class Model(gpytorch.models.ApproximateGP):
        def __init__(self, inducing: torch.Tensor) -> None:
            distribution = gpytorch.variational.CholeskyVariationalDistribution(len(inducing))
            super().__init__(gpytorch.variational.VariationalStrategy(self, inducing, distribution))
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(2.5, ard_num_dims=inducing.shape[1]))

        def forward(self, A: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(A), self.covar_module(A))

    A, y, rng = features(X), torch.tensor(z), np.random.default_rng(seed)
    model = Model(A[rng.choice(len(A), 500, replace=False)]).double()
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    loss = gpytorch.mlls.VariationalELBO(likelihood, model, len(A))
    adam = torch.optim.Adam([*model.parameters(), *likelihood.parameters()], lr=0.02)
    for _ in range(60):  # epochs of three batches
        for batch in np.array_split(rng.permutation(len(A)), 3):
            adam.zero_grad()
            (-loss(model(A[batch]), y[batch])).backward()
            adam.step()
    model.eval()

    def posterior(rows: Array) -> Normal:
        with torch.no_grad():
            found = model(features(rows))
            return Normal(found.mean.numpy(), found.variance.clamp_min(1e-12).sqrt().numpy())

    candidates = np.concatenate([domain.random(rng, 2000), around(domain, X[np.argsort(z)[:20]], 2000, rng)])
    score = LogEI()(posterior(candidates), float(posterior(X).mean.min()))
    return lambda rows: posterior(rows).mean, candidates[np.argmax(score)]


WAYS = ("all", "kept", "best", "latest", "random", "variational")


def measure(name: str, n: int, way: str, seed: int) -> dict[str, Any]:
    """One model."""
    task = TASKS[name]
    space, X, y = results(task, n, seed)
    scaled, rng = standardise(y), np.random.default_rng(seed + 1000)
    begun = time.process_time()
    made = sparse(space.domain, X, scaled.z, seed) if way == "variational" else exact(way, space.domain, X, scaled.z, seed)
    seconds, (predict, row) = time.process_time() - begun, made
    near, far = around(space.domain, X[np.argsort(y)[:10]], FRESH, rng), space.domain.random(rng, FRESH)

    def error(rows: Array) -> float:
        true = standardise(np.concatenate([y, values(task, space, rows)])).z[n:]
        return float(np.sqrt(np.mean((predict(rows) - true) ** 2)))

    gain = float(values(task, space, row[None])[0] - y.min())
    about = {package: version(package) for package in ("numpy", "scipy", "gpytorch", "torch")}
    return {"task": name, "n": n, "way": way, "seed": seed, "seconds": round(seconds, 3), "near": error(near),
            "all": error(far), "proposal": gain, "versions": about}  # fmt: skip


def stored() -> list[dict[str, Any]]:
    """What has been measured."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table() -> str:
    """Medians over seeds."""
    lines = ["| task | n | way | seconds | error near the best | error everywhere | proposal |", "|---|---|---|---|---|---|---|"]
    records = stored()
    for name, n, way in dict.fromkeys((r["task"], r["n"], r["way"]) for r in records):
        mine = [r for r in records if (r["task"], r["n"], r["way"]) == (name, n, way)]
        cells = [f"{np.median([r[what] for r in mine]):.3g}" for what in ("seconds", "near", "all", "proposal")]
        lines.append(f"| {name} | {n} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measures what is missing, one record a line."""
    done = {(r["task"], r["n"], r["way"], r["seed"]) for r in stored()}
    for key in [(name, n, way, seed) for seed in range(SEEDS) for name in ON for n in SIZES for way in WAYS]:
        if "--table" not in arguments and key not in done:
            with RESULTS.open("a") as file:
                file.write(json.dumps(measure(*key)) + "\n")
            print(*key, flush=True)
    print(table())


if __name__ == "__main__":
    main(sys.argv[1:])
