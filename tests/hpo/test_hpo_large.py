"""Large studies: what a model is made of, what an ask needs in memory, and that it replays."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from experiments.large import large_study
from hpo import Result
from hpo.optimizers.gp.fits import MORE, MOST, select_subset, subset_at
from hpo.optimizers.gp.observations import list_readable
from surrogates import Domain, GaussianProcess, Hyperparameters, isolation
from surrogates.columns import Columns
from surrogates.transform import WIDTH


@pytest.mark.parametrize("due", [False, True])
def test_an_ask_needs_no_square_of_all_results(due: bool) -> None:
    n = 5000
    optimizer = large_study(n, 3, due)
    for _ in range(5):  # one of them looks at another part of the space
        tracemalloc.start()
        job = optimizer.ask()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100e6, "a square of all results is 200e6 bytes, and was made three times"
        optimizer.tell(job, 0.5)  # type: ignore[arg-type]


def test_a_large_study_replays() -> None:
    """A model that lived through the study proposes what one that is made anew does, also where rows are chosen anew."""
    optimizer = large_study(MOST + MORE - 3, 2)
    for _ in range(7):
        fresh = large_study(0, 2).decide(optimizer.history.prefix(len(optimizer.history)))
        job = optimizer.ask()
        assert job == fresh
        optimizer.tell(job, float(sum(job.config.values())))  # type: ignore[arg-type, union-attr]


@given(st.integers(1, 4 * MOST), st.integers(1, 4 * MOST))
@settings(max_examples=100, deadline=None)
def test_what_a_model_is_made_of(n: int, fitted: int) -> None:
    z = np.sin(np.arange(n) * 12.9898) * 43758.5453 % 1.0
    used, core = subset_at(z, fitted)
    assert (np.diff(used) > 0).all() and used[-1] == n - 1 and core <= MOST
    base = min(fitted, n)
    if n <= MOST:
        assert len(used) == n and core == base
    else:
        assert len(used) < MOST + MORE or base == n
    assert set(select_subset(z[: used[core] if core < len(used) else n])) == set(used[:core])


def crowded(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3))
    X[: n // 2] = 0.3 + 0.02 * rng.standard_normal((n // 2, 3))
    X[:, 2] = np.floor(X[:, 2] * 3)
    return rng.permutation(X)


def test_isolation_is_exact_in_a_small_study_and_near_it_in_a_large_one() -> None:
    columns = Columns(np.array([False, False, True]), np.zeros(3, dtype=bool))
    for n in (1, 2, 900, 4000):
        Z = crowded(n, n)
        r2 = cdist(Z[:, :2], Z[:, :2], "sqeuclidean") + (Z[:, 2][:, None] != Z[:, 2])
        exact = 1.0 / np.exp(-r2 / (2.0 * WIDTH**2 * 3)).sum(axis=1)
        if n <= 1000:
            np.testing.assert_array_equal(isolation(Z, columns), exact)
        else:
            ratio = isolation(Z, columns) / exact
            assert np.quantile(np.abs(np.log(ratio)), 0.9) < np.log(1.6) and abs(np.log(ratio[exact < 0.01]).mean()) < 0.1


def test_moments_in_blocks_are_those_of_the_rows() -> None:
    domain = Domain(("float",) * 2, (None,) * 2, (0,) * 2, ((),) * 2)
    rng = np.random.default_rng(0)
    X, Q = rng.random((30, 2)), rng.random((5000, 2))
    gp = GaussianProcess(domain, X, X.sum(axis=1), Hyperparameters((0.0, 0.0), 0.0, -7.0, 0.0))
    mean, variance = gp.moments(Q)
    np.testing.assert_allclose(gp.mean(Q), mean, rtol=1e-12)
    for i in (0, 2047, 2048, 4999):
        np.testing.assert_allclose([mean[i], variance[i]], np.ravel(gp.moments(Q[i : i + 1])), rtol=1e-9)


def test_what_is_read_again_is_what_is_read_anew() -> None:
    optimizer = large_study(40, 2)
    history = optimizer.history
    running = [optimizer.ask() for _ in range(6)]
    for job in running[::-1]:
        list_readable(history)
        history.finish(job, Result({"loss": 1.0}))  # type: ignore[arg-type]
        assert list_readable(history) == list_readable(history.prefix(len(history)))
