"""What every listed acquisition keeps: derivatives, finite scores, the same bits, respect for pending rows."""

import timeit
from dataclasses import replace

import numpy as np
import pytest

from surrogates import ACQUISITIONS, EHVI, NEHVI, Ensemble, GaussianProcess, Score, acquisition, ensemble_of, score_of
from tests.surrogates.contexts import DOMAINS, assert_slopes, box, context, hyperparameters, inside

SEVERAL = {"ehvi": 2, "nehvi": 2}  # objectives where the acquisition is made for several
NAMES = sorted(ACQUISITIONS)


def make(name, domain, **more):
    return context(domain, objectives=SEVERAL.get(name, 1), noisy=True, **more)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", DOMAINS)
@pytest.mark.parametrize("pending", [0, 3])
def test_slopes(name, where, pending):
    domain = DOMAINS[where]
    score = score_of(acquisition(name), make(name, domain, pending=pending))
    assert_slopes(score, inside(domain, 8), domain)


@pytest.mark.parametrize("name", NAMES)
def test_slopes_of_a_warped_rough_model(name):
    domain = DOMAINS["conditional"]
    score = score_of(acquisition(name), make(name, domain, pending=2, kernel="matern32", warped=True))
    assert_slopes(score, inside(domain, 8), domain)


@pytest.mark.parametrize("objectives", [1, 3])
@pytest.mark.parametrize("chosen", [EHVI(), NEHVI(draws=4)])
def test_slopes_of_other_numbers_of_objectives(chosen, objectives):
    domain = DOMAINS["mixed"]
    assert_slopes(score_of(chosen, context(domain, objectives=objectives, pending=2)), inside(domain, 6), domain)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noise", [1e-8, 1e-2, 1.0])
def test_finite_at_told_rows_at_pending_rows_and_at_the_bounds(name, noise):
    domain = DOMAINS["conditional"]
    s = make(name, domain, pending=2, noise=noise)
    corners = domain.snap(np.array([[0.0, 0.0, np.nan, np.nan], [1.0, 2.0, 1.0, 0.0], [0.0, 1.0, 0.0, np.nan]]))
    score = score_of(acquisition(name), s)
    X = np.concatenate([s.rows, s.pending, corners])
    value, slope = score.gradient(X)
    assert np.isfinite(value).all() and np.isfinite(slope).all() and np.isfinite(score(X)).all()


@pytest.mark.parametrize("name", NAMES)
def test_finite_forty_sigma_away(name):
    """Steep data with tiny noise: posterior means lie hundreds of standard deviations above the best."""
    domain = box(1)
    rows = np.linspace(0, 1, 30)[:, None]
    theta = hyperparameters(domain, noise=1e-8)
    gp = GaussianProcess(domain, rows, 3.0 * rows[:, 0] - 1.5, theta)
    mean, variance = gp.predict(np.array([[0.9]]))
    assert (mean[0] + 1.5) / np.sqrt(variance[0]) > 400
    s = replace(make(name, domain), gps=(gp,) * SEVERAL.get(name, 1), rows=rows, incumbent=-1.5)
    X = np.linspace(0, 1, 121)[:, None]
    value, slope = score_of(acquisition(name), s).gradient(X)
    assert np.isfinite(value).all() and np.isfinite(slope).all()
    if score_of(acquisition(name), s).log_scale:
        assert value.min() < -1e4  # exp of it is zero
        inner = slice(50, 110)  # where a plain worth would be flat zero, the logarithm still leads somewhere
        assert (np.abs(slope[inner]).max(axis=1) > 1).mean() > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits(name):
    domain = DOMAINS["mixed"]
    X = inside(domain, 20)
    first, second = (score_of(acquisition(name), make(name, domain, pending=2)).gradient(X) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("name", ["thompson", "mes", "nei", "nehvi"])
def test_another_seed_is_another_score(name):
    domain = DOMAINS["mixed"]
    s, X = make(name, domain), inside(domain, 5)
    other = replace(s, seed=s.seed + 1)
    assert not np.array_equal(score_of(acquisition(name), s)(X), score_of(acquisition(name), other)(X))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "thompson"])
@pytest.mark.parametrize("seed", range(3))
def test_a_pending_row_is_worth_less_than_before(name, seed):
    """At the row that was best, once it is pending."""
    domain = box(2)
    s = make(name, domain, noise=1e-3, seed=seed)
    X = domain.random(np.random.default_rng(5), 300)
    before = score_of(acquisition(name), s)(X)
    best = int(before.argmax())
    after = score_of(acquisition(name), replace(s, pending=X[best : best + 1]))(X)
    assert after[best] < before[best] - 0.01
    near = np.clip(X[best] + 0.01, 0, 1)[None]  # and beside it
    assert score_of(acquisition(name), replace(s, pending=X[best : best + 1]))(near) < before[best]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_scored_one_by_one(name):
    """A row's score does not depend on the rows beside it, nor on whether derivatives were asked for."""
    domain = DOMAINS["conditional"]
    score, X = score_of(acquisition(name), make(name, domain, pending=1)), inside(domain, 6)
    np.testing.assert_allclose(score(X), [score(x[None])[0] for x in X], rtol=1e-10)
    assert score(X[:0]).shape == (0,) and score.gradient(X[:0])[1].shape == (0, domain.d)


@pytest.mark.parametrize("name", NAMES)
def test_told_rows_may_repeat_and_be_few(name):
    domain = box(2)
    s = make(name, domain, n=1, noise=0.1)
    twice = replace(s, gps=tuple(GaussianProcess(domain, np.repeat(s.rows, 3, 0), np.ones(3), gp.theta) for gp in s.gps),
                    rows=np.repeat(s.rows, 3, 0), pending=np.repeat(s.rows, 2, 0))
    for one in (s, twice):
        value, slope = score_of(acquisition(name), one).gradient(inside(domain, 4))
        assert np.isfinite(value).all() and np.isfinite(slope).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "thompson"])
def test_an_ensemble_averages_worths(name):
    domain = DOMAINS["mixed"]
    contexts = []
    for seed in range(3):
        s = make(name, domain, pending=1)
        gps = tuple(GaussianProcess(domain, s.rows, gp.y, hyperparameters(domain, seed=seed)) for gp in s.gps)
        contexts.append(replace(s, gps=gps, seed=seed))
    score, X = ensemble_of(acquisition(name), contexts), inside(domain, 6)
    each = np.array([score_of(acquisition(name), s)(X) for s in contexts])
    expected = np.log(np.exp(each).mean(axis=0)) if score.log_scale else each.mean(axis=0)
    np.testing.assert_allclose(score(X), expected, rtol=1e-12)
    assert_slopes(score, X, domain)


def test_an_ensemble_is_of_one_scale():
    s = context(box(2))
    with pytest.raises(ValueError, match="2 scores came to an ensemble"):
        Ensemble([score_of(acquisition("logei"), s), score_of(acquisition("ei"), s)])
    with pytest.raises(ValueError, match="0 scores came"):
        Ensemble([])


@pytest.mark.parametrize("name", NAMES)
def test_several_objectives_are_taken_or_refused_as_declared(name):
    if getattr(acquisition(name), "several", False):
        assert score_of(acquisition(name), context(box(2), objectives=2))(inside(box(2), 3)).shape == (3,)
        return
    with pytest.raises(ValueError, match="2 objectives came to an acquisition of one; ehvi and nehvi take several"):
        score_of(acquisition(name), context(box(2), objectives=2))


def test_a_context_is_complete():
    s = context(box(2), objectives=2)
    with pytest.raises(ValueError, match="2 models and 0 told rows came"):
        replace(s, rows=s.rows[:0])
    with pytest.raises(ValueError, match=r"a reference point of shape \(3,\) came with 2 objectives; allowed is \(2,\)"):
        replace(s, reference=np.ones(3))


def test_any_function_is_scored_too():
    s = context(box(2), pending=2)
    chosen = acquisition(lambda posterior, incumbent: incumbent - posterior.mean + posterior.sd)
    score = score_of(chosen, s)
    assert isinstance(score, Score) and not score.log_scale
    assert_slopes(score, inside(box(2), 5), box(2), rtol=1e-5)


def test_auto_chooses_by_the_context():
    domain, X = box(2), inside(box(2), 4)
    for noisy, objectives, name in [(False, 1, "logei"), (True, 1, "nei"), (False, 2, "ehvi"), (True, 2, "nehvi")]:
        s = context(domain, objectives=objectives, noisy=noisy)
        expected = score_of(acquisition(name), s)(X)
        np.testing.assert_array_equal(score_of(acquisition("auto"), s)(X), expected)


@pytest.mark.slow
def test_no_acquisition_is_much_slower_than_log_ei():
    """A call with derivatives for 8 rows, 200 told rows and 6 columns: the fastest of 40, relative to LogEI's."""
    domain = box(6)
    X = inside(domain, 8)

    def seconds(name):
        score = score_of(acquisition(name), make(name, domain, n=200, pending=4, noise=0.1))
        return min(timeit.repeat(lambda: score.gradient(X), number=1, repeat=40))

    least = seconds("logei")
    slow = {name: seconds(name) / least for name in NAMES}
    assert max(slow.values()) < 10, slow
