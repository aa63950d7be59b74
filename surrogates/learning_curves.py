"""Results at several budgets as one model: learning curves that decay towards their value at the horizon.

    f(x, t) = g(x) + h(x, t) + c(t),   h(x, 1) = c(1) = 0,   t = budget / horizon in [0, 1]

    cov(g(x), g(x'))         = s k(x, x')                 the loss at the horizon, which alone decides on proposals
    cov(h(x, t), h(x', t'))  = s r k(x, x') D(t, t')      how far a configuration's loss at t is from it
    cov(c(t), c(t'))         = s q D(t, t')               how far all of them are from it on average

    D(t, t') = e(t + t') - e(t + 1) - e(1 + t') + e(2),   e(u) = (b / (u + b))^a

e(t + t') is the freeze-thaw kernel of Swersky, Snoek, Adams 2014, "Freeze-thaw Bayesian optimization", section 3.1: the
covariance of a mixture of exponential decays,

    e(t + t') = E[exp(-w t) exp(-w t')],   w ~ Gamma(a, rate b)

There a decay reaches zero only at an infinite budget. Here each decay is measured from its value at the horizon,
D(t, t') = E[(exp(-w t) - exp(-w)) (exp(-w t') - exp(-w))], which is positive semi-definite for the same reason and vanishes
where t or t' is 1. So a row at the horizon has the covariance s k(x, x') with any row at any budget. Predictions at the
horizon do not depend on the budget, and a study with all results at the horizon has the same model as one without budgets.

Sums and elementwise products of positive semi-definite kernels are positive semi-definite (Schur), for all r, q, a, b > 0.
q learns the common curve once; otherwise every region would have to learn it again.

Notation
    n, p      rows, pairs i < j of them in row-major order      t (n,) budgets       u (l,) the different ones among them
    D, E      (l, l) as above, and e(u_i + u_j)                 K (p,) or (m, n)     values of k, without s
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

from surrogates.domain import Array

PARAMETERS = 3  # beside log b, which has the place of a length scale: log r, log q, log a
MEDIANS, SPREADS = (log(0.4), 0.0, 0.0, 0.5), (1.0, 1.0, 1.0, 0.7)  # of log-normal priors of b, r, q, a
BOUNDS = ((1e-3, 2e1), (1e-3, 1e2), (1e-4, 1e2), (1e-1, 2e1))  # of b, r, q, a


@dataclass(frozen=True)
class Decay:
    """How results at lower budgets differ from those at the horizon.

    b is the budget (as a share of the horizon) over which differences decay. r and q are variances in units of that at the
    horizon: r of each configuration's own curve, q of the common one. a is the shape of the mixture.
    """

    b: float
    r: float
    q: float
    a: float

    @classmethod
    def of(cls, logs: Array) -> Decay:
        """From log b, log r, log q, log a."""
        return cls(*(exp(value) for value in logs))

    def covariance_between(self, s: Array, t: Array) -> Array:
        """D for budgets s and t, whose shapes are broadcast together; exactly 0 where either is exactly 1."""

        def e(u: Array | float) -> Array:
            return np.asarray((self.b / (u + self.b)) ** self.a)

        D = (e(s + t) - e(s + 1.0)) - (e(1.0 + t) - e(2.0))
        return np.where((s == 1.0) | (t == 1.0), 0.0, D)  # set to 0: powers of arrays and of numbers differ in the last bit

    def covariance(self, k: Array, slope: Array, s: Array, t: Array) -> tuple[Array, Array]:
        """K (m, n) and its slope dk / dr2 (m, n) with what budgets s (m,) and t (n,) add; without the factor s."""
        D = self.covariance_between(s[:, None], t)
        own = 1.0 + self.r * D
        return k * own + self.q * D, slope * own

    def variance(self, t: Array) -> Array:
        """(n,) what budgets t add to the variance of f, in units of that at the horizon."""
        return np.asarray((self.r + self.q) * self.covariance_between(t, t))


class Budgets:
    """The budgets of the rows of a fit, prepared once. There are few different budgets, so sums over pairs of rows are
    computed per pair of budgets first."""

    def __init__(self, t: Array) -> None:
        self.u, self.of = np.unique(t, return_inverse=True)  # the budgets, and the number (n,) of each row's
        i, j = np.triu_indices(len(t), 1)
        self.pairs = self.of[i] * len(self.u) + self.of[j]  # (p,) the number of each pair's budgets

    def at(self, logs: Array) -> Decayed:
        """With log b, log r, log q, log a."""
        return Decayed(self, Decay.of(logs))


class Decayed:
    """How the budgets of a fit change covariances, at given parameters; all without the factor s."""

    def __init__(self, budgets: Budgets, decay: Decay) -> None:
        self.budgets, self.decay = budgets, decay
        self.D = decay.covariance_between(budgets.u[:, None], budgets.u)

    def covariance(self, K: Array, steep: Array) -> tuple[Array, Array, Array]:
        """Of pairs (p,): K and its slope with what budgets add; and the variance (n,) of every row."""
        D, decay = self.D.ravel()[self.budgets.pairs], self.decay
        own = 1.0 + decay.r * D
        return K * own + decay.q * D, steep * own, 1.0 + ((decay.r + decay.q) * np.diag(self.D))[self.budgets.of]

    def gradient(self, K: Array, pairs: Array, rows: Array) -> tuple[float, Array]:
        """Of sum_pairs w_ij cov_ij + sum_rows w_i var_i, with weights (p,) and (n,): by log b, and by log r, log q, log a.

        K (p,) is the covariance without budgets.
        """
        r, q, l = self.decay.r, self.decay.q, len(self.budgets.u)
        own = np.bincount(self.budgets.pairs, pairs * K, l * l).reshape(l, l)  # of r D, over pairs of budgets
        shared = np.bincount(self.budgets.pairs, pairs, l * l).reshape(l, l)  # of q D
        both = np.diag(np.bincount(self.budgets.of, rows, l))
        by_D = r * (own + both) + q * (shared + both)
        by_b, by_a = (float((by_D * slope).sum()) for slope in self._slopes())
        amounts = [r * float(((own + both) * self.D).sum()), q * float(((shared + both) * self.D).sum())]
        return by_b, np.array([*amounts, by_a])

    def _slopes(self) -> tuple[Array, Array]:
        """dD / d log b and dD / d log a, (l, l)."""
        u, a, b = self.budgets.u, self.decay.a, self.decay.b

        def slopes(budgets: Array) -> tuple[Array, Array]:
            share = b / (budgets + b)
            e = share**a
            return a * e * (1.0 - share), a * e * np.log(share)

        whole, edge, corner = slopes(u[:, None] + u), slopes(u + 1.0), slopes(np.full(1, 2.0))
        by_b, by_a = (W - E[:, None] - E + c for W, E, c in zip(whole, edge, corner, strict=True))
        return by_b, by_a
