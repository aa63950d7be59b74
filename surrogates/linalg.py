"""Cholesky factors that never fail silently: escalating, reported jitter; growing by rows; one BLAS thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from threading import local
from typing import Any, ParamSpec, TypeVar

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri

from surrogates.domain import Array

P = ParamSpec("P")
T = TypeVar("T")

JITTERS = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the mean of the diagonal


_limited = local()  # .already: this thread runs inside a limited call


@lru_cache(maxsize=1)
def _controller() -> Any:
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
    n = len(K)
    if n == 0:
        return np.zeros((0, 0)), 0.0
    if not np.isfinite(K).all():
        raise ValueError("the covariance matrix holds values that are not finite")
    unit = float(np.mean(np.diag(K))) or 1.0
    for step in JITTERS:
        L, info = dpotrf(_with_jitter(K, step * unit), lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return L, step * unit
    # Gershgorin: a diagonal above the absolute row sums is positive definite, whatever K was.
    jitter = float(np.abs(K).sum(axis=1).max()) * 2.0 + 1.0
    L, _ = dpotrf(_with_jitter(K, jitter), lower=1, clean=1, overwrite_a=1)
    return L, jitter


def _with_jitter(K: Array, jitter: float) -> Array:
    A = np.array(K, order="F")
    if jitter:
        A[np.diag_indices(len(A))] += jitter
    return A


def inverse_upper(L: Array) -> Array:
    """(L L')^-1 as a C-ordered (n, n) matrix of which only the upper triangle and diagonal are meaningful."""
    A, _ = dpotri(L, lower=1)
    return A.T  # type: ignore[no-any-return]


def solve_lower(L: Array, B: Array, transposed: bool = False) -> Array:
    """L^-1 B, or L'^-1 B when transposed. B is (n,) or (n, m)."""
    if len(L) == 0:
        return np.array(B, dtype=float)
    return solve_triangular(L, B, lower=True, trans=1 if transposed else 0, check_finite=False)  # type: ignore[no-any-return]


def append_rows(L: Array, B: Array, C: Array) -> tuple[Array, float]:
    """Factor of [[L L', B], [B', C]] from the factor L (n, n), B (n, m), C (m, m); O(n^2 m), and the jitter it took."""
    n, m = B.shape
    V = solve_lower(L, B)  # (n, m)
    S, jitter = cholesky(C - V.T @ V)
    grown = np.zeros((n + m, n + m), order="F")
    grown[:n, :n], grown[n:, :n], grown[n:, n:] = L, V.T, S
    return grown, jitter
