"""Knowledge gradient: how much lower the least posterior mean is expected to be after x is observed.

Notation     A (k, d)  rows that may be recommended: promising told rows, pending rows, minima of the posterior mean, and
                       of functions drawn from the posterior
             s_i(x) = c(x, a_i) / sqrt(var(x) + v)   how the mean at a_i moves with the standardised outcome Z at x
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import ClassVar

import numpy as np

from surrogates.acquisitions.context import Context
from surrogates.acquisitions.expected_maximum import log_gain
from surrogates.acquisitions.minima import minima_of_mean, places_of_minima
from surrogates.domain import Array
from surrogates.gp import GaussianProcess
from surrogates.linalg import one_thread
from surrogates.posterior import Probe, covariances_with

SAME = 1.0 - 1e-4  # about a hundredth of a length scale: lines of such rows differ by little more than rounding


@dataclass(frozen=True)
class KG:
    """log of  min_A mean - E[min over A and x of the mean after observing x]  (Scott, Frazier, Powell 2011).

    Discrete in what may be recommended, A and x itself, exact in everything else: the expectation is that of a
    piecewise linear function (Frazier et al. 2009). Unlike in Scott's definition the mean at x is not in the first minimum,
    which keeps the score smooth where x becomes the best; where A holds the minimum of the mean, that is no difference.
    Pending rows are hallucinated.

    Recommending from A alone, the score is as close to the knowledge gradient of the whole domain as A comes to the minima
    that the mean may get. Few of these are at told rows: A holds places where f itself may be least.

    most, minima, draws  told rows, minima of the posterior mean, and minima of drawn functions in A, at most
    """

    most: int = 16
    minima: int = 4
    draws: int = 32

    log_scale: ClassVar[bool] = True

    @one_thread
    def score(self, context: Context) -> KGScore:
        """Computes A, and everything that depends on A alone."""
        gp = context.hallucinated_gp
        lowest, possible = minima_of_mean(gp, context, self.minima), places_of_minima(gp, context, self.draws)
        rows = np.concatenate([lowest, context.best_rows(self.most), context.pending_rows, possible])
        return KGScore(gp, distant_rows(gp, rows))


def distant_rows(gp: GaussianProcess, rows: Array) -> Array:
    """The rows without those whose prior correlation with an earlier one is more than SAME."""
    F = gp.features(rows)
    near = gp.covariance(F, F)[0] > SAME * exp(gp.theta.log_outputscale)
    kept: list[int] = []
    for i in range(len(rows)):
        if not near[i, kept].any():
            kept.append(i)
    return np.asarray(rows[kept])


class KGScore:
    """The score of rows."""

    log_scale = True

    def __init__(self, gp: GaussianProcess, A: Array) -> None:
        self.gp, self.noise = gp, exp(gp.theta.log_noise)
        self.means = gp.mean(A)  # (k,)
        self._functionals = covariances_with(gp, A)[0]

    def __call__(self, X: Array) -> Array:
        """(m,) log of the knowledge gradient."""
        return self._value(self._functionals.at(X))[0]

    def gradient(self, X: Array) -> tuple[Array, Array]:
        """With derivatives (m, d): by the envelope theorem the breakpoints may be held."""
        probe = self._functionals.at(X)
        value, by_mean, by_slope = self._value(probe)
        sd = np.sqrt(probe.variance + self.noise)
        by_cross, by_own = by_slope[:, :-1] / sd[:, None], by_slope[:, -1] / sd
        by_sd = -((by_cross * probe.cross).sum(axis=1) + by_own * probe.variance) / sd
        return value, probe.pull(by_mean, by_own + by_sd / (2.0 * sd), by_cross)

    def _value(self, probe: Probe) -> tuple[Array, Array, Array]:
        """log KG (m,), and its derivatives by the mean at x (m,) and by the slopes of A and x, (m, k + 1).

        KG = (E[max of the lines] - max of their intercepts) + (how far the mean at x is below those of A)+.
        """
        sd = np.sqrt(probe.variance + self.noise)
        a = -np.column_stack([np.broadcast_to(self.means, probe.cross.shape), probe.mean])
        b = np.column_stack([probe.cross, probe.variance]) / sd[:, None]
        gain, by_a, by_b = log_gain(a, b)
        lead = np.maximum(self.means.min() - probe.mean, 0.0)
        log_lead = np.log(lead, out=np.full_like(lead, -np.inf), where=lead > 0)
        value = np.logaddexp(gain, log_lead)
        share = np.exp(gain - value)  # of the first part
        by_lead = np.exp(np.where(lead > 0, -value, -np.inf))
        return value, -share * by_a[:, -1] - by_lead, share[:, None] * by_b
