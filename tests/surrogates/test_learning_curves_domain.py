"""A domain with a budget: what is refused, drawn, moved; and that proposals over it are whole trainings."""

import numpy as np
import pytest

from surrogates import (
    ACQUISITIONS,
    Context,
    Domain,
    GaussianProcess,
    acquisition,
    fit,
    maximize,
    score_of,
    standardise,
)
from surrogates.linting import whole
from surrogates.linting.findings import ask
from tests.surrogates.contexts import DOMAINS, LINE, at_budgets, context, inside, without

CURVES = DOMAINS["curves"]


# --- the domain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((("budget", "float"), (None, None), (1, 0), ((), ())), "column 0: a budget must be the last"),
        ((("budget", "budget"), (None, None), (1, 1), ((), ())), "column 0: a budget must be the last"),
        ((("categorical", "budget"), (None, None), (2, 1), ((), ((0, (1.0,)),))), "without parents"),
        ((("float", "budget"), (None, None), (0, 0), ((), ())), "of size 1"),
        ((("float", "budget"), (None, np.array([0.5])), (0, 1), ((), ())), "levels belong to int"),
    ],
)
def test_a_budget_in_the_wrong_place_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Domain(*arguments)


def test_rows_keep_the_budget_that_they_were_told_at():
    rows = np.array([[0.2, choice, 0.3, 0.4, t] for choice, t in [(1.0, 0.36), (0.0, np.nan), (2.0, 1.7), (2.0, -1.0)]])
    np.testing.assert_array_equal(CURVES.snap(rows)[:, -1], [0.36, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(CURVES.features(rows)[:, -1], [0.36, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(LINE.snap(np.array([[np.nan, np.nan]])), [[0.5, 1.0]])
    assert CURVES.active(CURVES.snap(rows))[:, -1].all() and len(set(CURVES.keys(CURVES.snap(rows)))) == 4


@pytest.mark.parametrize("domain", [LINE, CURVES], ids=["line", "curves"])
def test_draws_are_at_the_horizon(domain):
    rng, plain = np.random.default_rng(0), without(domain)
    unit = domain.from_unit(rng.random((40, domain.d)))
    for X in (domain.random(rng, 40), domain.sobol(3, 40), domain.try_rows(rng, 40), unit):
        assert X.shape == (40, domain.d) and (X[:, -1] == 1.0).all()
        np.testing.assert_array_equal(plain.snap(X[:, :-1]), X[:, :-1])
        np.testing.assert_array_equal(domain.snap(X), X)
    assert domain.size == plain.size == np.inf


def test_moves_leave_the_budget():
    x = CURVES.snap(np.array([[0.5, 1.0, 0.3, 0.0, 0.36]]))[0]
    rows = CURVES.neighbours(x)
    assert len(rows) == 2 + 2 and (rows[:, -1] == 0.36).all()  # two other categories, two levels upwards
    discrete = Domain(("int", "categorical", "budget"), (np.linspace(0, 1, 3), None, None), (3, 2, 1), ((), (), ()))
    assert discrete.size == 6 and (discrete.enumerate()[:, -1] == 1.0).all() and len(discrete.enumerate()) == 6
    assert CURVES.values(4).tolist() == [1.0] and CURVES.has_budget and not DOMAINS["mixed"].has_budget


# --- what is asked of the model ---------------------------------------------------------------------------------------


def situated(name):
    """Results at several budgets, and jobs in flight."""
    return context(CURVES, pending=3, objectives=2 if "ehvi" in name else 1, noisy=True)


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_every_acquisition_proposes_at_the_horizon(name):
    s = situated(name)
    score, told = score_of(acquisition(name), s), s.rows
    values, slopes = score.gradient(np.concatenate([told, s.pending]))
    assert np.isfinite(values).all() and np.isfinite(slopes).all() and (slopes[:, -1] == 0).all()
    row = maximize(score, CURVES, 0, exclude=set(CURVES.keys(told)))
    assert row[-1] == 1.0 and np.isfinite(score(row[None])).all()
    assert score(row[None])[0] >= score(CURVES.random(np.random.default_rng(1), 200)).max() - 1e-9
    np.testing.assert_array_equal(CURVES.snap(row[None])[0], row)


@pytest.mark.parametrize("budgets", [(0.2,), (1.0,)])
def test_a_search_around_told_rows_is_at_the_horizon_too(budgets):
    """Even for a score that would rather have it elsewhere."""
    told = at_budgets(CURVES, CURVES.random(np.random.default_rng(0), 5), budgets)
    assert all(maximize(lambda X: -X[:, -1], CURVES, seed, best_rows=told)[-1] == 1.0 for seed in range(3))


@pytest.mark.parametrize("name", ["logei", "nei", "kg"])
def test_a_short_training_in_flight_is_no_best(name):
    """Losses that rise with the budget: what is pending at a low one is not what whole trainings are to beat."""
    x, t = np.linspace(0.0, 1.0, 16), np.resize([0.04, 0.12, 1.0], 16)
    rows, z = np.column_stack([x, t]), standardise(4.0 * (x - 0.4) ** 2 + 1.5 * t).z
    gp, top = GaussianProcess(LINE, rows, z, fit(rows, z, LINE, 0)), at_budgets(LINE, rows, (1.0,))
    flying, X = np.array([[0.43, 0.04]]), np.column_stack([np.linspace(0.0, 1.0, 200), np.ones(200)])
    best = float(gp.predict(top)[0].min())
    assert gp.predict(flying)[0][0] < best - 1.0
    assert score_of(acquisition(name), Context((gp,), top, flying, best, 0))(X).max() > -20.0


OF_THE_MODEL = [name for name in sorted(ACQUISITIONS) if hasattr(acquisition(name), "score")]  # others see no domain
CHECKED = ("runs", "shape", "numbers", "repeatable", "gradient", "company")


@pytest.mark.parametrize("name", OF_THE_MODEL)
def test_lint(name, monkeypatch):
    monkeypatch.setattr(whole, "MIXED", CURVES)
    checks = [check for check in (*whole.GATES, *whole.REST) if check.name in CHECKED]
    found = ask(checks, whole.Trial(acquisition(name), situated(name), inside(CURVES, 24)))
    assert [finding.name for finding in found] == list(CHECKED)
    assert {finding.verdict for finding in found} == {"pass"}, found
