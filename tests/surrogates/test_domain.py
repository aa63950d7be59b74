"""Domains: snapping, conditions, draws, moves, counting."""

import numpy as np
import pytest

from surrogates import Domain
from surrogates.columns import OFF

LEVELS = np.array([0.0, 0.25, 0.5, 1.0])


def mixed(feasible=None):
    """float; int with 4 levels; 3 categories; a float under category 1; 2 categories under the last one's activity."""
    return Domain(
        kinds=("float", "int", "categorical", "float", "categorical"),
        levels=(None, LEVELS, None, None, None),
        sizes=(0, 4, 3, 0, 2),
        parents=((), (), (), ((2, (1.0,)),), ((2, (1.0, 2.0)), (1, (0.25, 0.5)))),
        feasible=feasible,
    )


def discrete(feasible=None):
    return Domain(
        kinds=("int", "categorical", "int"),
        levels=(LEVELS, None, np.array([0.2, 0.8])),
        sizes=(4, 3, 2),
        parents=((), (), ((1, (0.0,)),)),
        feasible=feasible,
    )


def test_snap_clips_rounds_and_puts_to_sleep():
    rows = [[1.7, 0.4, 0.9, np.nan, 3.0], [-1.0, np.nan, 2.2, 0.3, np.nan], [0.5, 0.8, 9.0, 0.3, 0.2]]
    X = mixed().snap(np.array(rows))
    expected = np.array([[1.0, 0.5, 1.0, 0.5, 1.0], [0.0, 0.5, 2.0, np.nan, 0.0], [0.5, 1.0, 2.0, np.nan, np.nan]])
    np.testing.assert_array_equal(X, expected)
    np.testing.assert_array_equal(mixed().snap(X), X)
    np.testing.assert_array_equal(mixed().active(X), ~np.isnan(expected))


def test_features_give_inactive_columns_a_value_of_their_own():
    Z = mixed().features(np.array([[0.1, 1.0, 0.0, np.nan, np.nan]]))
    np.testing.assert_array_equal(Z, [[0.1, 1.0, 0.0, OFF, 2.0]])


def test_rows_outside_are_named():
    rows = mixed().random(np.random.default_rng(0), 20)
    np.testing.assert_array_equal(mixed().check(rows, "X"), rows)
    for value, column, high in ((1.7, 0, 1), (-0.1, 1, 1), (3.0, 2, 2), (np.inf, 3, 1)):
        wrong = rows.copy()
        wrong[7, column] = value
        with pytest.raises(ValueError, match=f"X has {value:g} in column {column} of row 7, .* allowed is 0 to {high}"):
            mixed().check(wrong, "X")
    with pytest.raises(ValueError, match=r"X has rows of shape \(1, 2\); allowed are rows of 5 columns"):
        mixed().check([0.5, 0.5], "X")


def test_a_narrowed_domain_asks_the_constraint_no_more():
    """The same rows in the same order as if it had, and no more calls for counting them."""
    asked = []

    def feasible(X):
        asked.append(len(X))
        return X[:, 0] + X[:, 1] < 2.0

    def holds(X):
        return X[:, 1] > 0.0

    domain, again = discrete(feasible), discrete(lambda X: feasible(X) & holds(X))
    assert domain.size == len(domain.enumerate())
    before = sum(asked)
    narrow = domain.narrow(holds)
    assert narrow.size == len(narrow.enumerate()) < domain.size and sum(asked) == before
    np.testing.assert_array_equal(narrow.enumerate(), again.enumerate())
    np.testing.assert_array_equal(narrow.random(np.random.default_rng(3), 9), again.random(np.random.default_rng(3), 9))
    narrow.enumerate()[:] = 7.0
    np.testing.assert_array_equal(narrow.enumerate(), again.enumerate())
    assert mixed().narrow(lambda X: X[:, 0] > 0.5).size == np.inf


def test_random_rows_are_legal_and_uniform_over_values():
    domain = mixed()
    X = domain.random(np.random.default_rng(0), 4000)
    np.testing.assert_array_equal(domain.snap(X), X)
    assert np.abs(np.bincount(X[:, 2].astype(int)) / 4000 - 1 / 3).max() < 0.03
    evenly = Domain(("int",), (np.linspace(0, 1, 5),), (5,), ((),)).random(np.random.default_rng(0), 5000)
    assert np.abs(np.unique(evenly, return_counts=True)[1] / 5000 - 0.2).max() < 0.03


def test_random_respects_the_constraint_and_gives_up_with_a_clear_error():
    domain = mixed(lambda X: X[:, 0] < 0.01)
    assert (domain.random(np.random.default_rng(0), 20)[:, 0] < 0.01).all()
    assert (domain.sobol(0, 20)[:, 0] < 0.01).all()
    with pytest.raises(ValueError, match="no feasible point in"):
        mixed(lambda X: np.zeros(len(X), dtype=bool)).random(np.random.default_rng(0), 1)


@pytest.mark.parametrize("domain", [mixed(), mixed(lambda X: X[:, 0] < 0.3)])
def test_sobol_is_a_sequence(domain):
    many = domain.sobol(3, 100)
    for n in (1, 2, 17, 64, 99):
        np.testing.assert_array_equal(domain.sobol(3, n), many[:n])
    np.testing.assert_array_equal(domain.snap(many), many)
    assert not np.array_equal(domain.sobol(4, 100), many, equal_nan=True)


def test_size_counts_conditional_and_constrained_points():
    assert mixed().size == np.inf
    assert discrete().size == 4 * (2 + 1 + 1)
    assert len(discrete().enumerate()) == 16
    assert len(set(discrete().keys(discrete().enumerate()))) == 16
    assert discrete(lambda X: X[:, 0] < 0.3).size == 8
    wide = Domain(("categorical",) * 12, (None,) * 12, (10,) * 12, ((),) * 12)
    assert wide.size == 1e12
    with pytest.raises(ValueError, match="float columns"):
        mixed().enumerate()


def test_keys_tell_points_apart_and_nothing_else():
    a, b, c = mixed().keys(np.array([[0.0, 0.5, 0, np.nan, 1], [-0.0, 0.5, 0, -np.nan, 1], [0.1, 0.5, 0, np.nan, 1]]))
    assert a == b != c


def test_neighbours_are_legal_single_moves():
    domain = mixed()
    x = domain.snap(np.array([[0.5, 0.25, 0.0, np.nan, np.nan]]))[0]
    rows = domain.neighbours(x)
    np.testing.assert_array_equal(domain.snap(rows), rows)
    assert set(rows[:, 1]) == {0.0, 0.25, 0.5, 1.0} and set(rows[:, 2]) == {0.0, 1.0, 2.0}
    assert x.tobytes() not in domain.keys(rows)
    woken = rows[rows[:, 2] == 1.0][0]
    assert woken[3] == 0.5 and woken[4] == 0.0


def test_no_columns_at_all():
    empty = Domain((), (), (), ())
    assert empty.size == 1 and empty.random(np.random.default_rng(0), 3).shape == (3, 0) == empty.sobol(0, 3).shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((("float",), (None,), (0,), (((0, (1.0,)),),)), "parent must come before"),
        ((("int",), (None,), (3,), ((),)), "levels"),
        ((("int",), (np.array([0.0, 0.0]),), (2,), ((),)), "strictly increasing"),
        ((("categorical",), (None,), (0,), ((),)), "size 0"),
        ((("complex",), (None,), (0,), ((),)), "not float, int, categorical or budget"),
        ((("float",), (), (0,), ((),)), "one entry a column"),
    ],
)
def test_a_contradictory_domain_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Domain(*arguments)
