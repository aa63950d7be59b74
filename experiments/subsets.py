"""Thousands of results: which of them should an exact GP be made of, or should it be a sparse one?

    python -m experiments.subsets                 # measures what is missing (half an hour on one core), then prints the table
    python -m experiments.subsets --table         # only prints it, from experiments/results/many.jsonl

A search leaves its results crowded around good places: two thirds of the N results are random, one third lies around the
best of them, ever closer. Every way makes a model from them and goes on with the search by log EI; what is shown is

    seconds    fit, posterior and the first proposal, one thread
    near, all  root mean squared error of the mean at 500 fresh points around the best, at 500 random points; in the units
               in which the model was told its targets (Scale): a perfect model has 0
    regret     of the best of the N, and of the best after STEPS proposals. They are made one after the other, each told its
               true value before the next, hyperparameters kept; one proposal alone may explore, and says little of a model

The question is asked of a study that has grown too large for a GP of everything: rows are worth what the next proposals
gain, which is what the regret after them measures; the errors say why. Shown are medians over seeds, and the range.

Ways: all N results; 1000 of them: `kept` (the best half, and as many evenly spaced ones of the others: what the GP sampler
does, hpo/optimizers/gp/fits.py), the best, the latest, random ones; and gpytorch's variational GP with 500 inducing points
(Hensman et al. 2015), which proposes the best of 4000 candidates and is trained five more epochs after every result.

A line counts as long as the sources that decide are what they were (benchmark/digest.py); else it is measured again, and
the table says how many of its lines are older.
"""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import typer

from experiments.benchmark.digest import digest
from experiments.benchmark.tasks import TASKS, Task
from hpo.optimizers.gp.fits import MOST, kept
from hpo.space import Space
from surrogates import GaussianProcess, LogEI, Normal, Score, fit, maximize, standardise
from surrogates.domain import Array, Domain
from surrogates.transform import KNEE

RESULTS = Path(__file__).parent / "results" / "many.jsonl"
ON, SIZES, SEEDS = ("hartmann6", "levy8", "mixed8"), (3000,), 3
FRESH, STEPS = 500, 5
EPOCHS, MORE = 60, 5  # of the variational GP: at first, and after a result

Row = dict[str, Any]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


# -- results -----------------------------------------------------------------------------------------------------------


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


class Scale:
    """What the model is told of true values: those of surrogates.standardise for finite targets y (n,), and for any others.

    Beyond the knee c = m + 3 g, with the median m and g = m - (10 % quantile), values are bent; see surrogates/transform.py.
    """

    def __init__(self, y: Array) -> None:
        made, middle = standardise(y), float(np.median(y))
        self.z, self.shift, self.scale = made.z, made.shift, made.scale
        self.spread = middle - float(np.quantile(y, 0.1))
        self.knee = middle + KNEE * self.spread

    def of(self, true: Array) -> Array:
        """(m,) on the scale of z."""
        beyond = np.maximum(true - self.knee, 0.0) / self.spread
        bent = np.where(true > self.knee, self.knee + self.spread * np.log1p(np.log1p(beyond)), true)
        return np.asarray((bent - self.shift) / self.scale)


# -- models ------------------------------------------------------------------------------------------------------------


class Model(Protocol):
    """What can be asked for means, for a row that it is told the result of, and again."""

    def mean(self, rows: Array) -> Array: ...

    def propose(self, taken: set[bytes]) -> Array: ...

    def tell(self, row: Array, z: float) -> None: ...


def chosen(way: str, z: Array, rng: np.random.Generator) -> Any:
    """Indices of the results that a model is made of."""
    if way == "all":
        return np.arange(len(z))
    return {
        "kept": lambda: kept(z),
        "best": lambda: np.sort(np.argsort(z, kind="stable")[:MOST]),
        "latest": lambda: np.arange(max(0, len(z) - MOST), len(z)),
        "random": lambda: np.sort(rng.choice(len(z), min(MOST, len(z)), replace=False)),
    }[way]()  # fmt: skip


class Exact:
    """An exact GP of some of the results."""

    def __init__(self, way: str, domain: Domain, X: Array, z: Array, seed: int) -> None:
        use = chosen(way, z, np.random.default_rng(seed))
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
        candidates = np.concatenate([self.domain.random(self.rng, 2000), around(self.domain, best, 2000, self.rng)])
        candidates = candidates[[key not in taken for key in self.domain.keys(candidates)]]
        score = LogEI()(self.posterior(candidates), float(self.mean(self.X).min()))
        return np.asarray(candidates[np.argmax(score)])

    def tell(self, row: Array, z: float) -> None:
        self.X, self.z = np.concatenate([self.X, row[None]]), np.append(self.z, z)
        self.train(MORE)


WAYS = ("all", "kept", "best", "latest", "random", "variational")


# -- measurements ------------------------------------------------------------------------------------------------------


def error(model: Model, scaled: Scale, rows: Array, true: Array) -> float:
    """Root mean squared error of the mean at rows whose values are true, in units of z."""
    return float(np.sqrt(np.mean((model.mean(rows) - scaled.of(true)) ** 2)))


def measure(name: str, n: int, way: str, seed: int) -> Row:
    """One model, and STEPS proposals of it."""
    task = TASKS[name]
    space, X, y = results(task, n, seed)
    scaled, domain, taken = Scale(y), space.domain, set(space.domain.keys(X))
    begun = time.process_time()
    model: Model = Sparse(domain, X, scaled.z, seed) if way == "variational" else Exact(way, domain, X, scaled.z, seed)
    row, seconds = model.propose(taken), time.process_time() - begun
    rng = np.random.default_rng(seed + 1000)
    places = around(domain, X[np.argsort(y)[:10]], FRESH, rng), domain.random(rng, FRESH)
    near, far = (error(model, scaled, rows, values(task, space, rows)) for rows in places)
    found = []
    for step in range(1, STEPS + 1):
        found.append(float(values(task, space, row[None])[0]))
        if step < STEPS:
            taken |= set(domain.keys(row[None]))
            model.tell(row, float(scaled.of(np.array(found[-1:]))[0]))
            row = model.propose(taken)
    about = {package: version(package) for package in ("numpy", "scipy", "gpytorch", "torch")}
    return {"task": name, "n": n, "way": way, "seed": seed, "seconds": round(seconds, 3), "near": near, "all": far,
            "before": float(y.min()) - task.best, "after": min(*found, float(y.min())) - task.best,
            "proposed": [value - task.best for value in found], "versions": about, "digest": sources(name)}  # fmt: skip


def sources(name: str) -> str:
    """Names the code that decides what is measured on a task."""
    return f"{digest('experiments/subsets.py')} {TASKS[name].digest}"


def current(row: Row) -> bool:
    """Whether a line was made by the sources as they are now."""
    return bool(row["digest"] == sources(row["task"]))


def stored() -> dict[tuple[str, int, str, int], Row]:
    """What has been measured: the last line of each, those of the sources as they are now before all others."""
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    rows = sorted((row for row in rows if "digest" in row), key=current)
    return {(row["task"], row["n"], row["way"], row["seed"]): row for row in rows}


def table() -> str:
    """Medians over seeds, and the range of the regrets after the proposals."""
    head = ["task", "n", "way", "seeds", "seconds", "error near the best", "error everywhere", "regret before",
            f"after {STEPS} proposals [range]"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    records = list(stored().values())
    for name, n, way in [(name, n, way) for name in ON for n in SIZES for way in WAYS]:
        if mine := [r for r in records if (r["task"], r["n"], r["way"]) == (name, n, way)]:
            cells = [f"{np.median([r[what] for r in mine]):.3g}" for what in ("seconds", "near", "all", "before", "after")]
            after = [r["after"] for r in mine]
            lines.append(f"| {name} | {n} | {way} | {len(mine)} | {' | '.join(cells)} [{min(after):.2g}, {max(after):.2g}] |")
    older = sum(not current(row) for row in records)
    return "\n".join([*lines, *([f"{older} of {len(records)} lines are by older sources."] if older else [])])


@app.command()
def main(only: Annotated[bool, typer.Option("--table", help="only print the table")] = False) -> None:
    """Which of thousands of results an exact GP should be made of: measures what is missing, prints the table."""
    done = {key for key, row in stored().items() if current(row)}
    every = [(name, n, way, seed) for seed in range(SEEDS) for name in ON for n in SIZES for way in WAYS]
    for key in sorted(every, key=lambda key: key[2] == "variational"):  # what costs most comes last
        if not only and key not in done:
            RESULTS.parent.mkdir(exist_ok=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(measure(*key)) + "\n")
            print(*key, flush=True)
    print(table())


if __name__ == "__main__":
    app()
