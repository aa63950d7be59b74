"""Cholesky factors that never fail silently: escalating, reported jitter; growing by rows; one BLAS thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from math import sqrt
from threading import local
from typing import Any, ParamSpec, TypeVar

import numpy as np
from scipy.linalg.blas import dsyr, dtrmm, dtrsv
from scipy.linalg.lapack import dlauum, dpotrf, dpotri, dtrtri, dtrtrs

from surrogates.domain import Array

P = ParamSpec("P")
T = TypeVar("T")

JITTERS = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the mean of the diagonal
# Bytes. Once an array of this size was freed, glibc keeps what smaller ones free, and does not ask the system for it again
# page by page: a seventh of a fit of 500 rows. It is the largest size of which it takes notice.
KEPT = (32 << 20) - (1 << 16)
WHOLE, HALVED = 256, 64  # rows: a matrix of more than WHOLE is inverted by halves, down to HALVED
LEAST = 1e-14  # of its prior variance: what is left of a row that the rows before it explain entirely

_limited = local()  # .already: this thread runs inside a limited call


@lru_cache(maxsize=1)
def _controller() -> Any:
    """The controller of BLAS threads, None without threadpoolctl. Made once per process, with the large array of KEPT."""
    np.empty(KEPT, dtype=np.uint8)
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` on one BLAS thread (where threadpoolctl is installed).

    Small matrices are faster so, and sums are taken in the same order whatever the machine's default.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        controller = _controller()
        if controller is None or getattr(_limited, "already", False):  # nested: setting it again costs 50 microseconds
            return function(*args, **kwargs)
        _limited.already = True
        try:
            with controller.limit(limits=1, user_api="blas"):
                return function(*args, **kwargs)
        finally:
            _limited.already = False

    return limited


def cholesky(K: Array) -> tuple[Array, float]:
    """Lower factor L (n, n) with L L' = K + jitter I, and the absolute jitter that it took (0.0 as a rule).

    Raises ValueError when K is not finite, which no jitter repairs.
    """
    if len(K) == 0:
        return np.zeros((0, 0)), 0.0
    unit = float(np.mean(np.diag(K))) or 1.0
    for step in JITTERS:
        L, info = dpotrf(_with_jitter(K, step * unit), lower=1, clean=1, overwrite_a=1)
        if info == 0 and np.isfinite(L[-1, -1]):
            return L, step * unit
        if not np.isfinite(K).all():
            raise ValueError("the covariance matrix holds values that are not finite")
    # Gershgorin: a diagonal above the absolute row sums is positive definite, whatever K was.
    jitter = float(np.abs(K).sum(axis=1).max()) * 2.0 + 1.0
    L, _ = dpotrf(_with_jitter(K, jitter), lower=1, clean=1, overwrite_a=1)
    return L, jitter


def _with_jitter(K: Array, jitter: float) -> Array:
    A = np.array(K.T, order="F")  # K is symmetric, and the transpose of a C-ordered matrix is copied without a stride
    if jitter:
        A[np.diag_indices(len(A))] += jitter
    return A


def inverse_upper(L: Array) -> Array:
    """(L L')^-1 as a C-ordered (n, n) matrix of which only the upper triangle and diagonal are meaningful."""
    A, _ = dpotri(L, lower=1) if len(L) <= WHOLE else dlauum(_inverse_lower(L), lower=1, overwrite_c=1)
    return A.T  # type: ignore[no-any-return]


def _inverse_lower(L: Array) -> Array:
    """L^-1 by halves, [[A, 0], [B, C]]^-1 = [[A^-1, 0], [-C^-1 B A^-1, C^-1]]: OpenBLAS's own takes twice as long."""
    n, h = len(L), len(L) // 2
    if n <= HALVED:
        return dtrtri(L, lower=1)[0]  # type: ignore[no-any-return]
    inverse = np.zeros((n, n), order="F")
    A, C = _inverse_lower(L[:h, :h]), _inverse_lower(L[h:, h:])
    B = dtrmm(-1.0, C, L[h:, :h], lower=1)
    inverse[:h, :h], inverse[h:, h:], inverse[h:, :h] = A, C, dtrmm(1.0, A, B, side=1, lower=1, overwrite_b=1)
    return inverse


def subtract_outer(A: Array, a: Array) -> Array:
    """A - a a' in place, of which the upper triangle and diagonal are meaningful; A (n, n) is C-ordered."""
    return dsyr(-1.0, a, a=A.T, lower=1, overwrite_a=1).T  # type: ignore[no-any-return]


def solve_lower(L: Array, B: Array, transposed: bool = False) -> Array:
    """L^-1 B, or L'^-1 B when transposed. B is (n,) or (n, m)."""
    if len(L) == 0 or B.size == 0:
        return np.array(B, dtype=float)
    if B.ndim == 1:
        return dtrsv(L, B, lower=1, trans=int(transposed))  # type: ignore[no-any-return]
    return dtrtrs(L, B, lower=1, trans=int(transposed))[0]  # type: ignore[no-any-return]


def append_rows(L: Array, B: Array, C: Array) -> tuple[Array, float]:
    """Factor of [[L L', B], [B', C]] from the factor L (n, n), B (n, m), C (m, m); O(n^2 m), and the jitter it took."""
    V = solve_lower(L, B)  # (n, m)
    S, jitter = cholesky(C - V.T @ V)
    return join(L, V, S), jitter


def join(L: Array, V: Array, S: Array) -> Array:
    """[[L, 0], [V', S]] as one lower factor (n + m, n + m)."""
    n, m = V.shape
    grown = np.zeros((n + m, n + m), order="F")
    grown[:n, :n], grown[n:, :n], grown[n:, n:] = L, V.T, S
    return grown


@dataclass(frozen=True, eq=False)
class Factor:
    """A Cholesky factor that grows row by row from a block that was factored at once: [[base, 0], [V', S]].

    base (b, b), V (b, m), S (m, m). Every row is appended by itself, so that the bits depend on the rows and b only,
    not on how many were appended in a call: a factor that lived through a study equals the one rebuilt from its log.
    """

    base: Array
    V: Array
    S: Array
    jitter: float  # the most that any part took

    @classmethod
    def of(cls, C: Array) -> Factor:
        """The factor of a whole matrix."""
        return cls.whole(*cholesky(C))

    @classmethod
    def whole(cls, L: Array, jitter: float) -> Factor:
        """A lower factor as the base of one that grows."""
        return cls(L, np.zeros((len(L), 0)), np.zeros((0, 0)), jitter)

    def grow(self, B: Array, C: Array) -> Factor:
        """With m more rows: B (n, m) covariances with the rows so far, C (m, m) among them; O(n^2) a row."""
        b, n, m = len(self.base), len(self.base) + len(self.S), len(C)
        V = np.empty((b, n - b + m), order="F")
        S = np.zeros((n - b + m, n - b + m), order="F")
        V[:, : n - b], S[: n - b, : n - b] = self.V, self.S
        jitter = self.jitter
        for i in range(m):
            j = n - b + i  # the new row's place behind the base
            V[:, j] = solve_lower(self.base, B[:b, i])
            c = np.concatenate([B[b:, i], C[:i, i]])
            s = solve_lower(np.asfortranarray(S[:j, :j]), c - V[:, :j].T @ V[:, j])
            S[j, :j] = s
            left, least = float(C[i, i] - V[:, j] @ V[:, j] - s @ s), LEAST * float(C[i, i])
            S[j, j], jitter = sqrt(max(left, least)), max(jitter, least - left)
        return Factor(self.base, V, S, jitter)

    @cached_property
    def L(self) -> Array:
        """The whole lower factor (n, n)."""
        return self.base if len(self.S) == 0 else join(self.base, self.V, self.S)
