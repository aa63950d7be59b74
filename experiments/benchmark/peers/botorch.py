"""BoTorch as its documentation advises: a GP with the default priors, q-log-noisy-EI, the optimizer made for the space.

    X    (n, d) encoded rows in the unit cube (log scale where the space has one), choices as index
    y    (n,)   observed values, minimised; the model sees -y, standardised

Design      Sobol, max(5, min(budget // 5, 2 d)) points: the rule of Ax, the authors' own application of BoTorch.
Model       SingleTaskGP, or MixedSingleTaskGP with choices; default priors; Standardize is their default and Normalize
            has nothing to do on the unit cube; noise is inferred.
Acquisition qLogNoisyExpectedImprovement (Ament et al. 2023), their advice with and without noise.
Maximiser   floats: optimize_acqf(num_restarts=10, raw_samples=512); at most 10,000 points: optimize_acqf_discrete over
            the unseen ones; mixed: optimize_acqf_mixed or optimize_acqf_mixed_alternating by their own rule.

What had to be decided: in a space with conditions the model sees an inactive number in the middle of its range and an
inactive choice as a category of its own (an input transform, so the acquisition does not depend on it either), because
their HierarchicalConditionalKernelGP allows a parameter under one value of one parent only, and has no choices' kernel; a
candidate that a constraint excludes, or that a discrete space has seen, gives way to the best of random feasible points;
a diverged run (nan) counts as the worst finite value so far.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import gpytorch
import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, SingleTaskGP
from botorch.models.transforms.input import InputTransform
from botorch.optim import optimize_acqf, optimize_acqf_discrete, optimize_acqf_mixed
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating, should_use_mixed_alternating_optimizer
from gpytorch.mlls import ExactMarginalLogLikelihood

from experiments.benchmark import peers
from experiments.benchmark.peers.shortcuts.seeded import seed_streams
from experiments.benchmark.peers.shortcuts.traced import Traced, record_fit
from hpo.space import Config, Space
from surrogates.columns import OFF
from surrogates.domain import Array, Domain

ENUMERATED = 10_000  # a discrete space up to this size is searched point by point, as in botorch.optim.optimize_mixed
RESTARTS, RAW = 10, 512


class Impute(InputTransform, torch.nn.Module):
    """Inactive columns at the one value that Domain.features gives them; identity elsewhere."""

    is_one_to_many = False

    def __init__(self, domain: Domain) -> None:
        super().__init__()
        self.transform_on_train = self.transform_on_eval = self.transform_on_fantasize = True
        self.domain = domain
        self.canonical = torch.tensor(np.where(domain.categorical, np.array(domain.sizes, dtype=float), 0.5))

    def transform(self, X: torch.Tensor) -> torch.Tensor:
        inactive = np.isnan(self.domain.snap(X.detach().reshape(-1, self.domain.d).numpy()))
        return torch.where(torch.from_numpy(inactive).reshape(X.shape), self.canonical, X)


class BoTorch:
    """Bayesian optimisation with BoTorch over one of our spaces; with shortcuts its fits are recorded (traced.py)."""

    def __init__(self, space: Space, seed: int, budget: int, shortcuts: bool = True) -> None:
        torch.set_num_threads(1)
        self.shortcuts = shortcuts
        self.space, self.seed, self.domain = space, seed, space.domain
        self.initial = max(5, min(budget // 5, 2 * self.domain.d))
        self.design = self.domain.sobol(seed, budget + self.initial)
        self.grid = self.domain.enumerate() if self.domain.size <= ENUMERATED else None
        self.configs: list[Config] = []
        self.rows: list[Array] = []
        self.values: list[float] = []
        self.seen: set[bytes] = set()
        self._fitted: tuple[int, SingleTaskGP] | None = None

    # -- ask and tell -----------------------------------------------------------------------------------------------

    def ask(self) -> Config:
        if self.grid is not None and not len(self._unseen(self.grid)):
            raise peers.Exhausted(f"all {len(self.grid)} points of the space were told")
        if len(self.rows) < self.initial or not np.isfinite(self.values).any():
            return self.space.decode(self._designed())
        with seed_streams(self.seed, len(self.rows)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.space.decode(self._proposed())

    def tell(self, config: Config, value: float) -> None:
        row = self.space.encode(config)
        self.configs.append(dict(config))
        self.rows.append(row)
        self.values.append(float(value))
        self.seen.update(self.domain.keys(row[None, :]))

    def best(self) -> Config:
        """The evaluated configuration with the lowest posterior mean; the lowest observed while there is no model."""
        finite = np.isfinite(self.values)
        if len(finite) < 2 or not finite.any():
            return dict(self.configs[int(np.argmin(self._observed()))])
        with seed_streams(self.seed, len(finite)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mean = self._model().posterior(self._features(np.array(self.rows))).mean.detach().squeeze(-1).numpy()
        return dict(self.configs[int(np.argmax(np.where(finite, mean, -np.inf)))])

    @staticmethod
    def versions() -> dict[str, str]:
        return peers.package_versions("botorch", "gpytorch", "torch")

    # -- what it proposes -------------------------------------------------------------------------------------------

    def _designed(self) -> Array:
        """The next point of the Sobol design, unseen where the space is discrete; a random one after its end."""
        left = self._unseen(self.design) if np.isfinite(self.domain.size) else self.design[len(self.rows) :]
        if not len(left) and self.grid is not None:
            left = self._unseen(self.grid)
        return np.asarray(left[0] if len(left) else self._random(1)[0])

    def _proposed(self) -> Array:
        acquisition = self._acquisition()
        if self.grid is not None:
            return self._best_of(acquisition, self._unseen(self.grid))
        row = self.domain.snap(self._maximum(acquisition))[0]
        spent = np.isfinite(self.domain.size) and self.domain.keys(row[None, :])[0] in self.seen
        if not spent and self.domain.is_feasible(row[None, :])[0]:
            return np.asarray(row)
        rows = np.concatenate([self.domain.neighbours(row), self._random(RAW)])
        unseen = self._unseen(rows)
        return self._best_of(acquisition, unseen if len(unseen) else rows)

    def _random(self, n: int) -> Array:
        return self.domain.random(np.random.default_rng((self.seed, len(self.rows))), n)

    def _unseen(self, rows: Array) -> Array:
        return rows[[key not in self.seen for key in self.domain.keys(rows)]]

    def _best_of(self, acquisition: Any, rows: Array) -> Array:
        """The row with the highest acquisition; rows are inactive where a condition says so, their features are not."""
        features = self._features(rows)
        chosen, _ = optimize_acqf_discrete(acquisition, q=1, choices=features)
        return np.asarray(rows[int((features - chosen).abs().sum(-1).argmin())])

    def _maximum(self, acquisition: Any) -> Array:
        """(1, d) the maximiser over floats, levels and choices; what is inactive there has no influence."""
        domain = self.domain
        bounds = torch.tensor([self._ends(j) for j in range(domain.d)], dtype=torch.float64).T
        ordinal = {j: domain.values(j).tolist() for j, kind in enumerate(domain.kinds) if kind == "int"}
        choices = {j: domain.values(j).tolist() for j, kind in enumerate(domain.kinds) if kind == "categorical"}
        common: dict[str, Any] = {"bounds": bounds, "q": 1, "num_restarts": RESTARTS, "raw_samples": RAW}
        if not ordinal and not choices:
            found, _ = optimize_acqf(acquisition, **common)
        elif should_use_mixed_alternating_optimizer(ordinal, choices):
            found, _ = optimize_acqf_mixed_alternating(acquisition, discrete_dims=ordinal, cat_dims=choices, **common)
        else:
            every = {**ordinal, **choices}
            combinations = [dict(zip(every, values, strict=True)) for values in itertools.product(*every.values())]
            found, _ = optimize_acqf_mixed(acquisition, fixed_features_list=combinations, **common)
        return np.asarray(found.detach().numpy())

    def _ends(self, j: int) -> tuple[float, float]:
        if self.domain.floats[j]:
            return 0.0, 1.0
        values = self.domain.values(j)
        return float(values[0]), float(values[-1])

    # -- model ------------------------------------------------------------------------------------------------------

    def _observed(self) -> Array:
        """(n,) values with the worst finite one, or 0 while there is none, in place of nan and infinities."""
        y = np.array(self.values, dtype=float)
        finite = y[np.isfinite(y)]
        return np.where(np.isfinite(y), y, finite.max() if len(finite) else 0.0)

    def _features(self, rows: Array) -> torch.Tensor:
        features = self.domain.features(rows)
        return torch.tensor(np.where(features == OFF, 0.5, features))

    def _model(self) -> SingleTaskGP:
        """The GP fitted to everything told; fitted once for each number of results."""
        if self._fitted is None or self._fitted[0] != len(self.rows):
            self._fitted = len(self.rows), self._fit()
        return self._fitted[1]

    def _fit(self) -> SingleTaskGP:
        X, y = self._features(np.array(self.rows)), torch.tensor(-self._observed())[:, None]
        transform = Impute(self.domain) if self.domain.is_conditional else None
        choices = [int(j) for j in np.flatnonzero(self.domain.categorical)]
        if choices:
            model = MixedSingleTaskGP(X, y, cat_dims=choices, input_transform=transform)
        else:
            model = SingleTaskGP(X, y, input_transform=transform)
        mll = ExactMarginalLogLikelihood(model.likelihood, model)
        with gpytorch.settings.lazily_evaluate_kernels(False):  # the same numbers in a fifth less time
            if not self.shortcuts:
                fit_gpytorch_mll(mll)
            else:
                with record_fit():
                    fit_gpytorch_mll(mll, closure=Traced(mll))
        return model

    def _acquisition(self) -> qLogNoisyExpectedImprovement:
        return qLogNoisyExpectedImprovement(self._model(), X_baseline=self._features(np.array(self.rows)))

