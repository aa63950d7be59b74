"""Fronts and boxes by counting, EHVI by Monte Carlo and in many digits, NEHVI by other posteriors."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest

from surrogates import EHVI, NEHVI, GaussianProcess, Normal, acquisition, score_of
from surrogates.acquisitions.ehvi import Improvement
from surrogates.acquisitions.normal import log_mean_exp
from surrogates.acquisitions.pareto import boxes, dominators, pareto_front, reference_point, thin_front
from tests.surrogates.contexts import AT_ONE_BUDGET, DOMAINS, box, context, inside


def points(M, k=9, seed=0):
    return np.random.default_rng(seed).random((k, M))


def inside_boxes(low, high, Y):
    """(n,) in how many of the boxes the points Y (n, M) lie."""
    return ((Y[:, None] > low) & (Y[:, None] <= high)).all(axis=-1).sum(axis=1)


def gain(front, reference, Y):
    """(n,) hypervolume improvement of each point Y (n, M), from the boxes."""
    low, high = boxes(front, reference)
    return np.prod(np.clip(high - np.maximum(low, Y[:, None]), 0, None), axis=-1).sum(axis=1)


# --- fronts and boxes -------------------------------------------------------------------------------------------------


def test_dominators_and_front():
    F = np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0], [3.0, 3.0], [0.5, 9.0]])
    np.testing.assert_array_equal(dominators(F), [0, 0, 3, 0, 4, 0])
    np.testing.assert_array_equal(pareto_front(F), [[0.5, 9.0], [1.0, 2.0], [2.0, 1.0]])
    np.testing.assert_array_equal(dominators(np.array([[3.0], [1.0], [2.0], [1.0]])), [3, 0, 2, 0])


def test_reference_point():
    front = np.column_stack([np.arange(5.0), np.arange(5.0)[::-1]])
    far = np.array([[9.0, 9.0]])
    np.testing.assert_allclose(reference_point(np.concatenate([front, far])), [4.4, 4.4])
    np.testing.assert_allclose(reference_point(np.concatenate([front[:4], far])), [9.9, 9.8])  # too few on the front
    np.testing.assert_allclose(reference_point(np.array([[2.0, 3.0]])), [2.1, 3.1])


@pytest.mark.parametrize("M", [1, 2, 3, 4])
def test_boxes_fill_what_is_not_dominated_once(M):
    F, reference = points(M), np.full(M, 0.9)
    low, high = boxes(F, reference)
    Y = np.random.default_rng(1).uniform(-0.5, 1.2, (20_000, M))
    dominated = (F[None] <= Y[:, None]).all(axis=-1).any(axis=1)
    free = ~dominated & (reference >= Y).all(axis=1)
    np.testing.assert_array_equal(inside_boxes(low, high, Y), free.astype(int))
    if M == 2:
        front = pareto_front(F[(reference > F).all(axis=1)])
        assert len(low) == len(front) + 1


def test_without_a_point_below_the_reference_there_is_one_box():
    low, high = boxes(np.array([[2.0, 2.0]]), np.ones(2))
    assert (low == -np.inf).all() and (high == 1).all() and low.shape == (1, 2)


def test_a_thinned_front_keeps_its_ends_and_its_spread():
    angle = np.linspace(0, np.pi / 2, 101)
    front = np.column_stack([1 - np.cos(angle), 1 - np.sin(angle)])
    assert thin_front(front, 101) is front
    few = thin_front(front, 5)
    assert len(few) == 5
    np.testing.assert_array_equal(few[[0, -1]], front[[0, -1]])
    assert np.diff(few[:, 0]).max() < 0.45 and (np.diff(few[:, 0]) > 0).all()
    assert len(thin_front(pareto_front(points(4, 300)), 2)) == 4  # the best in each objective


def test_many_objectives_do_not_explode():
    rng = np.random.default_rng(0)
    improvement = Improvement(list(rng.normal(size=(4, 200, 5))), np.full(5, 3.0))
    assert len(improvement.sides[0].low) < 2 * 4000
    value, _ = improvement.gradient([(rng.normal(size=(3, 4)), np.ones(3)) for _ in range(5)])
    assert np.isfinite(value).all()


# --- EHVI -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("M", [1, 2, 3, 4])
def test_improvement_against_monte_carlo(M):
    rng, reference = np.random.default_rng(2), np.full(M, 1.1)
    front = pareto_front(points(M))
    mean, sd = rng.uniform(0, 1, (6, M)), rng.uniform(0.05, 0.5, (6, M))
    got = np.exp(Improvement([front], reference)([(mean[:, i, None], sd[:, i]) for i in range(M)]))
    for i in range(6):
        drawn = gain(front, reference, mean[i] + sd[i] * rng.standard_normal((20_000, M)))
        assert got[i] == pytest.approx(drawn.mean(), abs=1e-6 + 5 * drawn.std() / np.sqrt(len(drawn)))


def exact_log_ehvi(mean, sd, point, reference):
    """Two objectives and one point on the front: all below the reference less what is above the point, 200 digits."""
    with mpmath.workdps(1200):

        def psi(e, i):
            z = (mpmath.mpf(float(e)) - mpmath.mpf(float(mean[i]))) / mpmath.mpf(float(sd[i]))
            return mpmath.mpf(float(sd[i])) * (mpmath.npdf(z) + z * mpmath.ncdf(z))

        whole = psi(reference[0], 0) * psi(reference[1], 1)
        above = [psi(reference[i], i) - psi(point[i], i) for i in (0, 1)]
        return float(mpmath.log(whole - above[0] * above[1]))


@pytest.mark.parametrize("mean", [(0.5, 0.5), (3.0, 0.2), (5.0, 5.0), (41.0, 0.0), (41.0, 41.0), (-10.0, 41.0)])
def test_log_ehvi_keeps_its_digits_forty_sigma_away(mean):
    front, reference, sd = np.array([[0.3, 0.6]]), np.array([1.0, 1.5]), (1.0, 0.7)
    got = Improvement([front], reference)([(np.array([[m]]), np.array([s])) for m, s in zip(mean, sd, strict=True)])
    assert got[0] == pytest.approx(exact_log_ehvi(mean, sd, front[0], reference), rel=1e-12, abs=1e-11)


def test_improvement_where_points_of_the_front_nearly_touch():
    """Strips 1e-12 wide: their differences have no digits, and the sum keeps its own."""
    wide = np.array([[0.2, 0.8], [0.5, 0.4]])
    fine = np.concatenate([wide, wide + np.array([1e-12, -1e-12])])
    moments = [(np.array([[0.6], [3.0], [40.0]]), np.ones(3)), (np.array([[0.5], [3.0], [2.0]]), np.ones(3))]
    one, two = (Improvement([front], np.ones(2)).gradient(moments) for front in (wide, fine))
    np.testing.assert_allclose(two[0], one[0], rtol=1e-9, atol=1e-9)
    for (by_mean, by_sd), (expected_mean, expected_sd) in zip(two[1], one[1], strict=True):
        np.testing.assert_allclose(by_mean, expected_mean, rtol=1e-7)
        np.testing.assert_allclose(by_sd, expected_sd, rtol=1e-7)


@pytest.mark.parametrize("M", [1, 2, 3])
def test_derivatives_of_improvement_averaged_over_fronts(M):
    rng = np.random.default_rng(3)
    improvement = Improvement([points(M, seed=1), points(M, k=4, seed=2)], np.full(M, 1.1))
    mean, sd = rng.uniform(-1, 3, (5, 2, M)), rng.uniform(0.05, 1.0, (5, M))

    def value(mean, sd):
        return improvement([(mean[:, :, i], sd[:, i]) for i in range(M)])

    _, by = improvement.gradient([(mean[:, :, i], sd[:, i]) for i in range(M)])
    h = 1e-6
    for i in range(M):
        for j in (0, 1):
            step = np.zeros_like(mean)
            step[:, j, i] = h
            numeric = (value(mean + step, sd) - value(mean - step, sd)) / (2 * h)
            np.testing.assert_allclose(by[i][0][:, j], numeric, rtol=1e-6, atol=1e-7)
        step = h * np.eye(M)[i]
        numeric = (value(mean, sd + step) - value(mean, sd - step)) / (2 * h)
        np.testing.assert_allclose(by[i][1], numeric, rtol=1e-6, atol=1e-7)


def test_one_objective_is_expected_improvement_on_the_least_mean():
    s, X = context(box(2)), inside(box(2), 6)
    np.testing.assert_allclose(score_of(EHVI(), s)(X), score_of(acquisition("logei"), s)(X), rtol=1e-12)
    mean, variance = s.gp.predict(X)
    logei = acquisition("logei")(Normal(mean, np.sqrt(variance)), s.incumbent)
    np.testing.assert_allclose(score_of(EHVI(), s)(X), logei, rtol=1e-12)


@pytest.mark.parametrize("M", [2, 3])
def test_ehvi_reads_means_and_the_given_reference(M):
    s = context(box(2), objectives=M, noise=0.3, reference=np.full(M, 2.0))
    X, rng = inside(box(2), 4), np.random.default_rng(0)
    means = np.column_stack([gp.predict(s.rows)[0] for gp in s.gps])
    for x, value in zip(X, np.exp(score_of(EHVI(), s)(X)), strict=True):
        at = [gp.predict(x[None]) for gp in s.gps]
        Y = np.column_stack([mean + np.sqrt(variance) * rng.standard_normal(20_000) for mean, variance in at])
        drawn = gain(means, s.reference, Y)
        assert value == pytest.approx(drawn.mean(), abs=1e-6 + 5 * drawn.std() / np.sqrt(len(drawn)))
    lower = replace(s, reference=np.full(M, 0.5))
    assert (score_of(EHVI(), lower)(X) < score_of(EHVI(), s)(X)).all()


# --- NEHVI ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", AT_ONE_BUDGET)
@pytest.mark.parametrize("pending", [0, 2])
def test_nehvi_is_the_average_over_noise_free_posteriors(where, pending):
    domain = DOMAINS[where]
    s = context(domain, n=10, objectives=2, pending=pending, noise=0.2, reference=np.full(2, 1.5))
    score, X, each = score_of(NEHVI(draws=8), s), inside(domain, 6), []
    S = np.concatenate([s.best_rows(64), s.pending])
    for j in range(8):
        gps = tuple(
            GaussianProcess(domain, S, draws.values[j], replace(gp.theta, log_noise=np.log(1e-10)))
            for gp, draws in zip(s.gps, score.draws, strict=True)
        )
        each.append(score_of(EHVI(), replace(s, gps=gps, rows=S, pending=X[:0]))(X))
    np.testing.assert_allclose(score(X), log_mean_exp(np.array(each).T)[0], rtol=2e-3)


def test_objectives_are_drawn_independently():
    s = context(box(2), objectives=2, noise=0.5)
    one, two = score_of(NEHVI(), s).draws
    assert not np.array_equal(one.u, two.u) and one.values.shape == two.values.shape == (16, 15)


def test_without_noise_nehvi_is_ehvi():
    s, X = context(box(2), objectives=2, noise=1e-13), inside(box(2), 8)
    np.testing.assert_allclose(score_of(NEHVI(), s)(X), score_of(EHVI(), s)(X), rtol=1e-4, atol=1e-5)
