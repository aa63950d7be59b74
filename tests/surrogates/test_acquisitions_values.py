"""Max-value entropy, knowledge gradient and noisy improvement against integration, brute force and other posteriors."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy.stats import norm

from surrogates import KG, MES, NEI, GaussianProcess, acquisition, score_of
from surrogates.acquisitions.draws import Draws
from surrogates.acquisitions.expected_maximum import NOTHING, breakpoints, log_gain
from surrogates.acquisitions.kg import KGScore, distant_rows
from surrogates.acquisitions.mes import log_information
from surrogates.acquisitions.minima import candidates, minima_of_draws, minima_of_mean
from surrogates.acquisitions.normal import log_mean_exp
from surrogates.posterior import joint
from tests.surrogates.contexts import AT_ONE_BUDGET, DOMAINS, box, conditional, context, inside

# --- max-value entropy search -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("g", [-6.0, -2.0, -0.3, 0.0, 0.3, 2.0, 5.0])
def test_information_is_a_difference_of_entropies(g):
    """H[f] - H[f | f >= y*] for f ~ N(0, 1) and y* = -g, by integration."""
    with mpmath.workdps(30):
        inside_, y = mpmath.ncdf(g), -mpmath.mpf(g)

        def density(f):
            return mpmath.npdf(f) / inside_

        kept = -mpmath.quad(lambda f: density(f) * mpmath.log(density(f)), [y, y + 1, y + 3, y + 8, y + 40])
        whole = mpmath.log(mpmath.sqrt(2 * mpmath.pi * mpmath.e))
        assert float(log_information(np.array([g]))[0][0]) == pytest.approx(float(mpmath.log(whole - kept)), rel=1e-12)


def exact_information(g):
    """log a(g) and its derivative in as many digits as the cancellation takes."""
    with mpmath.workdps(60 + int(0.25 * max(g, 0.0) ** 2)):
        g = mpmath.mpf(float(g))
        cdf = mpmath.erfc(-g / mpmath.sqrt(2)) / 2
        r = mpmath.npdf(g) / cdf
        a = g * r / 2 - mpmath.log(cdf)
        return float(mpmath.log(a)), float(-(r / 2) * (1 + g * g + g * r) / a)


def test_log_information_everywhere():
    """To a hundred thousand standard deviations on one side and fifty on the other, with its slope."""
    g = np.concatenate([-(10.0 ** np.linspace(-3, 5, 60)), [-50.0, -49.9, 0.0], 10.0 ** np.linspace(-3, 1.7, 60)])
    value, slope = log_information(g)
    exact = np.array([exact_information(x) for x in g])
    np.testing.assert_allclose(value, exact[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(slope, exact[:, 1], rtol=1e-9)


def test_log_information_stays_finite():
    g = np.array([-1e150, -1e8, -1e-300, 0.0, 1e-300, 37.5, 38.7, 1e8, 1e150])
    value, slope = log_information(g)
    assert np.isfinite(value).all() and np.isfinite(slope).all()
    assert (np.diff(value) <= 0).all()


def test_drawn_minima_are_those_of_joint_draws_on_a_grid():
    domain, grid = box(1), np.linspace(0, 1, 200)[:, None]
    s = context(domain, n=6, noise=1e-3)
    minima = minima_of_draws(s.gp, s, 512)
    mean, covariance = joint(s.gp, grid)
    drawn = np.random.default_rng(0).multivariate_normal(mean, covariance, 4000, method="eigh").min(axis=1)
    error = drawn.std() * np.sqrt(1 / 512 + 1 / 4000)
    assert abs(minima.mean() - drawn.mean()) < 4 * error + 0.02  # the grid's minima are a little high
    assert minima.std() == pytest.approx(drawn.std(), rel=0.2)


def test_drawn_minima_are_below_the_draws_on_the_told_rows():
    s = context(DOMAINS["conditional"], noise=1e-6)
    assert (minima_of_draws(s.gp, s, 32) < s.gp.y.min() + 0.01).all()


def test_mes_is_the_average_over_its_minima():
    s = context(box(2))
    score, X = score_of(MES(minima=8), s), inside(box(2), 5)
    minima, (mean, variance) = minima_of_draws(s.gp, s, 8), s.gp.predict(X)
    g = (mean[:, None] - minima) / np.sqrt(variance)[:, None]
    plain = (g * norm.pdf(g) / (2 * norm.cdf(g)) - norm.logcdf(g)).mean(axis=1)  # Wang & Jegelka 2017, eq. 6
    np.testing.assert_allclose(np.exp(score(X)), plain, rtol=1e-8)


# --- minima of the model ----------------------------------------------------------------------------------------------


def test_minima_of_the_mean_are_minima_and_respect_constraints_and_budgets():
    domain = replace(box(2), feasible=lambda X: X.sum(axis=1) >= 0.8)
    s = context(domain, n=20)
    rows = minima_of_mean(s.gp, s, 4)
    assert domain.is_feasible(rows).all() and domain.is_feasible(candidates(s, np.random.default_rng(0))).all()
    least = s.gp.predict(domain.random(np.random.default_rng(1), 5000))[0].min()
    assert s.gp.predict(rows)[0].min() < least + 1e-3
    horizon = context(DOMAINS["curves"], n=20)
    assert (minima_of_mean(horizon.gp, horizon, 4)[:, -1] == 1.0).all()
    assert (candidates(horizon, np.random.default_rng(0))[:, -1] == 1.0).all()


# --- knowledge gradient -----------------------------------------------------------------------------------------------


Z = np.linspace(-10, 10, 40_001)  # outcomes, and how likely they are
WEIGHTS = norm.pdf(Z) / norm.pdf(Z).sum()


def lines(rng, m, k):
    return rng.normal(size=(m, k)), rng.normal(size=(m, k)) * 10.0 ** rng.uniform(-3, 0.5, size=(m, 1))


def test_the_envelope_is_the_maximum():
    a, b = lines(np.random.default_rng(0), 40, 12)
    left, right = breakpoints(a, b)
    for i in range(len(a)):
        wide = np.linspace(-200, 200, 40_001)
        best = np.unique((a[i, :, None] + b[i, :, None] * wide).argmax(axis=0))
        assert set(best) <= {*left[i], *right[i]}  # breakpoints beyond 200 are not seen on the grid


def test_gain_is_the_expected_maximum_less_the_maximum():
    a, b = lines(np.random.default_rng(1), 30, 9)
    expected = np.array([np.max(a[i, :, None] + b[i, :, None] * Z, axis=0) @ WEIGHTS - a[i].max() for i in range(30)])
    got = np.exp(log_gain(a, b)[0])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9)


def test_gain_of_two_lines_far_awayis_log_ei():
    """Only one breakpoint, 40 and 4,000 standard deviations away."""
    for gap in (40.0, 4000.0):
        value, by_a, _ = log_gain(np.array([[0.0, -gap]]), np.array([[0.0, 1.0]]))
        with mpmath.workdps(60):
            z = mpmath.mpf(-gap)
            h = mpmath.npdf(z) + z * mpmath.ncdf(z)
            if gap == 40:
                assert value[0] == pytest.approx(float(mpmath.log(h)), rel=1e-12)
        assert by_a[0, 1] == pytest.approx(gap, rel=0.01) and by_a[0, 0] == -by_a[0, 1]


def test_parallel_lines_gain_nothing_and_the_highest_of_them_counts():
    value, by_a, by_b = log_gain(np.array([[0.0, 1.0, -1.0]]), np.ones((1, 3)))
    assert value[0] == NOTHING and not by_a.any() and not by_b.any()
    for slope in (1e-320, 1e-200, 1e-99):  # as good as parallel, and finite all the same
        nearly = log_gain(np.array([[0.0, 1.0, 0.5]]), np.array([[0.0, slope, 2 * slope]]))
        assert all(np.isfinite(part).all() for part in nearly) and nearly[0][0] < -1e150
    one = log_gain(np.array([[0.0, 0.5]]), np.array([[0.0, 1.0]]))[0]
    more = log_gain(np.array([[0.0, -1.0, 0.5, 0.2]]), np.array([[0.0, 0.0, 1.0, 1.0]]))[0]
    np.testing.assert_allclose(more, one, rtol=1e-14)


@pytest.mark.parametrize("where", AT_ONE_BUDGET)
def test_kg_is_what_conditioning_on_outcomes_gives(where):
    """For each x the model is really conditioned on outcomes there, and the least mean is averaged over them."""
    domain = DOMAINS[where]
    s = context(domain, noise=0.05)
    A, X = domain.snap(np.concatenate([s.rows, inside(domain, 3, seed=4)])), inside(domain, 6)
    got = np.exp(KGScore(s.gp, A)(X))
    for x, value in zip(X, got, strict=True):
        rows = np.concatenate([A, x[None]])
        mean, variance = s.gp.predict(x[None], noise=True)
        after = [GaussianProcess(domain, np.concatenate([s.rows, x[None]]), np.append(s.gp.y, mean + z * np.sqrt(variance)),
                                 s.gp.theta).predict(rows)[0] for z in (0.0, 1.0)]
        np.testing.assert_allclose(after[0], s.gp.predict(rows)[0], atol=1e-9)
        moved = after[0][:, None] + (after[1] - after[0])[:, None] * Z
        expected = s.gp.predict(A)[0].min() - moved.min(axis=0) @ WEIGHTS
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-10)


def test_kg_is_smooth_where_x_becomes_the_best():
    """Along a line on which the mean at x falls below that of all rows that may be recommended."""
    s = context(box(1), n=8, noise=0.01)
    t = np.linspace(0, 1, 4001)[:, None]
    mean = s.gp.predict(t)[0]
    A = t[[200, 3000]]
    assert (np.sign(mean - s.gp.predict(A)[0].min()) == -1).any()
    score = KGScore(s.gp, A)
    value, slope = score.gradient(t)
    slope = np.exp(value) * slope[:, 0]  # of the knowledge gradient itself
    rise = np.diff(np.exp(value)) / np.diff(t[:, 0])
    away = np.abs(t[:-1, 0] - A).min(axis=0) > 5e-4  # at a row that is recommended anyway there is a dip
    np.testing.assert_allclose(rise[away], 0.5 * (slope[1:] + slope[:-1])[away], atol=1e-4 * np.abs(slope).max())


def test_rows_that_are_nearly_the_same_are_recommended_once():
    s = context(box(2))
    rows = np.array([[0.2, 0.2], [0.2, 0.2 + 1e-5], [0.8, 0.2]])
    np.testing.assert_array_equal(distant_rows(s.gp, rows), rows[[0, 2]])
    assert len(KG().score(s).means) <= 4 + 15 + 32
    assert len(KG(most=5, minima=2, draws=8).score(s).means) <= 2 + 5 + 8


# --- noisy expected improvement ---------------------------------------------------------------------------------------


def given(gp, S, values):
    """The posterior that knows f(S) = values without noise: all told rows are among S, so the results say no more."""
    return GaussianProcess(gp.domain, S, values, replace(gp.theta, log_noise=np.log(1e-10)))


@pytest.mark.parametrize("where", AT_ONE_BUDGET)
@pytest.mark.parametrize("pending", [0, 3])
def test_nei_is_the_average_over_noise_free_posteriors(where, pending):
    domain = DOMAINS[where]
    s = context(domain, n=10, pending=pending, noise=0.2)
    score, X = score_of(NEI(draws=16), s), inside(domain, 8)
    S = s.best_rows(64) if not pending else np.concatenate([s.best_rows(64), s.pending])
    each = []
    for values in score.draws.values:
        posterior = given(s.gp, S, values)
        each.append(score_of(acquisition("logei"), replace(s, gps=(posterior,), pending=X[:0], incumbent=values.min()))(X))
    np.testing.assert_allclose(score(X), log_mean_exp(np.array(each).T)[0], rtol=2e-3)


@pytest.mark.parametrize("where", DOMAINS)
def test_draws_have_the_moments_of_the_posterior(where):
    domain = DOMAINS[where]
    s = context(domain, n=8, pending=2, noise=0.1)
    draws = Draws(s.gp, s.started_rows, 0, 4096)
    mean, covariance = joint(s.gp, s.started_rows)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(draws.values.mean(axis=0), mean, atol=0.02 * sd.max())
    np.testing.assert_allclose(np.cov(draws.values.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.05)


@pytest.mark.parametrize("where", DOMAINS)
def test_given_a_draw_its_rows_are_known(where):
    domain = DOMAINS[where]
    s = context(domain, n=12, pending=2, noise=0.05)
    S = s.started_rows[4:]  # a part of the told rows, and what is pending
    draws, X = Draws(s.gp, S, 0, 8), inside(domain, 6)
    at = draws.at(S)
    variance = s.gp.predict(S)[1]
    np.testing.assert_allclose(at.means.T, draws.values, atol=1e-4)
    assert (at.sd**2 < 1e-5 * variance).all()
    other = draws.at(X)
    pulled = np.linalg.norm((other.means - s.gp.predict(X)[0][:, None]) @ np.linalg.pinv(draws.u.T), axis=1) ** 2
    assert (other.sd**2 + pulled <= s.gp.predict(X)[1] * (1 + 1e-9)).all()  # what a draw explains is no longer unknown


@pytest.mark.parametrize("where", AT_ONE_BUDGET)
def test_without_noise_nei_is_log_ei_at_the_best_observation(where):
    domain = DOMAINS[where]
    s = context(domain, noise=1e-13)
    s, X = replace(s, incumbent=float(s.gp.y.min())), inside(domain, 12)
    logei, nei = score_of(acquisition("logei"), s), score_of(NEI(), s)
    np.testing.assert_allclose(nei(X), logei(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nei.gradient(X)[1], logei.gradient(X)[1], rtol=1e-3, atol=1e-2)


def test_nei_integrates_over_pending_rows():
    """Against brute force: outcomes of a pending row are drawn, and EI is averaged over them."""
    domain = box(2)
    s, X = context(domain, n=10, pending=1, noise=1e-6), inside(domain, 10)
    rng, each = np.random.default_rng(0), []
    mean, variance = s.gp.predict(s.pending)
    for outcome in mean + np.sqrt(variance) * norm.ppf((np.arange(512) + rng.random(512)) / 512):
        y = np.append(s.gp.y, outcome)
        gp = GaussianProcess(domain, s.started_rows, y, s.gp.theta)
        each.append(score_of(acquisition("logei"), replace(s, gps=(gp,), pending=X[:0], incumbent=y.min()))(X))
    np.testing.assert_allclose(score_of(NEI(draws=512), s)(X), log_mean_exp(np.array(each).T)[0], rtol=1e-3, atol=0.03)


def test_only_promising_rows_are_drawn():
    domain = conditional()
    s = context(domain, n=60)
    rows = s.best_rows(10)
    assert len(rows) == 10 and len(set(domain.keys(rows))) == 10
    mean, variance = s.gp.predict(s.rows)
    low = mean - 2 * np.sqrt(variance)
    keys = domain.keys(rows)
    assert domain.keys(s.rows[[mean.argmin()]])[0] == keys[0] and domain.keys(s.rows[[low.argmin()]])[0] in keys[:2]
    assert len(s.best_rows(1000)) == 60
    assert NEI(most=10).score(s).draws.values.shape == (64, 10)


def test_sixty_four_draws_are_enough_to_rank():
    s = context(box(3), n=40, pending=2, noise=0.3)
    X = inside(box(3), 200)
    few, many = score_of(NEI(), s)(X), score_of(NEI(draws=2048), s)(X)
    assert np.corrcoef(np.exp(few), np.exp(many))[0, 1] > 0.99
    assert many[few.argmax()] > many.max() - 0.1


def test_draws_are_a_power_of_two():
    with pytest.raises(ValueError, match="48 draws were asked for; allowed is a power of two"):
        score_of(NEI(draws=48), context(box(2)))
