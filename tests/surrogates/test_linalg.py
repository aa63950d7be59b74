"""Inverses by halves, and memory that is kept between fits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg.lapack import dpotri

from surrogates.linalg import HALVED, WHOLE, cholesky, inverse_upper


def covariance(n: int, seed: int = 0) -> np.ndarray:
    A = np.random.default_rng(seed).normal(size=(n, n))
    return A @ A.T + 0.1 * n * np.eye(n)


@pytest.mark.parametrize("n", [1, 2, HALVED, WHOLE, WHOLE + 1, 2 * WHOLE + 1, 700])
def test_the_inverse_by_halves_is_the_inverse(n: int) -> None:
    K = covariance(n)
    L = cholesky(K)[0]
    kept = L.copy()
    found = inverse_upper(L)
    np.testing.assert_array_equal(L, kept)
    np.testing.assert_allclose(np.triu(found), np.triu(np.linalg.inv(K)), rtol=1e-9, atol=1e-12 * np.abs(found).max())
    if n <= WHOLE:
        np.testing.assert_array_equal(np.triu(found), np.tril(dpotri(L, lower=1)[0]).T)


MEMORY = """
import resource
import numpy as np
from surrogates import Domain, fit

d = 6
domain = Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)
X = domain.random(np.random.default_rng(0), 500)
y = np.sin(5 * X).sum(axis=1)
for seed in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fit(X, y, domain, seed)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have rules of their own")
def test_a_second_fit_asks_the_system_for_no_memory() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}  # such as Dask's own
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, env=env).stdout.split()
    first, second = map(int, found)
    assert second < first / 10
    assert second < 500  # pages; without memory that is kept it is some 15,000
