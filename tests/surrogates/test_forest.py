"""A forest's mean and variance against their definition, and against scikit-learn's own forest."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import surrogates.forest
from surrogates import Domain
from surrogates.forest import LEAST, RegressionForest, require_trees, split_columns

pytest.importorskip("sklearn")
PLANE = Domain(("float",) * 2, (None,) * 2, (0,) * 2, ((),) * 2)
# a choice of three; a number that is active for its first option only; an integer
MIXED = Domain(("categorical", "float", "int"), (None, None, np.linspace(0, 1, 4)), (3, 0, 4), ((), ((0, (0.0,)),), ()))


def noisy_plane(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n rows of which every one stands there twice, with different targets."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.random((n // 2, 2)), 2, axis=0)
    return X, np.sin(6 * X[:, 0]) + X[:, 1] + 0.3 * rng.standard_normal(len(X))


def test_mean_and_variance_are_those_of_the_law_of_total_variance() -> None:
    """Recomputed from the targets in every leaf; without either of its two parts the variance is another one."""
    X, y = noisy_plane(40)
    forest = RegressionForest.fit(PLANE, X, y, np.random.default_rng(3), trees=7)
    there, at = split_columns(PLANE, X), np.random.default_rng(1).random((50, 2))
    rng = np.random.default_rng(3)
    rng.integers(2**31, size=7)  # the trees' own seeds
    means, variances = np.zeros((7, 50)), np.zeros((7, 50))
    for b, tree in enumerate(forest.trees):
        weights = np.bincount(rng.integers(40, size=40), minlength=40)
        leaves, mine = tree.apply(there), tree.apply(split_columns(PLANE, at))
        for i, leaf in enumerate(mine):
            inside = np.repeat(y, np.where(leaves == leaf, weights, 0))
            means[b, i], variances[b, i] = inside.mean(), inside.var()
    belief = forest.predict(at)
    np.testing.assert_allclose(belief.mean, means.mean(0), rtol=1e-10)
    np.testing.assert_allclose(belief.sd**2, variances.mean(0) + means.var(0), rtol=1e-8)
    assert not np.allclose(belief.sd**2, variances.mean(0), rtol=0.1) and not np.allclose(belief.sd**2, means.var(0), rtol=0.1)


def test_a_large_forest_predicts_what_that_of_scikit_learn_does() -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    X, y = noisy_plane(60)
    at = np.random.default_rng(5).random((100, 2))
    theirs = ExtraTreesRegressor(600, bootstrap=True, random_state=0).fit(X, y).predict(at)
    ours = RegressionForest.fit(PLANE, X, y, np.random.default_rng(0), trees=600).predict(at)
    wrong = RegressionForest.fit(PLANE, X, y[::-1], np.random.default_rng(0), trees=600).predict(at)
    error = np.abs(ours.mean - theirs) / (ours.sd / np.sqrt(300))  # both are means over 600 trees
    assert np.mean(error < 2) > 0.85 and error.max() < 5
    assert np.mean(np.abs(wrong.mean - theirs) / (wrong.sd / np.sqrt(300)) < 2) < 0.5


def test_the_variance_grows_away_from_results_and_vanishes_where_all_agree() -> None:
    X = np.concatenate([np.linspace(0, 0.3, 12), np.linspace(0.7, 1, 12)])[:, None] * np.ones(2)
    forest = RegressionForest.fit(PLANE, X, np.where(X[:, 0] < 0.5, 0.0, 1.0), np.random.default_rng(0), trees=50)
    belief = forest.predict(np.array([[0.15, 0.15], [0.5, 0.5], [0.85, 0.85]]))
    assert belief.sd[1] > 0.3 and belief.sd[[0, 2]] == pytest.approx([LEAST, LEAST])
    assert belief.mean[[0, 2]] == pytest.approx([0.0, 1.0]) and 0.2 < belief.mean[1] < 0.8


def test_choices_are_split_by_option_and_what_is_inactive_is_a_value_of_its_own() -> None:
    X = MIXED.random(np.random.default_rng(0), 120)
    y = np.where(X[:, 0] == 1, 3.0, 0.0) + np.where(np.isnan(X[:, 1]), 0.0, X[:, 1])
    columns = split_columns(MIXED, X)
    assert columns.shape == (120, 5) and columns.dtype == np.float32
    assert np.array_equal(columns[:, 2:].argmax(axis=1), X[:, 0]) and np.array_equal(columns[:, 2:].sum(axis=1), np.ones(120))
    assert np.array_equal(columns[:, 0] == -1, np.isnan(X[:, 1]))
    belief = RegressionForest.fit(MIXED, X, y, np.random.default_rng(0), trees=50).predict(
        np.array([[1.0, np.nan, 0.0], [2.0, np.nan, 0.0], [0.0, 0.9, 0.0], [0.0, 0.1, 0.0]])
    )
    assert belief.mean == pytest.approx([3.0, 0.0, 0.9, 0.1], abs=0.2)


def test_the_same_arguments_give_the_same_bits_and_another_seed_other_trees() -> None:
    X, y = noisy_plane(30)
    made = [RegressionForest.fit(PLANE, X, y, np.random.default_rng(seed)).predict(X) for seed in (1, 1, 2)]
    assert np.array_equal(made[0].mean, made[1].mean) and np.array_equal(made[0].sd, made[1].sd)
    assert not np.array_equal(made[0].mean, made[2].mean)


@pytest.mark.parametrize("y", [np.zeros(1), np.full(5, 2.0), np.array([1e12, -1e12, 0.0])])
def test_few_and_ugly_targets(y: np.ndarray) -> None:
    X = PLANE.random(np.random.default_rng(0), len(y))
    belief = RegressionForest.fit(PLANE, X, y, np.random.default_rng(0)).predict(PLANE.random(np.random.default_rng(1), 20))
    assert np.isfinite(belief.mean).all() and (belief.sd >= LEAST).all()
    assert y.min() - 1e-3 <= belief.mean.min() and belief.mean.max() <= y.max() + 1e-3


def test_without_scikit_learn_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogates.forest, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"^a random forest needs scikit-learn, .* installs it$"):
        require_trees()
    with pytest.raises(ModuleNotFoundError, match="scikit-learn"):
        RegressionForest.fit(PLANE, np.zeros((1, 2)), np.zeros(1), np.random.default_rng(0))


def test_the_example_runs() -> None:
    assert doctest.testmod(surrogates.forest).failed == 0 < doctest.testmod(surrogates.forest).attempted
