"""Stationary kernels with one length scale a column, over mixed and conditional columns.

    K_ij = s k(r_ij^2),   r_ij^2 = sum_c D_cij / l_c^2,   D_cij = (z_ic - z_jc)^2   for float and int columns
                                                          D_cij = 1[z_ic != z_jc]   for categorical columns

Notation
    n, m, d   training rows, query rows, columns          D   (d, n(n-1)/2) differences, pairs i < j in row-major order
    Z         (n, d) features (domain.features)           r2  scaled squared distances, any shape
    l = exp(log_l)  (d,) length scales                    k   values of the unit kernel; slope = dk / d r2

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
    a = np.sqrt(5.0 * r2)
    e = np.exp(-a)
    b = (1.0 + a) * e
    return b + (5.0 / 3.0) * r2 * e, (-5.0 / 6.0) * b


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


def pair_differences(Z: Array, categorical: Mask) -> Array:
    """D (d, n(n-1)/2): the difference of every pair i < j in every column, to be computed once a fit."""
    n, d = Z.shape
    D = np.empty((d, n * (n - 1) // 2))
    for c in range(d):
        D[c] = pdist(Z[:, c : c + 1], "hamming" if categorical[c] else "sqeuclidean") if n > 1 else 0.0
    return D


def distances(A: Array, B: Array, log_l: Array, categorical: Mask) -> Array:
    """r2 (m, n) between the features A (m, d) and B (n, d)."""
    numeric = ~categorical
    inverse = np.exp(-log_l)  # (d,) 1 / l
    if not numeric.any():
        r2 = np.zeros((len(A), len(B)))
    else:
        r2 = cdist(A[:, numeric] * inverse[numeric], B[:, numeric] * inverse[numeric], "sqeuclidean")
    for c in np.flatnonzero(categorical):
        r2 += (A[:, c, None] != B[:, c]) * inverse[c] ** 2
    return r2


def contract_theta(W: Array, D: Array, log_l: Array) -> Array:
    """sum over pairs of W d r2 / d log l_c, (d,), where d r2 / d log l_c = -2 D_c / l_c^2. W is (n(n-1)/2,).

    With W = 2 G s slope over pairs i < j it gives sum_ij G_ij dK_ij / d log l_c for a symmetric G: the diagonal of K
    does not depend on l. dK / d log s is K itself.
    """
    return np.asarray(-2.0 * np.exp(-2.0 * log_l) * (D @ W))


def contract_x(W: Array, A: Array, B: Array, log_l: Array, categorical: Mask) -> Array:
    """sum_i W_ai d r2(a, b_i) / d a, (m, d), where d r2 / d a_c = 2 (a_c - b_ic) / l_c^2; 0 at categorical columns.

    W is (m, n). Two matrix products instead of an (m, n, d) tensor.
    """
    scale = np.where(categorical, 0.0, 2.0 * np.exp(-2.0 * log_l))
    return np.asarray((A * W.sum(axis=1, keepdims=True) - W @ B) * scale)
