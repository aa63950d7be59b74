"""Pictures of acquisitions: what is drawn is what is so, whatever the scores, columns and rows."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surrogates import Domain, GaussianProcess, Hyperparameters, acquisition, plot, score_of
from surrogates.plotting import Values, View, clip_scores, fit_data, levels, list_training_rows
from tests.surrogates.contexts import box, conditional, context, hyperparameters, inside, mixed

X = np.array([0.03, 0.2, 0.33, 0.55, 0.78, 0.95])
Y = np.sin(9 * X) + 1.5 * (X - 0.6) ** 2


def lines(axes):
    """What was drawn, by its label."""
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_one_column_shows_posterior_and_acquisition():
    upper, lower = plot((X, Y), "logei").axes
    gp = fit_data(X, Y)
    mean, variance = gp.predict(np.linspace(0, 1, 401)[:, None])
    curve = upper.get_lines()[0].get_xydata()
    np.testing.assert_allclose(curve, np.column_stack([np.linspace(0, 1, 401), mean]))
    band = upper.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((mean + 2 * np.sqrt(variance)).max())
    assert band[:, 1].min() == pytest.approx((mean - 2 * np.sqrt(variance)).min())
    np.testing.assert_allclose(lines(upper)["told"], np.column_stack([X, gp.y]))
    assert lines(upper)["incumbent"][0, 1] == pytest.approx(gp.predict(X[:, None])[0].min())
    at, score = lines(lower)["maximum"][0]
    s = score_of(acquisition("logei"), replace(context(box(1)), gps=(gp,), rows=X[:, None],
                                               incumbent=gp.predict(X[:, None])[0].min()))  # fmt: skip
    drawn = s(np.linspace(0, 1, 401)[:, None])
    assert score == pytest.approx(drawn.max()) and at == pytest.approx(np.linspace(0, 1, 401)[drawn.argmax()])


def test_what_is_in_flight_narrows_the_band_and_moves_the_maximum():
    best = lines(plot((X, Y), "ei").axes[1])["maximum"][0, 0]
    figure = plot((X, Y), "ei", pending=np.array([[best]]))
    assert lines(figure.axes[1])["maximum"][0, 0] != best
    np.testing.assert_allclose(lines(figure.axes[0])["pending"], [[best, fit_data(X, Y).predict(np.array([[best]]))[0][0]]])


def test_another_incumbent_is_another_score():
    low = plot((X, Y), "ei", incumbent=-5.0).axes
    assert lines(low[0])["incumbent"][0, 1] == -5.0
    assert lines(low[1])["maximum"][0, 1] < lines(plot((X, Y), "ei").axes[1])["maximum"][0, 1]


def test_two_columns_are_maps_with_the_next_point():
    gp = context(box(2)).gps[0]
    figure = plot(gp, "logei", names=["lr", "decay"])
    first, second, third = figure.axes[:3]
    assert [axes.get_title().split(",")[0] for axes in (first, second, third)] == [
        "posterior mean", "posterior sd", "acquisition"]  # fmt: skip
    assert (first.get_xlabel(), first.get_ylabel()) == ("lr", "decay")
    for axes in (first, second, third):
        np.testing.assert_allclose(lines(axes)["told"], list_training_rows(gp))
        assert 0 <= lines(axes)["maximum of the acquisition"].min() <= lines(axes)["maximum of the acquisition"].max() <= 1
    assert third.collections[0].get_array().size > 5  # filled levels


def test_the_best_cell_of_a_map_is_the_best():
    gp = context(box(2)).gps[0]
    rows = list_training_rows(gp)
    s = replace(context(box(2)), gps=(gp,), rows=rows, incumbent=float(gp.predict(rows)[0].min()))
    score = score_of(acquisition("ucb"), s)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 61), np.linspace(0, 1, 61), indexing="ij"), axis=-1).reshape(-1, 2)
    marked = lines(plot(gp, "ucb").axes[2])["maximum of the acquisition"][0]
    assert score(marked[None])[0] == pytest.approx(score(grid).max())


# --- scores that are no pleasure --------------------------------------------------------------------------------------


def test_infinite_scores_do_not_break_it(tmp_path):
    def ragged(posterior, incumbent):
        score = incumbent - posterior.mean
        return np.where(score < -1.0, -np.inf, np.where(score < -0.8, np.nan, score))

    for model in ((X, Y), context(box(2)).gps[0]):
        figure = plot(model, ragged, path=tmp_path / "ragged.png")
        drawn = lines(figure.axes[1]) if len(figure.axes) == 2 else lines(figure.axes[2])
        assert np.isfinite(drawn["maximum" if len(figure.axes) == 2 else "maximum of the acquisition"]).all()
        assert (tmp_path / "ragged.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("score", [-np.inf, np.nan, 0.0])
def test_scores_that_say_nothing_are_drawn_flat(score, tmp_path):
    for model in ((X, Y), context(box(2)).gps[0]):
        figure = plot(model, lambda posterior, incumbent: np.full(len(posterior.mean), score), path=tmp_path / "flat.png")
        marked = any(label.startswith("maximum") for label in lines(figure.axes[1]))
        assert marked == (score == 0.0)


def test_a_log_scale_is_cut_and_says_so():
    shown, label = clip_scores(np.array([-1000.0, -25.0, -3.0, -np.inf, np.nan]), log_scale=True)
    np.testing.assert_array_equal(shown, [-23.0, -23.0, -3.0, -23.0, -23.0])
    assert label == "log score (cut at maximum − 20)"
    assert clip_scores(np.array([-5.0, -3.0]), log_scale=True)[1] == "log score"


def test_any_other_score_is_cut_far_below_its_median():
    shown, label = clip_scores(np.array([-1e12, 1.0, 2.0, 3.0, 4.0]), log_scale=False)
    np.testing.assert_array_equal(shown, [-6.0, 1.0, 2.0, 3.0, 4.0])
    assert label == "score (cut at maximum − 10)"
    assert clip_scores(np.array([0.0, 0.0, 0.0, 1.0]), log_scale=False)[1] == "score"
    assert clip_scores(np.array([-1.0, 0.0, 0.0]), log_scale=False)[1] == "score"
    assert clip_scores(np.array([np.inf, 1.0]), log_scale=False)[0].tolist() == [1.0, 1.0]


def test_levels_hold_all_values():
    for values in (np.array([-3.07, 0.4]), np.zeros(3), np.full(2, 1e6), np.array([np.nan, 1.0, 2.0])):
        found = levels(values)
        assert found[0] <= np.nanmin(values) and found[-1] >= np.nanmax(values) and (np.diff(found) > 0).all()


# --- any domain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", [mixed(), conditional()], ids=["mixed", "conditional"])
@pytest.mark.parametrize("warped", [False, True])
def test_rows_are_recovered_from_a_posterior(domain, warped):
    rows = inside(domain, 12)
    gp = GaussianProcess(domain, rows, np.arange(12.0), hyperparameters(domain, warped=warped))
    np.testing.assert_allclose(list_training_rows(gp), rows, rtol=1e-9)


def test_slices_go_through_the_best_row():
    s = context(mixed(), n=12)
    gp = s.gps[0]
    best = s.rows[gp.predict(s.rows)[0].argmin()]
    view = View(s, (2,), best, ("a", "b", "c", "d"))
    assert view.is_in_slice(s.rows).tolist() == [bool((np.delete(row, 2) == np.delete(best, 2)).all()) for row in s.rows]
    found = lines(plot(gp, columns=[2]).axes[0])
    np.testing.assert_allclose(found["told, in the slice"][:, 0], s.rows[view.is_in_slice(s.rows), 2])
    assert len(found["told, elsewhere"]) == (~view.is_in_slice(s.rows)).sum() > 0
    other = lines(plot(gp, columns=[2], at=s.rows[3]).axes[0])
    assert s.rows[3, 2] in other["told, in the slice"][:, 0]


def test_discrete_columns_are_drawn_where_their_values_are():
    gp = context(mixed()).gps[0]
    upper, lower = plot(gp, "ucb", columns=[1], names=["lr", "optimizer", "decay", "layers"]).axes
    assert lower.get_xlabel() == "optimizer" and lower.get_xticks().tolist() == [0, 1, 2]
    assert lines(lower)["maximum"][0, 0] in (0.0, 1.0, 2.0)
    assert len(set(np.round(upper.get_lines()[0].get_ydata(), 12).tolist())) == 3  # steps
    marked = lines(plot(gp, "ucb", columns=[1, 3]).axes[0])["maximum of the acquisition"][0]
    assert marked[0] in (0.0, 1.0, 2.0) and marked[1] in np.linspace(0, 1, 5)


def test_the_shortest_length_scales_are_shown_by_default():
    gp = context(box(3)).gps[0]
    gp = GaussianProcess(box(3), list_training_rows(gp), gp.y, replace(gp.theta, log_lengthscales=(-2.0, 1.0, -1.0)))
    axes = plot(gp).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("column 0", "column 2")


def test_what_is_infeasible_is_left_out():
    half = Domain(("float",), (None,), (0,), ((),), lambda rows: rows[:, 0] <= 0.5)
    gp = GaussianProcess(half, X[:4, None] * 0.9, Y[:4], Hyperparameters((-1.0,), 0.0, -8.0, 0.0))
    s = replace(context(box(1)), gps=(gp,), rows=list_training_rows(gp))
    values = Values.of(View(s, (0,), list_training_rows(gp)[0], ("x",)), score_of(acquisition("ucb"), s))
    np.testing.assert_array_equal(np.isnan(values.score), np.linspace(0, 1, 401) > 0.5)
    assert np.isnan(values.mean[-1]) and values.best is not None and values.best[0] <= 0.5


def test_a_picture_of_nothing_is_refused():
    needle = Domain(("float",), (None,), (0,), ((),), lambda rows: np.abs(rows[:, 0] - 0.3001) < 1e-5)
    gp = GaussianProcess(needle, np.full((1, 1), 0.3001), Y[:1], Hyperparameters((-1.0,), 0.0, -8.0, 0.0))
    with pytest.raises(ValueError, match="nothing in the picture is feasible"):
        plot(gp)


# --- what is refused, and what is not loaded --------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [(), (0, 1, 2), (0, 0), (3,), (-1,), 1, "a", [[0]], (0.5,)])
def test_impossible_columns_are_refused(columns):
    with pytest.raises(ValueError, match=r"columns are .*; allowed are one or two different ones of 0 to 2"):
        plot(context(box(3)).gps[0], columns=columns)


def test_rows_and_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"rows have positions from 0\.3 to 9\.5; allowed are positions in \[0, 1\]"):
        plot((10 * X, Y))
    for rows, losses in ((X[:0], Y[:0]), (X, Y[1:]), (X.reshape(1, 2, 3), Y[:1])):
        with pytest.raises(ValueError, match=r"rows of shape .* came with \d losses; allowed are rows \(n, d\)"):
            plot((rows, losses))
    for name in ("at", "pending"):
        with pytest.raises(ValueError, match=rf"{name} has shape \(1, 2\); allowed are rows of 1 columns"):
            plot((X, Y), **{name: np.zeros(2)})
    with pytest.raises(ValueError, match="2 names came for 1 columns"):
        plot((X, Y), names=["a", "b"])


@pytest.mark.parametrize(("options", "sentence"), [
    ({"pending": [[7.0]]}, r"pending has 7 in column 0 of row 0, outside of the domain: allowed is 0 to 1"),
    ({"pending": [[0.5], [-0.1]]}, r"pending has -0\.1 in column 0 of row 1, outside"),
    ({"pending": [[np.nan]]}, "pending has no number in column 0 of row 0; allowed is NaN where it is inactive"),
    ({"at": [[0.1], [0.2]]}, "at has 2 rows; allowed is one"), ({"at": np.zeros((0, 1))}, "at has 0 rows"),
    ({"incumbent": np.nan}, "incumbent is nan; allowed is a finite number"), ({"incumbent": "low"}, "incumbent is 'low'"),
])  # fmt: skip
def test_what_would_be_drawn_elsewhere_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot((X, Y), **options)


def test_rows_outside_of_the_domain_are_refused_and_sleeping_columns_are_not():
    gp = context(mixed()).gps[0]
    with pytest.raises(ValueError, match=r"at has 50 in column 1 of row 0, outside of the domain: allowed is 0 to 2"):
        plot(gp, columns=[0], at=[0.2, 50, 0.5, 0.0])
    s = context(conditional(), n=12)
    asleep = s.rows[np.isnan(s.rows).any(axis=1)][0]
    assert plot(s.gps[0], columns=[0], at=asleep).axes


def test_losses_have_one_axis():
    with pytest.raises(ValueError, match=r"rows of shape \(6, 1\) came with losses of shape \(6, 1\); allowed are .* \(n,\)"):
        plot((X[:, None], Y[:, None]))
    with pytest.raises(ValueError, match="a tuple came to be plotted; allowed are"):
        plot((X,))


def test_matplotlib_is_loaded_where_something_is_drawn():
    code = "import sys, surrogates; sys.exit('matplotlib' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
