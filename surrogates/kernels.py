"""Stationary kernels with one length scale a column, over mixed and conditional columns.

    K_ij = s k(r_ij^2),   r_ij^2 = sum_c D_cij / l_c^2,   D_cij = (z_ic - z_jc)^2   for float and int columns
                                                          D_cij = 1[z_ic != z_jc]   for categorical columns

Notation
    n, m, d   training rows, query rows, columns          D   differences of pairs, as above
    Z         (n, d) features (domain.features)           r2  scaled squared distances, any shape
    l = exp(log_l)  (d,) length scales                    k   values of the unit kernel; slope = dk / d r2
    pairs     i < j in row-major order, n(n-1)/2 of them  W   a symmetric (n, n) matrix of weights

Positive semi-definite by construction: sqrt(D_c) is a Euclidean distance in every column (of numbers on a line; of
one-hot vectors over sqrt 2), so r is the Euclidean distance between images of rows in some R^p, and Matern and RBF are
mixtures of Gaussians, hence positive definite on every R^p (Schoenberg 1938). Nothing here asks where a row comes from,
so conditional rows are covered too: an inactive column has one canonical feature (0.5, or a category of its own) and
adds nothing between two rows in which it is inactive. Between an active and an inactive row it adds how far the active
value is from the canonical one; that an active 0.5 adds nothing does no harm, because the parent column differs
there and separates the rows. Ints are snapped before they get here: the model is flat where the decoded value is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist, pdist

from surrogates.domain import Array, Mask

Kernel = Callable[[Array], tuple[Array, Array]]  # r2 -> (k, dk/dr2)


def matern52(r2: Array) -> tuple[Array, Array]:
    """k = (1 + a + a^2/3) e^-a with a = sqrt(5 r2); Rasmussen & Williams 2006, eq. 4.17. dk/dr2 = -5/6 (1 + a) e^-a."""
    b = np.multiply(5.0, r2)  # in place from here on: the kernel is half the cost of a fit, and memory half of that
    np.sqrt(b, out=b)
    k = np.negative(b)
    np.exp(k, out=k)
    b += 1.0
    b *= k
    k *= r2
    k *= 5.0 / 3.0
    k += b
    b *= -5.0 / 6.0
    return k, b


def matern32(r2: Array) -> tuple[Array, Array]:
    """k = (1 + a) e^-a with a = sqrt(3 r2); Rasmussen & Williams 2006, eq. 4.17. dk/dr2 = -3/2 e^-a."""
    a = np.sqrt(3.0 * r2)
    e = np.exp(-a)
    return (1.0 + a) * e, -1.5 * e


def rbf(r2: Array) -> tuple[Array, Array]:
    """k = e^(-r2/2); Rasmussen & Williams 2006, eq. 4.9. dk/dr2 = -k/2."""
    k = np.exp(-0.5 * r2)
    return k, -0.5 * k


KERNELS: dict[str, Kernel] = {"matern52": matern52, "matern32": matern32, "rbf": rbf}


class Pairs:
    """All pairs of the rows Z (n, d), prepared once a fit: their distances, and derivatives of weighted sums of them.

    Numbers are kept as columns, not as n(n-1)/2 differences each: 24 MB less to read for n = 1000 and d = 6, and a
    sum over pairs becomes one matrix product.
    """

    def __init__(self, Z: Array, categorical: Mask) -> None:
        self.n, self.numeric, self.categorical = len(Z), ~categorical, categorical
        self.Z = np.ascontiguousarray(Z[:, self.numeric])
        if self.n:
            self.Z = self.Z - self.Z.mean(axis=0)  # small numbers cancel less in `sums`
        columns = np.flatnonzero(categorical)
        self.H = np.array([_mismatch(Z[:, c : c + 1]) for c in columns]).reshape(len(columns), self.n * (self.n - 1) // 2)

    def r2(self, log_l: Array) -> Array:
        """(pairs,) sum_c D_c / l_c^2."""
        if self.n < 2:
            return np.zeros(0)
        weights = np.exp(-2.0 * log_l[self.categorical])
        if self.Z.shape[1] == 0:
            return np.asarray(weights @ self.H)
        r2 = pdist(self.Z * np.exp(-log_l[self.numeric]), "sqeuclidean")
        return np.asarray(r2 + weights @ self.H) if len(weights) else np.asarray(r2)

    def sums(self, W: Array, pairs: Array) -> Array:
        """(d,) sum over pairs of W_ij D_ijc; `pairs` (n(n-1)/2,) is W (n, n, diagonal 0) pair by pair."""
        found = np.empty(len(self.numeric))
        Z = self.Z
        found[self.numeric] = W.sum(axis=1) @ (Z * Z) - np.einsum("nd,nd->d", Z, W @ Z)
        found[self.categorical] = self.H @ pairs
        return found


def _mismatch(column: Array) -> Array:
    return np.asarray(pdist(column, "hamming")) if len(column) > 1 else np.zeros(0)


def distances(A: Array, B: Array, log_l: Array, categorical: Mask) -> Array:
    """r2 (m, n) between the features A (m, d) and B (n, d)."""
    inverse = np.exp(-log_l)  # (d,) 1 / l
    if not categorical.any() and len(log_l):
        return np.asarray(cdist(A * inverse, B * inverse, "sqeuclidean"))
    numeric = ~categorical
    if not numeric.any():
        r2 = np.zeros((len(A), len(B)))
    else:
        r2 = cdist(A[:, numeric] * inverse[numeric], B[:, numeric] * inverse[numeric], "sqeuclidean")
    for c in np.flatnonzero(categorical):
        r2 += (A[:, c, None] != B[:, c]) * inverse[c] ** 2
    return r2


def contract_x(W: Array, A: Array, B: Array, log_l: Array, categorical: Mask) -> Array:
    """sum_i W_ai d r2(a, b_i) / d a, (m, d), where d r2 / d a_c = 2 (a_c - b_ic) / l_c^2; 0 at categorical columns.

    W is (m, n). Two matrix products instead of an (m, n, d) tensor.
    """
    scale = np.where(categorical, 0.0, 2.0 * np.exp(-2.0 * log_l))
    return np.asarray((A * W.sum(axis=1, keepdims=True) - W @ B) * scale)
