"""Feasible sets that random rows seldom hit: found, walked from, replayed; and others are drawn as they always were."""

import numpy as np
import pytest

from surrogates import Domain, maximize
from surrogates.rare import SCOUTS, step_rows


def box(d, feasible=None):
    return Domain(("float",) * d, (None,) * d, (0,) * d, ((),) * d, feasible)


def ball(radius):
    return lambda X: ((X - [0.7, 0.2, 0.5]) ** 2).sum(axis=1) < radius**2


class Counted:
    """A feasible set that counts the rows that it is asked about."""

    def __init__(self, holds):
        self.holds, self.rows = holds, 0

    def __call__(self, X):
        self.rows += len(X)
        return self.holds(X)


class Several:
    """Slabs, one a column, each a hundredth wide: 1e-6 of the cube."""

    def count_held(self, X):
        return np.cumprod(np.abs(X - 0.3) < 0.005, axis=1).sum(axis=1)

    def __call__(self, X):
        return self.count_held(X) == X.shape[1]


@pytest.mark.parametrize("share", [1e-3, 1e-4])
def test_a_rare_ball_is_found_and_covered(share):
    feasible = Counted(ball((share * 0.75 / np.pi) ** (1 / 3)))
    domain = box(3, feasible)
    X = domain.random(np.random.default_rng(1), 300)
    assert domain.is_rare and feasible.holds(X).all() and feasible.rows < 110_000
    radius = (share * 0.75 / np.pi) ** (1 / 3)
    Z = (X - [0.7, 0.2, 0.5]) / radius
    assert np.abs(Z.mean(axis=0)).max() < 0.15  # of a uniform ball 0.03
    assert 0.3 < (Z**2).sum(axis=1).mean() < 0.8  # of a uniform ball 0.6
    before = feasible.rows
    assert feasible.holds(domain.try_rows(np.random.default_rng(2), 384)).all() and feasible.rows - before < 2000


def test_what_was_asked_before_changes_nothing():
    one, other = box(3, ball(0.03)), box(3, ball(0.03))
    one.random(np.random.default_rng(5), 7)
    one.try_rows(np.random.default_rng(6), 100)
    for domain in (one, other):
        assert domain.sobol(3, 10).tobytes() == other.sobol(3, 200)[:10].tobytes()
    assert one.random(np.random.default_rng(1), 9).tobytes() == other.random(np.random.default_rng(1), 9).tobytes()


def test_several_constraints_lead_to_one_another():
    domain = box(3, Several())
    assert domain.is_feasible(domain.random(np.random.default_rng(0), 50)).all()


def test_an_empty_set_is_refused_after_a_bounded_search():
    feasible = Counted(lambda X: np.zeros(len(X), dtype=bool))
    with pytest.raises(ValueError, match="no feasible point in 100,000 random draws"):
        box(3, feasible).random(np.random.default_rng(0), 1)
    assert feasible.rows < 120_000


def test_a_set_that_is_not_rare_is_drawn_by_rejection_and_no_more_is_asked_than_it_takes():
    feasible = Counted(lambda X: X[:, 0] < 0.1)
    domain = box(2, feasible)
    assert not domain.is_rare and feasible.rows <= SCOUTS
    before = feasible.rows
    U = np.random.default_rng(4).random((4 * 50, 2))
    np.testing.assert_array_equal(domain.try_rows(np.random.default_rng(4), 50), U[U[:, 0] < 0.1][:50])
    domain.random(np.random.default_rng(4), 1)
    assert feasible.rows - before <= 200 + 16 * 8


def test_the_maximiser_reaches_the_edge_of_a_rare_set():
    domain = box(3, ball(0.03))
    x = maximize(lambda X: X[:, 0], domain, seed=0)
    assert domain.is_feasible(x[None])[0] and x[0] > 0.725


def test_a_part_of_a_rare_set():
    domain = box(3, ball(0.03))
    part = domain.narrow(lambda X: X[:, 0] > 0.7)
    X = part.try_rows(np.random.default_rng(0), 100)
    assert len(X) > 20 and (X[:, 0] > 0.7).all() and domain.is_feasible(X).all()


def test_steps_are_legal():
    domain = Domain(("categorical", "float", "int"), (None, None, np.array([0.1, 0.5, 0.9])), (2, 0, 3),
                    ((), ((0, (1.0,)),), ()))  # fmt: skip
    X = step_rows(domain, domain.random(np.random.default_rng(0), 500), np.random.default_rng(1))
    np.testing.assert_array_equal(domain.snap(X), X)
    assert len(set(domain.keys(X))) > 100
