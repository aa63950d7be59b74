"""Maximum a posteriori hyperparameters: multi-start L-BFGS-B on analytic gradients, a pure function of its arguments.

The mean mu is profiled out: given the kernel its best value is known in closed form (generalised least squares with a
N(0, 1) prior on standardised targets), which saves a dimension of the search and, by the envelope theorem, leaves the
other gradients as they are. The prior keeps mu near the data where long length scales would let it drift away.
What is left is t = (log l (d,), log s, log v), with warping (..., log a (d,), log b (d,)), and where the last column is a
budget (..., log r, log q, log a), with log b in the place of its length scale (see learning_curves.py).

An evaluation costs O(n^3), so early steps use fewer rows: with many rows, the multi-start runs on COARSE of them, a first
climb on MIDDLE, and only the last few steps on all.
"""

from __future__ import annotations

from contextlib import suppress
from math import log

import numpy as np
from scipy.optimize import minimize

from surrogates.columns import Columns
from surrogates.domain import Array, Domain
from surrogates.hyperparameters import Hyperparameters
from surrogates.kernels import KERNELS
from surrogates.learning_curves import BOUNDS
from surrogates.likelihood import Likelihood
from surrogates.linalg import one_thread
from surrogates.priors import LogNormal, default_prior

NOISE_FLOOR = 1e-6  # noise variance of standardised targets; low enough for deterministic functions to converge
MEAN_PRIOR = 1.0  # variance of the prior of mu
DRAWS = 8  # random starts that are looked at, of which the best two are climbed from
COARSE, MIDDLE = 80, 300  # rows
FEW, SOME, MANY = 5, 60, 200  # evaluations: on all rows when there are more than MIDDLE; before that on MIDDLE; else
FINE, ROUGH = (1e-8, 1e-3), (3e-4, 3e-1)  # ftol and gtol of L-BFGS-B: on all rows, and on some of them
BIG = 1e25  # the value of hyperparameters that overflow
FAR = 300.0  # a logarithm beyond which they do: the noise has no upper bound, and a line search may step anywhere


@one_thread
def fit(X: Array, y: Array, domain: Domain, seed: int, start: Hyperparameters | None = None, kernel: str = "matern52",
        prior: LogNormal | None = None, noise_floor: float = NOISE_FLOOR, warped: bool = False) -> Hyperparameters:
    """MAP hyperparameters of a GP for rows X (n, d) and standardised targets y (n,), n >= 1.

    start: one more starting point, such as an earlier fit. prior: over t, default_prior(d, warped) if None.
    noise_floor: least noise variance. warped: fit a warping of the numeric columns too. The same arguments give the same
    bits. ValueError when n = 0, a target is not finite, or start has another number of columns.
    """
    objective = Objective.of(X, y, domain, kernel, prior, noise_floor, warped)
    warm = [] if start is None else [objective.point(start)]
    first, *later = [*(objective.subset(rows) for rows in (COARSE, MIDDLE) if len(objective.y) > rows), objective]
    starts = first.starts(seed, 3 if not later else 1 if warm else 2, warm)
    t = first.climb(starts, MANY, ROUGH if later else FINE)
    for level in later[:-1]:
        t = level.climb([level.better([*warm, t])], SOME, ROUGH)
    for level in later[-1:]:
        t = level.climb([level.better([*warm, t])], MANY if len(later) == 1 else FEW)
    return objective.hyperparameters(t)


class Objective:
    """Negative log posterior of t, and its gradient, given features Z (n, d) and targets y (n,)."""

    def __init__(self, Z: Array, y: Array, columns: Columns, kernel: str, prior: LogNormal | None = None,
                 noise_floor: float = NOISE_FLOOR, warped: bool = False, budget: bool = False) -> None:
        self.Z, self.y, self.columns, self.kernel = Z, y, columns, kernel
        self.noise_floor, self.warped, self.budget = noise_floor, warped, budget
        self.prior = prior or default_prior(Z.shape[1], warped, budget)
        self.likelihood = Likelihood(Z, columns, y, kernel, warped, budget)
        self._means: dict[bytes, float] = {}  # mu at every t looked at

    @classmethod
    def of(cls, X: Array, y: Array, domain: Domain, kernel: str = "matern52", prior: LogNormal | None = None,
           noise_floor: float = NOISE_FLOOR, warped: bool = False) -> Objective:
        """From rows X (n, d). ValueError when n = 0 or a target is not finite."""
        y = np.asarray(y, dtype=float)
        if len(y) == 0 or not np.isfinite(y).all():
            raise ValueError("fit needs at least one target, and all targets finite: standardise them first")
        if kernel not in KERNELS:
            raise ValueError(f"kernel is {kernel!r}; allowed are {', '.join(KERNELS)}")
        Z = domain.features(domain.rows_for(y, X))
        return cls(Z, y, domain.columns, kernel, prior, noise_floor, warped, domain.has_budget)

    def subset(self, n: int) -> Objective:
        """The same on n rows, evenly spaced."""
        rows = np.linspace(0, len(self.y) - 1, n).round().astype(int)
        return Objective(self.Z[rows], self.y[rows], self.columns, self.kernel, self.prior, self.noise_floor, self.warped,
                         self.budget)

    def __call__(self, t: Array) -> tuple[float, Array]:
        if np.abs(t).max() > FAR:
            return BIG, np.zeros_like(t)
        found = self.likelihood(t, mean_prior=MEAN_PRIOR)
        self._means[t.tobytes()] = found.mean
        density, slope = self.prior.log_density(t)
        value = found.value - 0.5 * found.mean**2 / MEAN_PRIOR + density
        if not np.isfinite(value):
            return BIG, np.zeros_like(t)
        return -value, -(found.gradient + slope)

    @property
    def bounds(self) -> Array:
        """(p, 2): l in [0.005, 2000], s in [0.01, 1000], v from noise_floor on, a and b in [0.05, 20]; of a budget BOUNDS.

        v has no upper bound, because with all variables in a box L-BFGS-B begins with a step into one of its corners.
        """
        d, noise = self.Z.shape[1], (self.noise_floor, np.inf)
        warp = [(5e-2, 2e1)] * (2 * d if self.warped else 0)
        lengths, decay = [(5e-3, 2e3)] * d, list(BOUNDS[1:] if self.budget else ())
        lengths[d - self.budget :] = BOUNDS[: int(self.budget)]
        return np.asarray(np.log([*lengths, (1e-2, 1e3), noise, *warp, *decay]))

    def point(self, theta: Hyperparameters) -> Array:
        """The t of hyperparameters, within bounds. ValueError if they have another number of columns."""
        d = self.Z.shape[1]
        if len(theta.log_lengthscales) != d:
            raise ValueError(f"a start with {len(theta.log_lengthscales)} length scales does not fit {d} columns")
        if bool(theta.log_decay) != self.budget:
            raise ValueError("a start with a decay fits a domain with a budget, and one without fits one without")
        warp = (theta.log_warp or (0.0,) * (2 * d)) if self.warped else ()
        plain = [*theta.log_lengthscales, theta.log_outputscale, theta.log_noise]
        return self.clip(np.array([*plain, *warp, *theta.log_decay]))

    def clip(self, t: Array) -> Array:
        """t within bounds."""
        return np.asarray(np.clip(t, self.bounds[:, 0], self.bounds[:, 1]))

    def hyperparameters(self, t: Array) -> Hyperparameters:
        """t with its profiled mean, as plain floats."""
        if t.tobytes() not in self._means:
            self(t)
        d, mean = self.Z.shape[1], self._means[t.tobytes()]
        values = [*map(float, t[: d + 2]), float(mean), *map(float, t[d + 2 :])]
        return Hyperparameters.from_list(values, self.kernel, self.warped, self.budget)

    # --- the search --------------------------------------------------------------------------------------------------

    def starts(self, seed: int, n: int, warm: list[Array]) -> list[Array]:
        """At most n: warm ones, then a point a little above the mode of the prior, then the most probable of a few draws
        from its middle. The best of the last two kinds alone if n is 1."""
        prior, rng, d = self.prior, np.random.default_rng(seed), self.Z.shape[1]
        smooth = prior.mode.copy()
        smooth[:d] += log(2.0)  # the evidence is far steeper towards short length scales than towards long ones
        spread = rng.normal(prior.mode + 0.5 * prior.sigma**2, 0.7 * prior.sigma, size=(DRAWS, len(prior.mu)))
        draws = [self.clip(t) for t in spread]
        if n == 1:
            return [self.better([self.clip(smooth), *draws])]
        best = np.argsort([self(t)[0] for t in draws], kind="stable")
        return [*warm, self.clip(smooth), *(draws[i] for i in best)][:n]

    def better(self, starts: list[Array]) -> Array:
        """The most probable start."""
        return starts[0] if len(starts) == 1 else min(starts, key=lambda t: self(t)[0])

    def climb(self, starts: list[Array], evaluations: int = MANY, tolerance: tuple[float, float] = FINE) -> Array:
        """The most probable point that L-BFGS-B reaches from any start, in at most so many evaluations from each."""
        seen: list[tuple[float, Array]] = []

        def counted(t: Array) -> tuple[float, Array]:
            if len(seen) >= end:
                raise _Enough  # a line search does not count its evaluations
            value, slope = self(t)
            seen.append((value, t.copy()))
            return value, slope

        for t in starts:
            end = len(seen) + evaluations
            with suppress(_Enough):
                minimize(counted, t, jac=True, method="L-BFGS-B", bounds=self.bounds,
                         options={"maxiter": evaluations, "maxfun": evaluations, "ftol": tolerance[0], "gtol": tolerance[1]})
        return min(seen, key=lambda found: found[0])[1]  # the first of equals


class _Enough(Exception):
    """The evaluations are spent."""
