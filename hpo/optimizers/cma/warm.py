"""A first distribution from results: warm-start CMA-ES.

Source: Nomura, Watanabe, Akimoto, Ozaki, Onishi 2021, "Warm starting CMA-ES for hyperparameter optimization",
arXiv:2012.06932, section 4: the normal distribution that is nearest, in Kullback-Leibler divergence, to a mixture of
normal distributions of standard deviation ALPHA around the best share GAMMA of the results. Faithful: both constants, and
that one best result is needed at least. What is ours: the probabilities of choices, which the paper does not have.
"""

from __future__ import annotations

import numpy as np

from hpo.optimizers.cma.choices import with_margin
from hpo.optimizers.cma.joint import Coordinates, Joint

GAMMA = 0.1  # the share of the results that is read
ALPHA = 0.1  # of the range: how far the optimum may lie from one of them
ENOUGH = 10  # results, so that there is one in the best share


def promising_region(X: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """(mean (n,), sigma, C (n, n)) of points X (m, n), m >= 1; C has the determinant 1."""
    m, n = X.shape
    mean = X.mean(axis=0)
    covariance = ALPHA**2 * np.eye(n) + X.T @ X / m - np.outer(mean, mean)
    sign, log = np.linalg.slogdet(covariance)
    assert sign > 0, "a covariance with ALPHA^2 on its diagonal is positive"
    sigma = float(np.exp(log / (2 * n)))
    return mean, sigma, covariance / sigma**2


def frequencies(C: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Of each of k columns of indices C (m, k) the smoothed shares (count + 1) / (m + K), of what is not NaN."""
    found = []
    for column, size in zip(C.T, sizes, strict=True):
        count = np.bincount(column[~np.isnan(column)].astype(int), minlength=size)
        found.append((count + 1) / (count.sum() + size))
    return list(with_margin(found)) if found else []


def warm_start(at: Coordinates, rows: np.ndarray, sigma: float) -> Joint:
    """The distribution for the best rows (m, d) of at least ENOUGH results, best first: of their best share. An inactive
    number counts as the middle of its range; sigma is what C is scaled by where there are no numbers."""
    best = rows[: max(int(GAMMA * len(rows)), 1)]
    X, C = at.split(best)
    q = frequencies(C, at.sizes)
    if not len(at.numeric):
        return Joint.begin(at, np.zeros(0), sigma, q=q)
    return Joint.begin(at, *promising_region(np.where(np.isnan(X), 0.5, X)), q=q)
