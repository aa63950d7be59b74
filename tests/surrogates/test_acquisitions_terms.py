"""What is added to a score: costs, constraints, a prior; together, with slopes, and only to logarithms."""

import numpy as np
import pytest
from scipy.stats import norm

from surrogates import (
    ACQUISITIONS,
    Feasibility,
    Known,
    PosteriorMean,
    Sum,
    acquisition,
    cost_aware,
    pibo,
    score_of,
    with_constraints,
)
from tests.surrogates.contexts import DOMAINS, assert_slopes, box, conditional, context, inside

LOGARITHMS = ["logei", "pi", "mes", "kg", "nei", "auto"]


def log_prior(domain):
    return Known(lambda X: norm.logpdf(X[:, 0], 0.3, 0.1), domain)


def log_cost(X):
    return 2.0 + 3.0 * X[:, 0] - np.cos(X[:, 1])


@pytest.mark.parametrize("where", DOMAINS)
@pytest.mark.parametrize("name", LOGARITHMS)
def test_all_terms_together(name, where):
    domain = DOMAINS[where]
    s, X = context(domain, pending=1, noisy=True), inside(domain, 6)
    cost, limits = context(domain, seed=5).gp, [context(domain, seed=6).gp, context(domain, seed=7).gp]
    score, feasibility = score_of(acquisition(name), s), Feasibility(limits, (0.3, -0.2))
    whole = pibo(with_constraints(cost_aware(score, PosteriorMean(cost, 4.0, 1.5), 0.7), feasibility, known=True),
                 log_prior(domain), beta=3.0, n=15)
    expected = score(X) - 0.7 * (4.0 + 1.5 * cost.predict(X)[0]) + 0.2 * norm.logpdf(X[:, 0], 0.3, 0.1)
    for gp, bound in zip(limits, (0.3, -0.2), strict=True):
        mean, variance = gp.predict(X)
        expected += norm.logcdf(bound, mean, np.sqrt(variance))
    np.testing.assert_allclose(whole(X), expected, rtol=1e-10)
    assert whole.log_scale
    assert_slopes(whole, X, domain)


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_only_logarithms_may_be_added(name):
    domain = box(2)
    objectives = 2 if "hvi" in name else 1
    score, prior = score_of(acquisition(name), context(domain, objectives=objectives)), log_prior(domain)
    if acquisition(name).log_scale:
        assert np.isfinite(Sum((score, prior), (1.0, 1.0))(inside(domain, 3))).all()
        return
    for build in (lambda: pibo(score, prior, 1.0, 3), lambda: cost_aware(score, prior),
                  lambda: with_constraints(score, Feasibility([], []), known=True)):
        with pytest.raises(ValueError, match=r"^(EI|UCB|ThompsonScore) is not on a log scale: only logarithms may be added$"):
            build()


def test_weights_are_one_each():
    domain = box(2)
    with pytest.raises(ValueError, match="1 terms came with 2 weights"):
        Sum((log_prior(domain),), (1.0, 2.0))
    with pytest.raises(ValueError, match="1 constraints came with 0 bounds"):
        Feasibility([context(domain).gp], [])


def test_worth_per_cost():
    """exp(log EI - log cost) is EI divided by seconds; without an exponent, cost plays no part."""
    domain = box(2)
    s, X = context(domain), inside(domain, 10)
    cost, ei = Known(log_cost, domain), score_of(acquisition("ei"), s)(X)
    score = score_of(acquisition("logei"), s)
    np.testing.assert_allclose(np.exp(cost_aware(score, cost)(X)), ei / np.exp(log_cost(X)), rtol=1e-12)
    np.testing.assert_array_equal(cost_aware(score, cost, exponent=0.0)(X), score(X))


def test_without_a_feasible_point_only_feasibility_counts():
    domain = box(2)
    s, feasibility = context(domain), Feasibility([context(domain, seed=3).gp], [0.0])
    score = score_of(acquisition("logei"), s)
    assert with_constraints(score, feasibility, known=False) is feasibility
    assert_slopes(feasibility, inside(domain, 6), domain)


def test_feasibility_is_finite_forty_sigma_from_the_bound():
    domain = box(2)
    gp = context(domain, noise=1e-6).gp
    value, slope = Feasibility([gp, gp], [-1e3, 1e3]).gradient(inside(domain, 30))
    assert np.isfinite(value).all() and np.isfinite(slope).all() and value.max() < -1e4


def test_a_prior_fades_with_results():
    domain = box(2)
    score, X = score_of(acquisition("logei"), context(domain)), inside(domain, 5)
    prior = log_prior(domain)
    early, late = (pibo(score, prior, beta=5.0, n=n)(X) - score(X) for n in (1, 500))
    np.testing.assert_allclose(early, 500 * late, rtol=1e-9)
    with pytest.raises(ValueError, match="n is 0; allowed is a number of results of at least 1"):
        pibo(score, prior, beta=5.0, n=0)


def test_known_functions_use_their_slope_or_differences():
    domain, X = box(2), inside(box(2), 7)
    slope = Known(log_cost, domain, lambda X: np.column_stack([np.full(len(X), 3.0), np.sin(X[:, 1])]))
    numeric = Known(log_cost, domain)
    np.testing.assert_array_equal(slope.gradient(X)[0], log_cost(X))
    np.testing.assert_allclose(numeric.gradient(X)[1], slope.gradient(X)[1], rtol=1e-8)
    corners = np.array([[0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(numeric.gradient(corners)[1], slope.gradient(corners)[1], atol=1e-5)  # one-sided


def test_a_known_function_may_be_infinite_and_columns_asleep():
    domain = conditional()
    X = inside(domain, 20)
    assert np.isnan(X).any()
    with np.errstate(divide="ignore"):
        prior = Known(lambda X: np.log((X[:, 0] > 0.5).astype(float)), domain)
        value, slope = prior.gradient(X)
    assert (value[X[:, 0] <= 0.5] == -np.inf).all() and (value[X[:, 0] > 0.5] == 0).all()
    assert (slope == 0).all()
