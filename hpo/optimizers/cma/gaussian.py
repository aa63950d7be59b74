"""The covariance matrix adaptation evolution strategy as a function of arrays.

Source: Hansen 2016, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; equation numbers are the tutorial's, and so
are the names of what is adapted. Faithful: every default of Table 1, negative weights included (active CMA-ES).
What differs: the exponent in h_sigma is 2 (g + 2) behind g generations, as in the library cmaes, where the tutorial has
2 (g + 1): in the first generations p_c is stalled a little less often. And there is `shorten` (Hansen 2011, "Injecting external
solutions into CMA-ES", arXiv:1110.4181), which callers apply to points that were not drawn from the present distribution.

Notation     n coordinates, lam points a generation, mu = lam // 2 of them recombined
    mean (n,), sigma, C (n, n)     points are drawn from N(mean, sigma^2 C);  C = B diag(D^2) B'
    p_sigma (n,), p_c (n,)         the evolution paths of the step size and of the covariance
    X (lam, n)                     points, the best first;  Y = (X - mean) / sigma
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

EPS = 1e-8  # in the place of an eigenvalue that is not positive, and beside a length that may be zero
LEAST = 4  # points a generation: fewer have no rank-mu update
LARGEST = 1e32  # a step size beyond it is cut


@dataclass(frozen=True, eq=False)
class Rates:
    """The strategy's constants for n coordinates and lam points (Table 1 of the tutorial)."""

    weights: np.ndarray  # (lam,) the positive ones sum to 1; behind them negative ones
    mu: int
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float  # E||N(0, I)||

    @classmethod
    def of(cls, n: int, lam: int) -> Rates:
        """The constants; n >= 1 and lam >= LEAST."""
        return _rates(n, lam)


def default_population(n: int) -> int:
    """Points a generation (eq. 48)."""
    return 4 + math.floor(3 * math.log(max(n, 1)))


def positive_weights(lam: int) -> np.ndarray:
    """(lam,) weights that sum to 1, zero for the worse half (eq. 49 and 53)."""
    raw = np.maximum(math.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1)), 0.0)
    return np.asarray(raw / raw.sum())


@cache
def _rates(n: int, lam: int) -> Rates:
    mu = lam // 2
    raw = math.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1))  # eq. 49
    mu_eff = float(raw[:mu].sum() ** 2 / (raw[:mu] ** 2).sum())
    mu_eff_minus = float(raw[mu:].sum() ** 2 / (raw[mu:] ** 2).sum())
    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)  # eq. 57
    c_mu = min(1 - c_1 - EPS, 2 * (mu_eff - 2 + 1 / mu_eff) / ((n + 2) ** 2 + mu_eff))  # eq. 58
    least = min(1 + c_1 / c_mu, 1 + 2 * mu_eff_minus / (mu_eff + 2), (1 - c_1 - c_mu) / (n * c_mu))  # eq. 50 to 52
    positive, negative = raw[raw > 0].sum(), -raw[raw < 0].sum()
    weights = np.where(raw >= 0, raw / positive, least * raw / negative)  # eq. 53
    c_sigma = (mu_eff + 2) / (n + mu_eff + 5)  # eq. 55
    d_sigma = 1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma
    c_c = (4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n)  # eq. 56
    chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
    return Rates(weights, mu, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The state of a strategy: a normal distribution and its evolution paths. `update` makes the next one."""

    mean: np.ndarray
    sigma: float
    C: np.ndarray
    B: np.ndarray
    D: np.ndarray
    p_sigma: np.ndarray
    p_c: np.ndarray
    generation: int = 0

    @classmethod
    def begin(cls, mean: np.ndarray, sigma: float, C: np.ndarray | None = None) -> Gaussian:
        """The first state: both paths are zero, C is the identity if it is not given."""
        n = len(mean)
        C, B, D = decompose(np.eye(n) if C is None else np.asarray(C, dtype=float))
        return cls(np.array(mean, dtype=float), float(sigma), C, B, D, np.zeros(n), np.zeros(n))

    @property
    def n(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, n) points (eq. 38 to 40)."""
        Z = rng.standard_normal((count, self.n))
        return np.asarray(self.mean + self.sigma * (Z * self.D) @ self.B.T)

    def lengths(self, X: np.ndarray) -> np.ndarray:
        """(m,) Mahalanobis distances ||C^(-1/2) (x - mean)|| / sigma of points X (m, n)."""
        return np.asarray(np.linalg.norm(((X - self.mean) / self.sigma) @ self.B / self.D, axis=1))

    def shorten(self, X: np.ndarray) -> np.ndarray:
        """Points X (m, n) moved towards the mean to a length of at most sqrt(n) + 2 n / (n + 2), so that what was not drawn
        from this distribution cannot throw its paths (Hansen 2011, section 3)."""
        longest = math.sqrt(self.n) + 2 * self.n / (self.n + 2)
        factor = np.minimum(1.0, longest / np.maximum(self.lengths(X), 1e-300))
        return np.asarray(np.where(factor[:, None] < 1.0, self.mean + factor[:, None] * (X - self.mean), X))

    def update(self, X: np.ndarray) -> Gaussian:
        """The state behind a generation of points X (lam, n), the best first."""
        n, rates = self.n, Rates.of(self.n, len(X))
        Y = (X - self.mean) / self.sigma
        y_w = rates.weights[: rates.mu] @ Y[: rates.mu]  # eq. 41
        mean = self.mean + self.sigma * y_w  # eq. 42, c_m = 1 (eq. 54)
        whiten = (self.B / self.D) @ self.B.T  # C^(-1/2)
        p_sigma = (1 - rates.c_sigma) * self.p_sigma  # eq. 43
        p_sigma = p_sigma + math.sqrt(rates.c_sigma * (2 - rates.c_sigma) * rates.mu_eff) * whiten @ y_w
        length = float(np.linalg.norm(p_sigma))
        sigma = min(self.sigma * math.exp(rates.c_sigma / rates.d_sigma * (length / rates.chi - 1)), LARGEST)  # eq. 44
        past = 1 - (1 - rates.c_sigma) ** (2 * (self.generation + 2))  # the library's; the tutorial's is generation + 1
        h = 1.0 if length / math.sqrt(past) < (1.4 + 2 / (n + 1)) * rates.chi else 0.0
        p_c = (1 - rates.c_c) * self.p_c + h * math.sqrt(rates.c_c * (2 - rates.c_c) * rates.mu_eff) * y_w  # eq. 45
        C, B, D = decompose(self._covariance(rates, Y, whiten, p_c, h))
        return Gaussian(mean, sigma, C, B, D, p_sigma, p_c, self.generation + 1)

    def _covariance(self, rates: Rates, Y: np.ndarray, whiten: np.ndarray, p_c: np.ndarray, h: float) -> np.ndarray:
        """The next C (n, n): eq. 46 and 47."""
        scale = self.n / (np.linalg.norm(Y @ whiten, axis=1) ** 2 + EPS)
        w = rates.weights * np.where(rates.weights >= 0, 1.0, scale)  # eq. 46
        delta = (1 - h) * rates.c_c * (2 - rates.c_c)
        keep = 1 + rates.c_1 * delta - rates.c_1 - rates.c_mu * rates.weights.sum()
        return np.asarray(keep * self.C + rates.c_1 * np.outer(p_c, p_c) + rates.c_mu * (Y.T * w) @ Y)  # eq. 47


def decompose(C: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C, B, D) of a covariance (n, n): C made symmetric and positive, C = B diag(D^2) B'."""
    C = (C + C.T) / 2
    values, B = np.linalg.eigh(C)
    if not (values > 0).all():
        values = np.where(values > 0, values, EPS)
        C = (B * values) @ B.T
    return C, B, np.sqrt(values)
