"""Results at several budgets: the decay, the evidence, the posterior and its draws, the fit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma, multivariate_normal

from surrogates import (
    GaussianProcess,
    Hyperparameters,
    default_prior,
    draw,
    fit,
    log_marginal_likelihood,
    standardise,
)
from surrogates.columns import ARC
from surrogates.fitting import Objective
from surrogates.learning_curves import Decay
from surrogates.paths import Paths
from surrogates.posterior import joint, sample
from tests.surrogates.contexts import BUDGETS, DOMAINS, LINE, at_budgets, differences, inside, without

CURVES = DOMAINS["curves"]
KERNELS = ("matern52", "matern32", "rbf")


def problem(domain, n, seed=0, kernel="matern52", warped=False):
    rng = np.random.default_rng(seed)
    warp = tuple(rng.normal(0.0, 0.4, 2 * domain.d)) if warped else ()
    lengths, decay = tuple(rng.normal(-0.7, 0.4, domain.d)), (0.3, -0.6, 0.4)
    theta = Hyperparameters(lengths, 0.4, -4.0, 0.3, kernel, warp, decay)
    return at_budgets(domain, domain.random(rng, n)), rng.normal(size=n), theta


# --- the decay --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "a"), [(0.4, 1.6), (0.05, 0.7), (3.0, 5.0)])
def test_it_is_an_expectation_over_rates(b, a):
    decay, rates = Decay(b, 1.0, 1.0, a), gamma(a, scale=1.0 / b)
    for s, t in [(0.0, 0.0), (0.04, 0.36), (0.12, 0.12), (0.9, 0.3), (0.99, 0.99)]:

        def product(u, s=s, t=t):
            w = rates.ppf(u)
            return (np.exp(-w * s) - np.exp(-w)) * (np.exp(-w * t) - np.exp(-w))

        expected = quad(product, 0.0, 1.0, epsabs=1e-12, epsrel=1e-10, limit=400)[0]
        assert decay.covariance_between(np.array([s]), np.array([t]))[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


positive = st.floats(1e-2, 2e1)
shares = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(positive, positive, positive, st.floats(0.1, 20.0), shares)
def test_it_is_a_covariance_and_nothing_at_the_horizon(b, r, q, a, budgets):
    t, decay = np.array([*budgets, 1.0]), Decay(b, r, q, a)
    D = decay.covariance_between(t[:, None], t)
    np.testing.assert_allclose(D, D.T, rtol=0, atol=1e-15)
    assert np.linalg.eigvalsh(D).min() > -1e-14 * len(t)
    assert (D[t == 1.0] == 0.0).all() and (D[:, t == 1.0] == 0.0).all(), "not a bit is left"
    np.testing.assert_allclose(decay.variance(t), (r + q) * np.diag(D), rtol=0, atol=1e-13 * (r + q))


def test_differences_are_larger_the_earlier():
    decay, t = Decay(0.4, 1.0, 1.0, 1.6), np.linspace(0.0, 1.0, 30)
    assert (np.diff(decay.variance(t)) < 0).all()


# --- the evidence -----------------------------------------------------------------------------------------------------


def dense(theta, domain, X, Y):
    """Covariances of f between rows, written out column by column."""
    A, B = domain.features(X), domain.features(Y)
    r2 = np.zeros((len(A), len(B)))
    for c in range(domain.d - 1):
        a, b = A[:, c], B[:, c]
        if domain.kinds[c] == "categorical":
            gap = (a[:, None] != b).astype(float)
        else:
            if theta.log_warp:
                p, q = np.exp(theta.log_warp[c]), np.exp(theta.log_warp[domain.d + c])
                a, b = (1.0 - (1.0 - np.clip(z, 1e-6, 1 - 1e-6) ** p) ** q for z in (a, b))
            gap = (a[:, None] - b) ** 2
            if domain.parents[c]:  # on an arc of a circle where active, at its centre where not
                on, both = (A[:, c] >= 0)[:, None], B[:, c] >= 0
                gap = np.where(on & both, 2 - 2 * np.cos(ARC * (a[:, None] - b)), on ^ both) / ARC**2
        r2 += gap / np.exp(2.0 * theta.log_lengthscales[c])
    r = np.sqrt(r2)
    k = {"matern52": (1 + np.sqrt(5) * r + 5 * r2 / 3) * np.exp(-np.sqrt(5) * r),
         "matern32": (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r), "rbf": np.exp(-r2 / 2)}[theta.kernel]  # fmt: skip
    rate, (own, shared, shape) = np.exp(theta.log_lengthscales[-1]), np.exp(theta.log_decay)
    s, t = A[:, -1][:, None], B[:, -1]
    left = [(rate / (u + rate)) ** shape for u in (s + t, s + 1.0, 1.0 + t, 2.0)]
    D = left[0] - left[1] - left[2] + left[3]
    return np.exp(theta.log_outputscale) * (k * (1.0 + own * D) + shared * D)


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("domain", [LINE, CURVES], ids=["line", "curves"])
def test_marginal_likelihood_and_its_gradient(domain, kernel, warped):
    X, y, theta = problem(domain, 20, kernel=kernel, warped=warped)
    value, gradient = log_marginal_likelihood(X, y, domain, theta)
    C = dense(theta, domain, X, X) + np.exp(theta.log_noise) * np.eye(20)
    assert value == pytest.approx(multivariate_normal(np.full(20, theta.mean), C).logpdf(y), rel=1e-9)
    t = np.array(theta.to_list())
    assert gradient.shape == t.shape and (np.abs(gradient[-3:]) > 1e-3).all()

    def at(values):
        return log_marginal_likelihood(X, y, domain, Hyperparameters.from_list(list(values), kernel, warped, True))[0]

    h = 1e-3
    for i, e in enumerate(np.eye(len(t)) * h):
        numeric = (8 * (at(t + e) - at(t - e)) - (at(t + 2 * e) - at(t - 2 * e))) / (12 * h)
        assert gradient[i] == pytest.approx(numeric, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("warped", [False, True])
def test_gradient_of_the_objective(warped):
    X, y, theta = problem(CURVES, 18, warped=warped)
    objective = Objective.of(X, y, CURVES, warped=warped)
    at = objective.point(theta)
    assert len(at) == len(objective.bounds) == len(default_prior(5, warped, budget=True).mu)
    numeric = [(objective(at + e)[0] - objective(at - e)[0]) / 2e-5 for e in 1e-5 * np.eye(len(at))]
    np.testing.assert_allclose(objective(at)[1], numeric, rtol=1e-6, atol=1e-6)


def test_one_row_alone():
    value, gradient = log_marginal_likelihood(np.array([[0.3, 0.2]]), np.array([0.7]), LINE, problem(LINE, 1)[2])
    assert np.isfinite(value) and np.isfinite(gradient).all()


# --- the posterior ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("domain", [LINE, CURVES], ids=["line", "curves"])
def test_posterior_by_definition(domain, kernel, warped):
    X, y, theta = problem(domain, 25, kernel=kernel, warped=warped)
    gp, Xs = GaussianProcess(domain, X, y, theta), at_budgets(domain, domain.random(np.random.default_rng(5), 12))
    C, K = dense(theta, domain, X, X) + np.exp(theta.log_noise) * np.eye(25), dense(theta, domain, Xs, X)
    covariance = dense(theta, domain, Xs, Xs) - K @ np.linalg.solve(C, K.T)
    mean, variance = gp.predict(Xs)
    np.testing.assert_allclose(mean, theta.mean + K @ np.linalg.solve(C, y - theta.mean), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(variance, np.diag(covariance), rtol=1e-8)
    np.testing.assert_allclose(gp.predict(Xs, noise=True)[1], variance + np.exp(theta.log_noise), rtol=1e-12)
    np.testing.assert_allclose(joint(gp, Xs)[0], mean, rtol=1e-12)
    np.testing.assert_allclose(joint(gp, Xs)[1], covariance, atol=1e-10)
    told = dense(theta, domain, X, X)
    np.testing.assert_allclose(joint(gp, X)[1], told - told @ np.linalg.solve(C, told), atol=1e-10)
    _, below = gp.predict(at_budgets(domain, Xs, (0.04,)))
    assert (below > gp.predict(at_budgets(domain, Xs, (1.0,)))[1]).any(), "early results are not the horizon's"


def test_equals_gpytorch():
    torch, gpytorch = pytest.importorskip("torch"), pytest.importorskip("gpytorch")
    X, y, theta = problem(LINE, 15)
    (l, rate), (own, shared, shape) = np.exp(theta.log_lengthscales), np.exp(theta.log_decay)
    matern = gpytorch.kernels.MaternKernel(2.5).double()
    matern.lengthscale = torch.tensor(l, dtype=torch.float64)

    class Curves(gpytorch.kernels.Kernel):
        def forward(self, A, B, diag=False, **_):
            k = matern(A[..., :1], B[..., :1]).to_dense()
            left = [(rate / (u + rate)) ** shape
                    for u in (A[..., 1:] + B[..., 1], A[..., 1:] + 1.0, 1.0 + B[..., 1], torch.tensor(2.0))]  # fmt: skip
            D = left[0] - left[1] - left[2] + left[3]
            found = np.exp(theta.log_outputscale) * (k * (1.0 + own * D) + shared * D)
            return found.diagonal(dim1=-1, dim2=-2) if diag else found

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, t, likelihood):
            super().__init__(x, t, likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ConstantMean(), Curves()

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    tx, ty = torch.tensor(X), torch.tensor(y)
    likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=gpytorch.constraints.GreaterThan(1e-8)).double()
    model = Exact(tx, ty, likelihood).double()
    likelihood.noise = torch.tensor(np.exp(theta.log_noise))
    model.mean_module.initialize(constant=torch.tensor(theta.mean, dtype=torch.float64))
    Xs = at_budgets(LINE, LINE.random(np.random.default_rng(9), 20))
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        evidence = likelihood(model(tx)).log_prob(ty).item()
        model.eval(), likelihood.eval()
        predicted = model(torch.tensor(Xs))
        mean, variance = predicted.mean.numpy(), predicted.variance.numpy()
    ours = GaussianProcess(LINE, X, y, theta).predict(Xs)
    np.testing.assert_allclose(ours, (mean, variance), rtol=1e-8, atol=1e-10)
    assert log_marginal_likelihood(X, y, LINE, theta)[0] == pytest.approx(evidence, rel=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_whole_trainings_have_the_model_that_they_had(kernel):
    """With every result at the horizon: not a bit of mean and variance depends on there being a budget.

    Of slopes the last may: they are matrix products, whose sums are taken in an order that goes by the shape.
    """
    X, y, theta = problem(CURVES, 20, kernel=kernel)
    X, d = at_budgets(CURVES, X, (1.0,)), CURVES.d
    plain = replace(theta, log_lengthscales=theta.log_lengthscales[:-1], log_decay=())
    gp, alone = GaussianProcess(CURVES, X, y, theta), GaussianProcess(without(CURVES), X[:, :-1], y, plain)
    Xs = CURVES.random(np.random.default_rng(1), 30)
    np.testing.assert_array_equal(gp.predict(Xs), alone.predict(Xs[:, :-1]))
    np.testing.assert_array_equal(gp.L, alone.L)
    for ours, theirs in zip(gp.predict_gradient(Xs)[2:], alone.predict_gradient(Xs[:, :-1])[2:], strict=True):
        np.testing.assert_allclose(ours[:, :-1], theirs, rtol=1e-11, atol=1e-12)
    (value, gradient), (expected, slopes) = (
        log_marginal_likelihood(X, y, CURVES, theta), log_marginal_likelihood(X[:, :-1], y, without(CURVES), plain),
    )  # fmt: skip
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(np.delete(gradient[: d + 3], d - 1), slopes, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(gradient[[d - 1, -3, -2, -1]], 0.0)


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_of_the_posterior(kernel, warped):
    X, y, theta = problem(CURVES, 20, kernel=kernel, warped=warped)
    gp, Xs = GaussianProcess(CURVES, X, y, theta), at_budgets(CURVES, inside(CURVES, 12))
    mean, variance, d_mean, d_variance = gp.predict_gradient(Xs)
    np.testing.assert_allclose(gp.predict(Xs), (mean, variance), rtol=1e-12)
    for i, slope in enumerate((d_mean, d_variance)):
        expected = differences(lambda rows, i=i: gp.predict(rows)[i], Xs, CURVES)
        np.testing.assert_allclose(slope[:, CURVES.floats], expected[:, CURVES.floats], rtol=1e-6, atol=1e-8)
        assert (slope[:, CURVES.categorical] == 0).all() and (slope[:, -1] == 0).all() and (slope[np.isnan(Xs)] == 0).all()


@pytest.mark.parametrize("warped", [False, True])
def test_it_grows_to_what_is_made_at_once(warped):
    X, y, theta = problem(CURVES, 30, warped=warped)
    Xs = at_budgets(CURVES, CURVES.random(np.random.default_rng(1), 15))
    gp, base = GaussianProcess(CURVES, X, y, theta), GaussianProcess(CURVES, X[:18], y[:18], theta)
    once, twice = base.extend(X[18:], y), base.extend(X[18:23], y[:23]).extend(X[23:], y)
    for a, b, c in zip(once.predict_gradient(Xs), twice.predict_gradient(Xs), gp.predict_gradient(Xs), strict=True):
        assert a.tobytes() == b.tobytes()
        np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-10)
    pending = at_budgets(CURVES, CURVES.random(np.random.default_rng(2), 4))
    after = gp.condition(pending)
    told = GaussianProcess(CURVES, np.concatenate([X, pending]), np.append(y, gp.predict(pending)[0]), theta)
    np.testing.assert_allclose(after.predict(Xs), told.predict(Xs), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(after.predict(Xs)[0], gp.predict(Xs)[0], rtol=1e-12)
    assert (after.predict(Xs)[1] <= gp.predict(Xs)[1] + 1e-12).all()
    assert (after.predict(Xs)[1] < gp.predict(Xs)[1] - 1e-6).any()


def test_draws_have_the_moments_of_the_posterior():
    X, y, theta = problem(CURVES, 12)
    gp, rng = GaussianProcess(CURVES, X, y, theta), np.random.default_rng(0)
    rows = np.concatenate([at_budgets(CURVES, inside(CURVES, 4)), X[:3]])
    draws, (mean, covariance) = sample(gp, rows, 30_000, rng), joint(gp, rows)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 5 / np.sqrt(len(draws))
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.04)


def test_paths_are_drawn_at_the_horizon():
    """Wherever the rows stand that are asked for; their moments are those of joint() there, close to told rows too."""
    X, y, theta = problem(CURVES, 12)
    gp, rng = GaussianProcess(CURVES, X, y, theta), np.random.default_rng(0)
    rows = np.concatenate([at_budgets(CURVES, inside(CURVES, 4)), X[:4]])
    top = at_budgets(CURVES, rows, (1.0,))
    paths = [Paths(gp, rng, 256, frequencies=1024) for _ in range(24)]
    draws = np.concatenate([path(rows) for path in paths], axis=1)
    np.testing.assert_array_equal(draws[:, :256], paths[0](top))
    assert not np.allclose(gp.predict(rows)[0], gp.predict(top)[0])
    mean, covariance = joint(gp, top)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(axis=1) - mean) / sd).max() < 5 / np.sqrt(draws.shape[1])
    np.testing.assert_allclose(np.cov(draws) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.08)


# --- the fit ----------------------------------------------------------------------------------------------------------


def decaying(rng, n):
    """Curves g(x) + h(x) (exp(-4 t) - exp(-4)) over a line, told where a scheduler leaves them: good ones go on."""
    x = rng.random(n)
    good, slow = np.sin(6 * x), 1.5 + 0.3 * np.cos(9 * x)

    def loss(i, t):
        return good[i] + 2.0 * slow[i] * (np.exp(-4 * t) - np.exp(-4.0))

    found, alive = [], np.arange(n)
    for t in BUDGETS:
        found += [(x[i], t, loss(i, t)) for i in alive]
        alive = alive[np.argsort(loss(alive, t))[: max(3, len(alive) // 2)]]
    rows = np.array(found)
    return rows[:, :2], rows[:, 2]


def test_a_fit_reads_curves():
    """At the horizon it errs less than a model that takes every result for a whole training, or whole trainings alone."""
    asked = np.column_stack([np.linspace(0.02, 0.98, 60), np.ones(60)])
    truth, errors = np.sin(6 * asked[:, 0]), []
    for seed in range(3):
        X, y = decaying(np.random.default_rng(seed), 27)
        scaled = standardise(y)
        top = X[:, 1] == 1.0
        line = without(LINE)
        models = [
            GaussianProcess(LINE, X, scaled.z, fit(X, scaled.z, LINE, 0)).predict(asked),
            GaussianProcess(line, X[:, :1], scaled.z, fit(X[:, :1], scaled.z, line, 0)).predict(asked[:, :1]),
            GaussianProcess(line, X[top, :1], scaled.z[top], fit(X[top, :1], scaled.z[top], line, 0)).predict(asked[:, :1]),
        ]
        errors.append([np.sqrt(np.mean((mean * scaled.scale + scaled.shift - truth) ** 2)) for mean, _ in models])
    decay, pooled, finished = np.mean(errors, axis=0)
    assert decay < 0.5 * pooled and decay < 0.8 * finished


def test_a_fit_is_repeatable_and_starts_where_it_is_told():
    X, y = decaying(np.random.default_rng(0), 12)
    y = standardise(y).z
    theta = fit(X, y, LINE, 3)
    assert fit(X.copy(), y.copy(), LINE, 3) == theta and len(theta.log_decay) == 3
    assert np.isfinite(fit(X, y, LINE, 3, start=theta, warped=True).to_list()).all()
    with pytest.raises(ValueError, match="a start with a decay"):
        fit(X, y, LINE, 3, start=Hyperparameters((0.0, 0.0), 0.0, -2.0, 0.0))


@pytest.mark.parametrize("warped", [False, True])
def test_slices(warped):
    X, y = decaying(np.random.default_rng(1), 9)
    found = draw(X, standardise(y).z, LINE, 0, 3, warped=warped)
    assert len(set(found)) == 3
    for theta in found:
        assert np.isfinite(theta.to_list()).all() and theta.decay is not None and len(theta.log_warp) == 4 * warped
        assert np.isfinite(GaussianProcess(LINE, X, y, theta).predict(X)).all()


@pytest.mark.parametrize("y", [np.zeros(6), np.array([0.0, 0, 0, 0, 0, 1e3]), np.array([0.0])])
def test_ugly_targets(y):
    X = at_budgets(LINE, np.zeros((len(y), 2)))
    assert np.isfinite(GaussianProcess(LINE, X, y, fit(X, y, LINE, 0)).predict(X)).all()


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("budget", [False, True])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_hyperparameters_as_a_list(d, budget, warped):
    rng = np.random.default_rng(d)
    theta = Hyperparameters(tuple(rng.normal(size=d)), 0.1, -2.0, 0.3, "rbf", tuple(rng.normal(size=2 * d * warped)),
                            tuple(rng.normal(size=3 * budget)))  # fmt: skip
    values = theta.to_list()
    assert len(values) == Hyperparameters.count(d, warped, budget)
    assert Hyperparameters.from_list(values, "rbf", warped, budget) == theta
    with pytest.raises(ValueError, match="cannot be hyperparameters"):
        Hyperparameters.from_list(values[: 2 + 3 * budget], "rbf", warped, budget)


def test_a_decay_belongs_to_a_budget():
    X, y, theta = problem(LINE, 4)
    with pytest.raises(ValueError, match="every budget column needs one"):
        GaussianProcess(LINE, X, y, replace(theta, log_decay=()))
    with pytest.raises(ValueError, match="a decay belongs to a budget column"):
        GaussianProcess(DOMAINS["box"], np.zeros((4, 3)), y, replace(theta, log_lengthscales=(0.0,) * 3))
    with pytest.raises(ValueError, match="2 parameters of a decay came"):
        replace(theta, log_decay=(0.0, 0.0))
