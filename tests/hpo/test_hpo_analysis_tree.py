"""The lineage as a tree: its rows, its shades, and that what is drawn is what the history says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from hpo import ASHA, PBT, Float, Random, Replay, Simulator, Space, Stop, Study, run
from hpo.analysis import tree
from hpo.analysis.subject import Subject
from hpo.analysis.tree import place_rows, shade_keys
from hpo.job import Key
from hpo.testing.spaces import noise
from surrogates.style import BLUE, GREEN

SPACE = Space(lr=Float(0.0, 1.0), decay=Float(0.0, 1.0))
Patch = pytest.MonkeyPatch


def loss(config: Any, until: int, seed: int) -> float:
    if noise(seed, until) < 0.03:
        raise ArithmeticError("diverged")
    return 1 / until + abs(float(config["lr"]) - 2 / until) + 0.1 * noise(seed)  # the best rate falls


def cloned(size: int = 8, generations: int = 6, **options: Any) -> Study:
    study = Study(PBT(Random(SPACE, seed=1), population=size, generations=generations, max_resource=5 * generations, **options),
                  unit="epochs")  # fmt: skip
    run(study, Simulator(loss, workers=3, straggle=1.0, seed=1))
    return study


def descendants(study: Study) -> dict[Key, list[Key]]:
    """By key, the finished keys without children that come from it (itself, if it has none), found upwards from each."""
    history = study.history
    parents = {history.jobs[key].source for key in history.finished_keys}
    found: dict[Key, list[Key]] = {key: [] for key in history.finished_keys}
    for leaf in history.finished_keys:
        if leaf not in parents:
            for key in study.lineage(leaf):
                found[key].append(leaf)
    return found


def check_rows(study: Study) -> None:
    """Leaves fill the rows; those below a key stand together and hold it between them; a trial that goes on is straight."""
    rows, below, history = place_rows(study.history), descendants(study), study.history
    assert set(rows) == set(history.finished_keys)
    leaves = [key for key, under in below.items() if under == [key]]
    assert sorted(rows[key] for key in leaves) == list(range(len(leaves)))
    for key, under in below.items():
        places = sorted(rows[leaf] for leaf in under)
        assert places == [places[0] + i for i in range(len(places))] and places[0] <= rows[key] <= places[-1]
        source = history.jobs[key].source
        assert source is None or source[0] != key[0] or rows[source] == rows[key]


@pytest.mark.parametrize("size, generations, selection", [(2, 2, "truncation"), (8, 6, "truncation"), (20, 12, "tournament")])
def test_no_line_crosses_another(size: int, generations: int, selection: str) -> None:
    check_rows(cloned(size, generations, selection=selection))


def test_a_wrong_order_is_seen(monkeypatch: Patch) -> None:
    monkeypatch.setattr(tree, "place_rows", lambda history: {key: float(key[0]) for key in history.finished_keys})
    monkeypatch.setitem(globals(), "place_rows", tree.place_rows)
    with pytest.raises(AssertionError):
        check_rows(cloned())


def test_the_best_at_a_budget_is_darkest() -> None:
    study = cloned()
    shades = shade_keys(Subject.of(study.history, SPACE))
    for until in study.history.budgets:
        ranked = study.history.rank(study.history.at(until))
        good = [key for key in ranked if not study.history.is_failure(key)]
        assert [shades[key] for key in good] == sorted((shades[key] for key in good), reverse=True)
        assert shades[good[0]] == 1.0 and shades[good[-1]] == 0.0 and all(shades[key] == 0.0 for key in ranked[len(good) :])


def line_of(figure: Figure, label: str) -> Any:
    (found,) = (line for line in figure.axes[0].lines if str(line.get_label()).startswith(label))
    return found


def points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def upwards(study: Study, key: Key) -> tuple[Key, ...]:
    """The jobs that made a key, found from its end."""
    found = [key]
    while (source := study.history.jobs[found[0]].source) is not None:
        found.insert(0, source)
    return tuple(found)


def check_path(study: Study, trial: int | None = None) -> int:
    """The coloured path and its rings against lineage and configurations; how many rings."""
    key = study.best.key if trial is None else study.history.trials[trial][-1]
    figure, keys, rows = study.plot.lineage(trial=trial), upwards(study, key), place_rows(study.history)
    path = line_of(figure, f"{'best' if key == study.best.key else 'lineage'}: trial {key[0]}")
    drawn = points(path)
    assert to_rgba(path.get_color()) == to_rgba(BLUE) and drawn[0][0] == 0 and drawn[-1] == (key[1], rows[key])
    assert {(until, rows[trial, until]) for trial, until in keys} <= set(drawn)
    copies = [source for source, key in pairwise(keys) if source[0] != key[0]]
    rings = points(line_of(figure, "copied")) if copies else []
    assert rings == [(source[1], rows[source]) for source in copies]
    return len(rings)


def test_the_winners_path_is_its_lineage() -> None:
    assert check_path(cloned()) > 0
    study = cloned()
    assert check_path(study, 0) == 0 and sum(check_path(study, trial) for trial in study.history.trials) > 5


def test_a_wrong_path_is_seen(monkeypatch: Patch) -> None:
    study = cloned()
    monkeypatch.setattr(tree.ancestry, "lineage", lambda history, key: tuple(k for k in history.trials[key[0]] if k[1] <= key[1]))
    with pytest.raises(AssertionError):
        check_path(study)


def test_every_job_is_a_line_and_every_failure_a_cross() -> None:
    study = cloned(12, 8)
    figure, history = study.plot.lineage(), study.history
    (others,) = figure.axes[0].collections
    segments = others.get_segments()  # type: ignore[attr-defined]
    assert len(segments) == len(history.results) - len(study.lineage(study.best.key))
    assert all(to_rgba(GREEN)[:3] == tuple(colour[:3]) for colour in others.get_colors())  # type: ignore[attr-defined]
    failed = {key for key in history.results if history.is_failure(key)}
    assert failed and len(points(line_of(figure, "failed"))) == len(failed)
    starts = sorted(segment[0][0] for segment in segments)
    own = study.lineage(study.best.key)
    assert starts == sorted(0 if (source := history.jobs[key].source) is None else source[1]
                            for key in history.results if key not in own)  # fmt: skip


def test_it_is_saved_and_stands_in_the_report(tmp_path: Path) -> None:
    study = cloned()
    study.plot.lineage(tmp_path / "tree.svg")
    assert (tmp_path / "tree.svg").read_text().startswith("<?xml")
    text = study.report(tmp_path / "report.html").read_text()
    phases = study.schedule(study.best.number)
    assert "<h2>Lineage</h2>" in text and f"was trained with {len(phases)} configurations, one after the other" in text
    assert all(f"{until:,}" in text for until, _ in phases)


def test_a_replay_is_a_tree_too() -> None:
    first = cloned()
    again = Study(Replay(SPACE, first.schedule(first.best.number), rounds=3))
    run(again, Simulator(loss, seed=5))
    assert len(first.schedule(first.best.number)) > 1
    check_rows(again)
    assert len(again.plot.lineage().axes[0].collections[0].get_segments()) > 0  # type: ignore[attr-defined]


def test_where_nothing_was_cloned_there_is_no_tree(tmp_path: Path) -> None:
    study = Study(ASHA(Random(SPACE), max_resource=9))
    run(study, Simulator(lambda config, until, seed: config["lr"]), Stop(trials=5))
    with pytest.raises(ValueError, match="a lineage needs clones, and no trial of this study was cloned"):
        study.plot.lineage()
    assert "<h2>Lineage</h2>" not in study.report(tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="99 is no trial of this study with a result"):
        cloned().plot.lineage(trial=99)
