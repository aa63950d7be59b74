"""A kernel of one's own: one row of the table, and everything that models, acquisitions and the sampler do is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hpo import GP, Categorical, Float, Space
from surrogates import KERNELS, GaussianProcess, acquisition, fit, lint, log_marginal_likelihood, score_of
from surrogates.columns import Array
from surrogates.kernels import Kernel
from surrogates.paths import Paths
from tests.surrogates.contexts import DOMAINS, assert_slopes, box, context, hyperparameters, inside

ALPHA = 2.0


def rational_quadratic(r2: Array) -> tuple[Array, Array]:
    """(1 + r2 / 2 alpha)^-alpha; Rasmussen & Williams 2006, eq. 4.19."""
    base = 1.0 + r2 / (2.0 * ALPHA)
    return base**-ALPHA, -0.5 * base ** -(ALPHA + 1.0)


def gamma_scales(rng: np.random.Generator, count: int) -> Array:
    """Its h^2 is Gamma(alpha, rate alpha) (eq. 4.20)."""
    return np.asarray(np.sqrt(rng.gamma(ALPHA, 1.0 / ALPHA, count)))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(KERNELS, "toy", Kernel(rational_quadratic, gamma_scales))
    yield "toy"


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "rbf", "toy"])
def test_a_kernel_is_the_mixture_whose_scales_it_draws(kernel: str) -> None:
    """k(r2) = E[exp(-h^2 r2 / 2)], which is what makes its drawn functions its own."""
    h = KERNELS[kernel].draw_scales(np.random.default_rng(0), 200_000)
    r2 = np.array([0.0, 0.1, 1.0, 4.0])
    drawn = np.exp(-0.5 * h[:, None] ** 2 * r2).mean(axis=0)
    np.testing.assert_allclose(drawn, KERNELS[kernel](r2)[0], atol=5e-3)


def test_functions_drawn_have_its_covariance(toy: str) -> None:
    gp = GaussianProcess(box(2), np.zeros((0, 2)), np.zeros(0), hyperparameters(box(2), kernel=toy))
    X = box(2).random(np.random.default_rng(0), 5)
    drawn = Paths(gp, np.random.default_rng(1), 20_000, 4096)(X) - gp.theta.mean
    expected = gp.covariance(gp.features(X), gp.features(X))[0]
    np.testing.assert_allclose(drawn @ drawn.T / drawn.shape[1], expected, atol=0.06)


@pytest.mark.parametrize("domain", sorted(DOMAINS))
@pytest.mark.parametrize("name", ["logei", "ei", "thompson", "mes", "kg", "nei"])
def test_acquisitions_have_scores_and_slopes_with_it(name: str, domain: str, toy: str) -> None:
    case = context(DOMAINS[domain], pending=2, kernel=toy)
    score = score_of(acquisition(name), case)
    X = DOMAINS[domain].at_horizon(inside(DOMAINS[domain], 6))
    assert_slopes(score, X, DOMAINS[domain], rtol=1e-4)


def test_it_is_fitted_along_its_gradient(toy: str) -> None:
    rng = np.random.default_rng(0)
    domain = DOMAINS["mixed"]
    X = domain.random(rng, 30)
    y = np.sin(5 * X[:, 0]) + 0.5 * (X[:, 1] == 1)
    theta = fit(X, (y - y.mean()) / y.std(), domain, 0, kernel=toy)
    assert theta.kernel == toy
    value, slope = log_marginal_likelihood(X, y, domain, theta)
    t, h = np.array(theta.to_list()), 1e-5
    for j, step in enumerate(h * np.eye(len(t))):
        up, down = (log_marginal_likelihood(X, y, domain, type(theta).from_list(list(t + s), toy))[0] for s in (step, -step))
        assert slope[j] == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-5)
    assert np.isfinite(value)


@pytest.mark.parametrize("name", ["logei", "thompson", "mes", "kg"])
def test_the_linter_tries_acquisitions_with_it(name: str, toy: str) -> None:
    assert lint(name, kernel=toy).is_ok
    with pytest.raises(ValueError, match="kernel 'nobodys' is not one of matern52"):
        lint("kg", kernel="nobodys")


@pytest.mark.parametrize("name", ["auto", "ei", "thompson", "mes", "kg"])
def test_the_sampler_searches_with_it(name: str, toy: str) -> None:
    optimizer = GP(Space(x=Float(0.0, 1.0), y=Categorical(["a", "b"])), seed=0, kernel=toy, acquisition=name)
    for _ in range(14):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, (job.config["x"] - 0.3) ** 2 + (job.config["y"] == "b"))
    assert optimizer.posterior().theta.kernel == toy
    best = optimizer.history.results[optimizer.history.rank(optimizer.history.finished_keys)[0]]
    assert best.metrics["loss"] < 0.01
