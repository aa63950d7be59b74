"""The benchmark's pages: where they lie, that nothing of earlier ones stays beside them, and the figures on them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.benchmark import analyse, pages, plots
from experiments.benchmark.collected import collect
from tests.experiments.test_benchmark_analyse import TASKS, every, known, row, stored

__all__ = ["known"]  # the fixture: it works here by its name alone


def test_an_earlier_figure_does_not_stay(tmp_path: Path) -> None:
    pages.write_pages(stored(tmp_path / "much", every()), tmp_path / "out")
    pages.write_pages(stored(tmp_path / "little", every(["GP"])), tmp_path / "out")
    assert not (tmp_path / "out" / "ranks.png").exists()
    assert (tmp_path / "out" / "ranks.csv").read_text() == ""


def test_the_pages_of_a_suite_without_studies_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of either suite; what somebody else put beside them does."""
    monkeypatch.setitem(TASKS, "steps", SimpleNamespace(kind="rough", best=0.0, about="about steps", suite="fresh"))
    out, fresh = tmp_path / "out", tmp_path / "out" / "fresh"
    both, usual = stored(tmp_path / "both", every()), stored(tmp_path / "usual", every(tasks=["bowl"]))
    pages.write_pages(both, out)
    assert (out / "index.html").exists() and (fresh / "index.html").exists()
    pages.write_pages(usual, out)
    assert (out / "index.html").exists() and not fresh.exists()
    pages.write_pages(both, out)
    (out / "notes.txt").write_text("mine")
    pages.write_pages(stored(tmp_path / "held", every(tasks=["steps"])), out)
    assert {path.name for path in out.iterdir()} == {"fresh", "notes.txt"} and (fresh / "index.html").exists()


def test_the_pages_of_own_results_lie_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = stored(tmp_path, every(tasks=["bowl"])).relative_to(tmp_path)
    pages.write_pages(own)
    assert f"Everything: {own / 'page' / 'index.html'}" in capsys.readouterr().out
    assert {path.name for path in (own / "page").iterdir()} <= {*pages.FILES} and not (tmp_path / "runs").exists()
    monkeypatch.setattr(analyse, "RESULTS", own.resolve())  # as if they were the project's
    pages.write_pages(own)
    assert "Everything: runs/benchmark/index.html" in capsys.readouterr().out
    assert (tmp_path / "runs" / "benchmark" / "summary.csv").exists()


# -- figures ------------------------------------------------------------------------------------------------------------


def test_zero_has_a_place_on_a_logarithmic_axis(tmp_path: Path) -> None:
    rows = [row("bowl", "GP", 0, [1.0, 0.03, 0.0]), row("valley", "GP", 0, [0.0] * 3), row("steps", "GP", 0, [3.0, 2.0, 1.0])]
    figure = plots.regret_curves(collect(stored(tmp_path, rows)))
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes if panel.get_visible()}
    assert {name: panel.get_yscale() for name, panel in panels.items()} == {"valley": "linear", "bowl": "log", "steps": "log"}
    np.testing.assert_allclose(np.asarray(panels["bowl"].lines[0].get_ydata(), float), [1.0, 0.03, 0.01])
    assert [text.get_text() for text in panels["bowl"].texts] == ["0"]
    assert not panels["steps"].texts
    assert [plots.tick(value, 0.02, False) for value in (0.01, 0.1, 100.0)] == ["", "$10^{-1}$", "$10^{2}$"]


def test_no_incumbent_is_a_gap(tmp_path: Path) -> None:
    figure = plots.regret_curves(collect(stored(tmp_path, [row("bowl", "GP", 0, [None, 2.0, 1.0])])))
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [np.nan, 2, 1])


@pytest.mark.parametrize("places", [[1.0, 1.0, 1.0], [3.0, 1.0, 1.1, 5.0], [1.0]])
def test_labels_are_spread_in_order(places: list[float]) -> None:
    before = np.array(places)
    after = plots.spread_labels(before, 0.5)
    order = np.argsort(before, kind="stable")
    assert np.all(np.diff(after[order]) >= 0.5 - 1e-12)
    assert after.mean() == pytest.approx(before.mean())
    far = [place for place, value in enumerate(before) if np.all(np.abs(np.delete(before, place) - value) > 1)]
    np.testing.assert_allclose(after[far], before[far])


def test_every_method_looks_different_and_ours_is_thick() -> None:
    looks = plots.line_styles(["GP", "random", *(f"peer {i}" for i in range(12)), "GP(a:b)", "GP(c:d)"])
    seen = {(style["color"], json.dumps(style.get("linestyle", "-"))) for style in looks.values()}
    assert len(seen) == len(looks)
    assert max(looks, key=lambda name: looks[name]["linewidth"]) == "GP"
