"""What the knowledge gradient may recommend: against all of the domain, and against places that it must not miss."""

import numpy as np
import pytest

from surrogates import KG, Context, GaussianProcess, Hyperparameters, score_of
from surrogates.acquisitions.kg import KGScore
from surrogates.acquisitions.minima import minima_of_mean, places_of_minima
from tests.surrogates.contexts import DOMAINS, at_budgets, box, context

AXIS = np.linspace(0.0, 1.0, 40)
GRID = np.stack(np.meshgrid(AXIS, AXIS), axis=-1).reshape(-1, 2)


def gradients(score, X):
    """(m,) knowledge gradients, a few rows at a time."""
    return np.exp(np.concatenate([score(part) for part in np.array_split(X, 40)]))


@pytest.mark.parametrize(("n", "noise", "seed"), [(30, 1e-3, 14), (60, 1e-2, 109), (15, 1e-4, 103)])
def test_it_is_nearly_that_of_the_whole_domain(n, noise, seed):
    """At the ten rows that are worth most, and at the row that it proposes; from told rows alone, 0.2 of it or less."""
    s = context(box(2), n=n, noise=noise, seed=seed)
    whole, ours = gradients(KGScore(s.gp, GRID), GRID), gradients(score_of(KG(), s), GRID)
    best = np.argsort(-whole)[:10]
    assert np.median(ours[best] / whole[best]) > 0.7
    assert whole[ours.argmax()] > 0.95 * whole.max()
    assert (ours < 1.1 * whole.max()).all()


@pytest.mark.parametrize("where", DOMAINS)
def test_it_proposes_well_over_any_domain(where):
    domain = DOMAINS[where]
    X = at_budgets(domain, domain.random(np.random.default_rng(9), 1500), (1.0,))
    for seed in range(2):
        s = context(domain, pending=2, noise=1e-3, seed=seed)
        whole, ours = gradients(KGScore(s.hallucinated_gp, X), X[:300]), gradients(score_of(KG(), s), X[:300])
        assert whole[ours.argmax()] > 0.85 * whole.max()


def test_minima_of_the_mean_are_sought_in_all_basins():
    """Three of them, of which the broadest is the lowest."""
    rows = np.linspace(0.0, 1.0, 25)[:, None]
    y = -np.exp(-(((rows[:, 0] - 0.2) / 0.08) ** 2)) - 0.8 * np.exp(-(((rows[:, 0] - 0.55) / 0.05) ** 2))
    y -= 0.7 * np.exp(-(((rows[:, 0] - 0.85) / 0.05) ** 2))
    gp = GaussianProcess(box(1), rows, y, Hyperparameters((-2.5,), 0.0, -12.0, 0.0))
    s = Context((gp,), rows, rows[:0], float(y.min()), 0)
    found = np.sort(minima_of_mean(gp, s, 3)[:, 0])
    np.testing.assert_allclose(found, [0.2, 0.55, 0.85], atol=0.02)
    assert len(minima_of_mean(gp, s, 1)) == 1


@pytest.mark.parametrize("where", DOMAINS)
def test_places_of_minima_are_different_feasible_rows_at_the_horizon(where):
    domain = DOMAINS[where]
    s = context(domain, pending=2)
    rows = places_of_minima(s.hallucinated_gp, s, 16)
    assert 1 < len(set(domain.keys(rows))) == len(rows) <= 16
    np.testing.assert_array_equal(rows, domain.at_horizon(domain.snap(rows)))
    np.testing.assert_array_equal(rows, places_of_minima(s.hallucinated_gp, s, 16))
