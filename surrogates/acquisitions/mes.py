"""Max-value entropy search, here for minima.

Notation     y*_j (q,)  drawn minima     g = (mean - y*) / sd     R(z) = Phi(z) / phi(z)     r = phi / Phi
             a(g) = g r(g) / 2 - log Phi(g), what one drawn minimum says x would tell about the minimum
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from surrogates.acquisitions.context import Context
from surrogates.acquisitions.marginal import Belief, Score, Scores
from surrogates.acquisitions.minima import minima_of_draws
from surrogates.acquisitions.normal import FAR, LOG_SQRT_2PI, SD_FLOOR, density, log_mean_exp, mills, tail_ratio
from surrogates.domain import Array
from surrogates.linalg import one_thread


@dataclass(frozen=True)
class MES:
    """log of max-value entropy search: what an observation of f(x) tells about min f (Wang & Jegelka 2017, eq. 6).

    The information is in f(x) itself, so noise does not make a known place worthless, as it does for kg and nei.
    Drawn minima are those of `minima` functions from the posterior, descended to. Pending rows are hallucinated.
    """

    minima: int = 16

    log_scale: ClassVar[bool] = True

    @one_thread
    def score(self, context: Context) -> Score:
        """Draws the minima; given them the acquisition is a marginal one."""
        gp = context.hallucinated_gp
        return Score(gp, Information(minima_of_draws(gp, context, self.minima)), context.incumbent)


@dataclass(frozen=True, eq=False)
class Information:
    """log of the mean over drawn minima y* (q,) of a((mean - y*) / sd): the right side of eq. 6."""

    minima: Array

    log_scale: ClassVar[bool] = True

    def __call__(self, posterior: Belief, incumbent: float) -> Array:
        """Does not depend on the incumbent."""
        return self.gradient(posterior, incumbent)[0]

    def gradient(self, posterior: Belief, incumbent: float) -> Scores:
        """d g / d mean = 1 / sd; d g / d sd = -g / sd."""
        sd = np.maximum(posterior.sd, SD_FLOOR)
        g = (posterior.mean[:, None] - self.minima) / sd[:, None]  # (m, q)
        logs, slopes = log_information(g)
        value, weights = log_mean_exp(logs)
        return value, (weights * slopes).sum(axis=1) / sd, -(weights * slopes * g).sum(axis=1) / sd


def log_information(g: Array) -> tuple[Array, Array]:
    """log a(g) and its derivative, any shape, without cancellation anywhere.

    a' = -(r / 2) (1 + g^2 + g r).  For g >= 0 everything is positive once phi is taken out: with Q = Phi(-g),
    a / phi = g / (2 Phi) - log(1 - Q) / phi.  For g < 0 the two parts of a grow as g^2 and leave log |g|: with
    q = 1 + g R (tails.tail_ratio), g r / 2 + g^2 / 2 = g q / (2 R).
    """
    g = np.asarray(g, dtype=float)
    value, slope = np.empty_like(g), np.empty_like(g)
    above = g >= 0
    value[above], slope[above] = _above(g[above])
    value[~above], slope[~above] = _below(g[~above])
    return value, slope


def _above(g: Array) -> tuple[Array, Array]:
    Q, cdf, phi = ndtr(-g), ndtr(g), density(g)
    ratio = -np.log1p(-Q) / np.maximum(Q, 1e-300)  # 1 where Q underflows
    part = g / (2.0 * cdf) + np.where(Q > 0, ratio, 1.0) * mills(-g)
    slope = -(1.0 + g * g + g * phi / cdf) / (2.0 * cdf * part)
    return np.log(part) - 0.5 * g * g - LOG_SQRT_2PI, slope


def _below(g: Array) -> tuple[Array, Array]:
    R = mills(g)
    q = tail_ratio(g, R)
    a = g * q / (2.0 * R) + LOG_SQRT_2PI - np.log(R)
    return np.log(a), -_bracket(g, R, q) / (2.0 * R * a)


def _bracket(g: Array, R: Array, q: Array) -> Array:
    """1 + g^2 + g r = 1 + g q / R, which goes to 2 / g^2: the difference of two series where g is far."""
    u = 1.0 / np.minimum(g, FAR) ** 2
    top = u * (2.0 - u * (12.0 - u * (90.0 - u * (840.0 - u * 9450.0))))
    bottom = 1.0 - u * (1.0 - u * (3.0 - u * (15.0 - u * (105.0 - u * 945.0))))
    return np.where(g <= FAR, top / bottom, 1.0 + g * q / R)
