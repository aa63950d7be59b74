"""The Gaussian process against gpytorch's, its gradients against differences, pending points, jitter."""

import json

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from surrogates import Domain, GaussianProcess, Hyperparameters, log_marginal_likelihood
from surrogates.linalg import append_rows, cholesky


def box(d):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d)


def conditional():
    return Domain(
        ("float", "categorical", "float", "int"),
        (None, None, None, np.linspace(0, 1, 4)),
        (0, 3, 0, 4),
        ((), (), ((1, (1.0, 2.0)),), ((1, (2.0,)),)),
    )


def problem(domain, n, seed=0, kernel="matern52", noise=1e-2):
    rng = np.random.default_rng(seed)
    X = domain.random(rng, n)
    y = rng.normal(size=n)
    theta = Hyperparameters(tuple(rng.normal(-0.7, 0.5, domain.d)), 0.4, float(np.log(noise)), 0.3, kernel)
    return X, y, theta


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
@pytest.mark.parametrize("noise", [1e-4, 1e-2])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (12, 2), (60, 6)])
def test_equals_gpytorch(kernel, noise, n, d):
    torch = pytest.importorskip("torch")
    gpytorch = pytest.importorskip("gpytorch")
    X, y, theta = problem(box(d), n, kernel=kernel, noise=noise)
    Xs = np.random.default_rng(9).random((40, d))
    nu = {"matern52": 2.5, "matern32": 1.5}.get(kernel)
    base = gpytorch.kernels.MaternKernel(nu, ard_num_dims=d) if nu else gpytorch.kernels.RBFKernel(ard_num_dims=d)

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, t, likelihood):
            super().__init__(x, t, likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ConstantMean(), gpytorch.kernels.ScaleKernel(base)

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    tx, ty = torch.tensor(X, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    floor = gpytorch.constraints.GreaterThan(1e-8)
    likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=floor).double()
    model = Exact(tx, ty, likelihood).double()
    base.lengthscale = torch.tensor(np.exp(theta.log_l), dtype=torch.float64)
    model.covar_module.outputscale = torch.tensor(np.exp(theta.log_outputscale), dtype=torch.float64)
    likelihood.noise = torch.tensor(noise, dtype=torch.float64)
    model.mean_module.initialize(constant=torch.tensor(theta.mean, dtype=torch.float64))
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False), \
            gpytorch.settings.max_cholesky_size(10_000), gpytorch.settings.fast_pred_var(False):
        evidence = likelihood(model(tx)).log_prob(ty).item()
        model.eval(), likelihood.eval()
        predicted = model(torch.tensor(Xs, dtype=torch.float64))
        mean, variance = predicted.mean.numpy(), predicted.variance.numpy()
    gp = GaussianProcess(box(d), X, y, theta)
    ours = gp.predict(Xs)
    np.testing.assert_allclose(ours[0], mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours[1], variance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(gp.predict(Xs, noise=True)[1], variance + noise, rtol=1e-8)
    np.testing.assert_allclose(log_marginal_likelihood(X, y, box(d), theta)[0], evidence, rtol=1e-8)
    assert gp.jitter == 0.0


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
@pytest.mark.parametrize("domain", [box(3), conditional()])
def test_marginal_likelihood_and_its_gradient(domain, kernel):
    X, y, theta = problem(domain, 20, kernel=kernel)
    value, gradient = log_marginal_likelihood(X, y, domain, theta)
    gp, t = GaussianProcess(domain, X, y, theta), np.array(theta.to_list())
    assert value == pytest.approx(multivariate_normal(np.full(20, theta.mean), gp.L @ gp.L.T).logpdf(y), rel=1e-9)
    for i, e in enumerate(np.eye(len(t)) * 1e-5):
        moved = (Hyperparameters.from_list(list(t + s * e), kernel) for s in (1, -1))
        up, down = (log_marginal_likelihood(X, y, domain, near)[0] for near in moved)
        assert gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf"])
@pytest.mark.parametrize("domain", [box(3), conditional()])
def test_gradient_of_the_posterior(domain, kernel):
    X, y, theta = problem(domain, 25, kernel=kernel)
    gp, Xs = GaussianProcess(domain, X, y, theta), np.clip(domain.random(np.random.default_rng(5), 12), 0, 2)
    mean, variance, d_mean, d_variance = gp.predict_gradient(Xs)
    np.testing.assert_allclose(gp.predict(Xs), (mean, variance), rtol=1e-12)
    for c in np.flatnonzero(domain.floats):
        step = np.where(np.arange(domain.d) == c, 1e-6, 0.0)
        (up, above), (down, below) = gp.predict(Xs + step), gp.predict(Xs - step)
        np.testing.assert_allclose(d_mean[:, c], (up - down) / 2e-6, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(d_variance[:, c], (above - below) / 2e-6, rtol=1e-6, atol=1e-7)
    assert (d_mean[:, domain.categorical] == 0).all() and np.isfinite(d_mean).all() and np.isfinite(d_variance).all()


@pytest.mark.parametrize("domain", [box(3), conditional()])
def test_pending_points_shrink_the_variance_and_leave_the_mean(domain):
    X, y, theta = problem(domain, 15)
    gp = GaussianProcess(domain, X, y, theta)
    Xp, Xs = (domain.random(np.random.default_rng(seed), n) for seed, n in ((2, 4), (3, 50)))
    conditioned = gp.condition(Xp)
    np.testing.assert_allclose(conditioned.predict(Xs)[0], gp.predict(Xs)[0], rtol=1e-12, atol=1e-12)
    assert (conditioned.predict(Xs)[1] <= gp.predict(Xs)[1] + 1e-12).all()
    whole = GaussianProcess(domain, np.vstack([X, Xp]), np.append(y, gp.predict(Xp)[0]), theta)
    np.testing.assert_allclose(conditioned.predict(Xs), whole.predict(Xs), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(conditioned.L, whole.L, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(gp.condition(Xp[:0]).predict(Xs)[1], gp.predict(Xs)[1])


def test_no_observations_give_the_prior():
    theta = Hyperparameters((0.0, 0.0), 1.0, -4.0, 0.7)
    gp = GaussianProcess(box(2), np.zeros((0, 2)), np.zeros(0), theta)
    mean, variance = gp.condition(np.zeros((0, 2))).predict(np.full((3, 2), 0.5))
    np.testing.assert_allclose(mean, 0.7)
    np.testing.assert_allclose(variance, np.e)
    assert (gp.condition(np.full((1, 2), 0.5)).predict(np.full((1, 2), 0.5))[1] < 0.1).all()


def test_jitter_is_reported_and_never_a_failure():
    X = np.repeat(np.random.default_rng(0).random((5, 2)), 40, axis=0)
    theta = Hyperparameters((3.0, 3.0), 5.0, -60.0, 0.0, "rbf")
    gp = GaussianProcess(box(2), X, np.sin(np.arange(200.0)), theta)
    assert gp.jitter > 0 and np.isfinite(gp.predict(X)).all()
    np.testing.assert_allclose(cholesky(-np.eye(3))[0] > 0, np.eye(3))
    with pytest.raises(ValueError, match="not finite"):
        cholesky(np.full((2, 2), np.nan))


def test_a_grown_factor_is_the_factor_of_the_grown_matrix():
    A = np.random.default_rng(0).normal(size=(9, 9))
    C = A @ A.T + np.eye(9)
    grown, jitter = append_rows(cholesky(C[:6, :6])[0], C[:6, 6:], C[6:, 6:])
    np.testing.assert_allclose(grown, cholesky(C)[0], rtol=1e-12, atol=1e-12)
    assert jitter == 0.0


def test_hyperparameters_survive_json_to_the_last_bit():
    X, y, theta = problem(conditional(), 10)
    again = Hyperparameters.from_list(json.loads(json.dumps(theta.to_list())), theta.kernel)
    assert again == theta
    Xs = conditional().random(np.random.default_rng(1), 20)
    a, b = (GaussianProcess(conditional(), X, y, t).predict_gradient(Xs) for t in (theta, again))
    assert all(p.tobytes() == q.tobytes() for p, q in zip(a, b, strict=True))


def test_predictions_outside_of_the_domain_are_refused():
    """They are those of the nearest legal row, which nobody asked for; what rounding left outside is not outside."""
    X, y, theta = problem(box(2), 6)
    gp = GaussianProcess(box(2), X, y, theta)
    with pytest.raises(ValueError, match="X has 5 in column 1 of row 1, outside of the domain: allowed is 0 to 1"):
        gp.predict([[0.5, 0.5], [0.5, 5.0]])
    with pytest.raises(ValueError, match="X has -2 in column 0 of row 0"):
        gp.predict([-2.0, 0.5])
    edge = np.array([[1.0, 0.0]])
    np.testing.assert_array_equal(gp.predict(edge + np.array([1e-12, -1e-12])), gp.predict(edge))
    np.testing.assert_array_equal(gp.moments(edge), gp.predict(edge))


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="kernel 'cubic' is not one of"):
        Hyperparameters((0.0,), 0.0, 0.0, 0.0, "cubic")
    with pytest.raises(ValueError, match="at least 3"):
        Hyperparameters.from_list([1.0])
    with pytest.raises(ValueError, match="do not fit 2 columns"):
        GaussianProcess(box(2), np.zeros((1, 2)), np.zeros(1), Hyperparameters((0.0,), 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="finite"):
        GaussianProcess(box(1), np.zeros((1, 1)), np.array([np.inf]), Hyperparameters((0.0,), 0.0, 0.0, 0.0))
