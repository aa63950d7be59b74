"""Marginal acquisitions: against 400-digit arithmetic, derivatives, limits, other people's functions."""

import mpmath
import numpy as np
import pytest

from surrogates import (
    ACQUISITIONS,
    Acquisition,
    Autograd,
    Domain,
    GaussianProcess,
    Hyperparameters,
    Normal,
    Numerical,
    Score,
    acquisition,
)
from surrogates.acquisitions.mes import Information
from surrogates.acquisitions.normal import log_cdf, log_h

BUILT_IN = sorted(name for name, chosen in ACQUISITIONS.items() if isinstance(chosen, Acquisition))
MARGINAL = {name: acquisition(name) for name in BUILT_IN} | {"information": Information(np.array([-1.0, -0.4, 0.1]))}


def exact_log_ei(mean, sd, incumbent):
    with mpmath.workdps(400):
        sd = mpmath.mpf(float(sd))
        z = (mpmath.mpf(float(incumbent)) - mpmath.mpf(float(mean))) / sd
        return mpmath.log(sd * (mpmath.npdf(z) + z * mpmath.ncdf(z)))


def exact_log_h(z):
    with mpmath.workdps(400):
        z = mpmath.mpf(float(z))
        return mpmath.log(mpmath.npdf(z) + z * mpmath.ncdf(z))


def test_log_ei_over_eighty_orders_of_magnitude():
    """EI from 1e+10 to 1e-80: relative error of EI itself, that is absolute error of its logarithm."""
    z = np.concatenate([np.linspace(-20, 8, 300), 10.0 ** np.linspace(1, 10.1, 20)])
    got = acquisition("logei")(Normal(-z, np.ones_like(z)), 0.0)
    exact = np.array([float(exact_log_ei(-a, 1.0, 0.0)) for a in z])
    assert exact.min() < -80 * np.log(10) and exact.max() > 10 * np.log(10)
    assert np.abs(np.expm1(got - exact)).max() < 3e-13  # of EI
    np.testing.assert_allclose(np.exp(got), acquisition("ei")(Normal(-z, np.ones_like(z)), 0.0), rtol=1e-14)


def test_log_ei_far_below_where_ei_is_zero():
    """Down to a million standard deviations, at several scales of sd: relative error of the logarithm."""
    z = -(10.0 ** np.linspace(1, 6.5, 60))
    for sd in (1e-6, 1.0, 1e3):
        got = acquisition("logei")(Normal(-z * sd, np.full_like(z, sd)), 0.0)
        np.testing.assert_allclose(got, [float(exact_log_ei(-a * sd, sd, 0.0)) for a in z], rtol=1e-13)


def test_log_pi_and_its_slope():
    z = np.concatenate([-(10.0 ** np.linspace(-3, 3, 60)), np.linspace(0, 30, 40)])
    value, slope = log_cdf(z)
    with mpmath.workdps(250):
        exact = [mpmath.log(mpmath.ncdf(mpmath.mpf(float(a)))) for a in z]
        ratio = [mpmath.npdf(mpmath.mpf(float(a))) / mpmath.ncdf(mpmath.mpf(float(a))) for a in z]
    np.testing.assert_allclose(value, [float(a) for a in exact], rtol=1e-12)
    np.testing.assert_allclose(slope, [float(a) for a in ratio], rtol=1e-12)
    score = acquisition("pi")(Normal(-z, np.ones_like(z)), 0.01)
    np.testing.assert_allclose(score, [float(a) for a in exact], rtol=1e-9)


def test_log_h_across_its_branches_and_far_beyond():
    z = -np.concatenate([np.linspace(0.9, 1.1, 21), np.linspace(49, 51, 21), 10.0 ** np.linspace(0, 8, 60)])
    value, first, second = log_h(z)
    np.testing.assert_allclose(value, [float(exact_log_h(a)) for a in z], rtol=1e-13)
    with mpmath.workdps(60):
        for a, f, s in zip(z, first, second, strict=True):
            if a > -1e3:  # beyond, 60 digits are not enough for mpmath
                with mpmath.workdps(500):
                    b = mpmath.mpf(float(a))
                    h = mpmath.npdf(b) + b * mpmath.ncdf(b)
                    assert f == pytest.approx(float(mpmath.ncdf(b) / h), rel=1e-11)
                    assert s == pytest.approx(float(mpmath.npdf(b) / h), rel=1e-11)


@pytest.mark.parametrize("name", MARGINAL)
def test_derivatives_against_central_differences(name):
    mean = np.linspace(-4, 6, 60)
    belief = Normal(mean, 0.3 + np.abs(np.sin(mean)))
    exact, numeric = MARGINAL[name].gradient(belief, 0.2), Numerical(MARGINAL[name]).gradient(belief, 0.2)
    np.testing.assert_array_equal(exact[0], MARGINAL[name](belief, 0.2))
    for a, b in zip(exact, numeric, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", MARGINAL)
def test_finite_without_variance_and_forty_sigma_away(name):
    grid = np.meshgrid([-40.0, -1.0, 0.0, 1e-9, 1.0, 40.0, 1e4], [0.0, 1e-300, 1e-12, 1e-6, 1.0, 1e3])
    mean, sd = (values.ravel() for values in grid)
    for values in MARGINAL[name].gradient(Normal(mean, sd), 0.0):
        assert np.isfinite(values).all()
    _, by_mean, by_sd = acquisition("logei").gradient(Normal(np.array([40.0]), np.ones(1)), 0.0)
    assert by_mean[0] == pytest.approx(-40, rel=0.01) and by_sd[0] == pytest.approx(1600, rel=0.01)


@pytest.mark.parametrize("name", MARGINAL)
def test_a_lower_mean_is_never_worse(name):
    mean = np.linspace(-3, 3, 200)
    for sd in (1e-6, 0.1, 1.0):
        assert (np.diff(MARGINAL[name](Normal(mean, np.full(200, sd)), 0.0)) <= 0).all()


def test_a_function_is_an_acquisition_with_derivatives_either_way():
    torch = pytest.importorskip("torch")
    mean = np.linspace(-2, 2, 30)
    belief = Normal(mean, np.linspace(0.1, 1, 30))

    def mine(posterior, incumbent):
        return posterior.sd * 1.5 - (posterior.mean - incumbent) ** 3

    def mine_in_torch(posterior, incumbent):
        z = (incumbent - posterior.mean) / posterior.sd
        normal = torch.distributions.Normal(0.0, 1.0)
        return torch.log(posterior.sd * (normal.log_prob(z).exp() + z * normal.cdf(z)))

    for a, b in zip(acquisition(mine).gradient(belief, 0.1), Autograd(mine).gradient(belief, 0.1), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    pairs = zip(acquisition("logei").gradient(belief, 0.1), Autograd(mine_in_torch).gradient(belief, 0.1), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    assert (Autograd(lambda posterior, incumbent: -posterior.mean).gradient(belief, 0.0)[2] == 0).all()


@pytest.mark.parametrize("name", [*BUILT_IN, "mine"])
def test_score_knows_its_slope_in_the_rows(name):
    domain = Domain(("float", "float", "categorical"), (None,) * 3, (0, 0, 3), ((),) * 3)
    rng = np.random.default_rng(0)
    X = domain.random(rng, 15)
    gp = GaussianProcess(domain, X, rng.normal(size=15), Hyperparameters((-0.5, -1.0, 0.0), 0.0, -5.0, 0.0))
    chosen = acquisition((lambda p, b: b - p.mean + p.sd) if name == "mine" else name)
    score, rows = Score(gp, chosen, -0.5), domain.random(rng, 10)
    value, slope = score.gradient(rows)
    np.testing.assert_allclose(value, score(rows), rtol=1e-10)
    for c in (0, 1):
        step = 1e-6 * np.eye(3)[c]
        np.testing.assert_allclose(slope[:, c], (score(rows + step) - score(rows - step)) / 2e-6, rtol=2e-5, atol=1e-6)
    assert (slope[:, 2] == 0).all()


def test_unknown_name():
    with pytest.raises(ValueError, match="'eii' is not one of logei, ei, pi, ucb, thompson, mes, kg, nei, ehvi, nehvi, auto"):
        acquisition("eii")
