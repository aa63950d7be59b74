"""Scaled squared distances between rows of mixed and conditional columns, and the derivatives of sums over them.

    r_ij^2 = sum_c D_cij / l_c^2,   D_cij = |e_ic - e_jc|^2   for float and int columns
                                    D_cij = 1[z_ic != z_jc]   for categorical columns

Notation
    n, m, d   training rows, query rows, columns          D   differences of pairs, as above
    Z         (n, d) features (domain.features)           r2  scaled squared distances, any shape
    E         (n, e) their coordinates (columns.py); e_ic is z_ic itself in a column that is always active
    l = exp(log_l)  (d,) length scales                    W   a symmetric (n, n) matrix of weights
    pairs     i < j in row-major order, n(n-1)/2 of them

sqrt(D_c) is a Euclidean distance in every column (of numbers on a line, or on an arc about the origin; of one-hot vectors
over sqrt 2), so r is the Euclidean distance between images of rows in some R^p: kernels of r that are positive definite on
every R^p (kernels.py) are so on rows. Conditional rows are covered too: a column adds nothing between two rows in which it
is inactive, and the same between an active and an inactive one whatever the active value. Ints are snapped before they get
here: the model is flat where the decoded value is.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist

from surrogates.columns import Array, Columns


class Pairs:
    """All pairs of the rows Z (n, d), prepared once a fit: their distances, and derivatives of weighted sums of them.

    Numbers are kept as coordinates, not as n(n-1)/2 differences each: 24 MB less to read for n = 1000 and d = 6, and a
    sum over pairs becomes one matrix product.
    """

    def __init__(self, Z: Array, columns: Columns) -> None:
        self.n, self.columns = len(Z), columns
        self.E = np.ascontiguousarray(columns.embed(Z))
        if self.n:
            self.E = self.E - self.E.mean(axis=0)  # small numbers cancel less in `sums`
        choices = np.flatnonzero(columns.categorical)
        self.H = np.array([_mismatch(Z[:, c : c + 1]) for c in choices]).reshape(len(choices), self.n * (self.n - 1) // 2)

    def r2(self, log_l: Array) -> Array:
        """(pairs,) sum_c D_c / l_c^2."""
        if self.n < 2:
            return np.zeros(0)
        weights = np.exp(-2.0 * log_l[self.columns.categorical])
        if self.E.shape[1] == 0:
            return np.asarray(weights @ self.H)
        r2 = pdist(self.E * np.exp(-log_l[self.columns.owners]), "sqeuclidean")
        return np.asarray(r2 + weights @ self.H) if len(weights) else np.asarray(r2)

    def sums(self, W: Array, pairs: Array) -> Array:
        """(d,) sum over pairs of W_ij D_ijc; `pairs` (n(n-1)/2,) is W (n, n, diagonal 0) pair by pair."""
        E = self.E
        found = self.columns.total(W.sum(axis=1) @ (E * E) - np.einsum("ne,ne->e", E, W @ E))
        found[self.columns.categorical] = self.H @ pairs
        return found


def _mismatch(column: Array) -> Array:
    return np.asarray(pdist(column, "hamming")) if len(column) > 1 else np.zeros(0)


def distances(A: Array, B: Array, log_l: Array, columns: Columns) -> Array:
    """r2 (m, n) between the features A (m, d) and B (n, d)."""
    inverse, of = np.exp(-log_l), columns.owners  # (d,) 1 / l
    if not len(of):
        r2 = np.zeros((len(A), len(B)))
    else:
        r2 = np.asarray(cdist(columns.embed(A) * inverse[of], columns.embed(B) * inverse[of], "sqeuclidean"))
    for c in np.flatnonzero(columns.categorical):
        r2 += (A[:, c, None] != B[:, c]) * inverse[c] ** 2
    return r2


def contract_x(W: Array, A: Array, B: Array, log_l: Array, columns: Columns) -> Array:
    """sum_i W_ai d r2(a, b_i) / d a, (m, d), by the features a; 0 at choices and inactive columns.

    d r2 / d e = 2 (e - e_i) / l^2 in every coordinate. W is (m, n). Two matrix products instead of an (m, n, d) tensor.
    """
    E = columns.embed(A)
    by_coordinates = (E * W.sum(axis=1, keepdims=True) - W @ columns.embed(B)) * (2.0 * np.exp(-2.0 * log_l[columns.owners]))
    return columns.pull(A, by_coordinates)
