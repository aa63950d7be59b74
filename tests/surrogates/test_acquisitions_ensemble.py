"""One acquisition under several samples of the hyperparameters: averaged, or, where it is a draw, one of its draws."""

from dataclasses import replace

import numpy as np
import pytest

from surrogates import ACQUISITIONS, Ensemble, GaussianProcess, Thompson, combine, ensemble_of, score_of
from tests.surrogates.contexts import box, context, hyperparameters, inside

THOMPSON = Thompson(frequencies=128)


def samples(k=4):
    """The same results under different hyperparameters."""
    s = context(box(2), n=8)
    thetas = [replace(hyperparameters(box(2), seed=i), mean=0.1 + 0.4 * i) for i in range(k)]
    return [replace(s, gps=(GaussianProcess(box(2), s.rows, s.gp.y, theta),)) for theta in thetas]


def test_draws_vary_as_the_mixture_does_and_their_mean_does_not():
    contexts, X, seeds = samples(), inside(box(2), 5), range(1200)
    mixed, averaged = [], []
    for seed in seeds:
        scores = [score_of(THOMPSON, replace(s, seed=seed)) for s in contexts]
        mixed.append(-combine(THOMPSON, scores, seed)(X))
        averaged.append(-Ensemble(scores)(X))
    means, variances = (np.array(part) for part in zip(*(s.gp.predict(X) for s in contexts), strict=True))
    expected = variances.mean(axis=0) + means.var(axis=0)
    error = 5.0 * np.sqrt(2.0 / len(seeds))  # of a variance: five standard deviations
    np.testing.assert_allclose(np.mean(mixed, axis=0), means.mean(axis=0), atol=0.2 * np.sqrt(expected.max()))
    np.testing.assert_allclose(np.var(mixed, axis=0), expected, rtol=error)
    assert np.median(np.var(averaged, axis=0) / expected) < 0.75 < 1.0 - error


def test_one_of_the_draws_is_chosen_by_the_seed():
    contexts, X = samples(3), inside(box(2), 4)
    scores = [score_of(THOMPSON, s) for s in contexts]
    assert [combine(THOMPSON, scores, seed) for seed in range(6)] == [*scores, *scores]
    np.testing.assert_array_equal(ensemble_of(THOMPSON, [replace(s, seed=5) for s in contexts])(X),
                                  score_of(THOMPSON, replace(contexts[2], seed=5))(X))  # fmt: skip


def test_all_others_are_averaged_and_a_single_one_is_itself():
    assert [name for name, chosen in ACQUISITIONS.items() if getattr(chosen, "is_draw", False)] == ["thompson"]
    contexts = samples(3)
    for name in ("logei", "nei", "mes"):
        scores = [score_of(ACQUISITIONS[name], s) for s in contexts]
        found = combine(ACQUISITIONS[name], scores, 7)
        assert isinstance(found, Ensemble) and list(found.scores) == scores
        assert combine(ACQUISITIONS[name], scores[:1], 7) is scores[0]


@pytest.mark.parametrize("chosen", [THOMPSON, ACQUISITIONS["logei"]])
def test_no_scores_are_refused(chosen):
    with pytest.raises(ValueError, match="0 scores came to an ensemble"):
        combine(chosen, [], 0)
    with pytest.raises(ValueError, match="0 scores came to an ensemble"):
        ensemble_of(chosen, [])
