"""The benchmark's analysis on made-up studies whose answers are known: reading, ranking, losses, the page, partial data."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments.benchmark import analyse, collected, records, sentences, summary
from experiments.benchmark.collected import collect
from experiments.benchmark.ranking import rank_methods
from experiments.ledger.lines import append_line

TASKS = {
    name: SimpleNamespace(kind=kind, best=0.0, about=f"about {name}", suite="all")
    for name, kind in (("valley", "smooth"), ("bowl", "smooth"), ("steps", "rough"))
}
METHODS = {name: SimpleNamespace(seeds=seeds) for name, seeds in (("random", 5), ("tpe", 5), ("GP", 5), ("slow", 2))}
SPEED = {"GP": 8.0, "tpe": 2.0, "random": 0.5, "slow": 4.0}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tasks and methods of these tests; lines count unless they are marked as old."""
    monkeypatch.setattr(collected, "TASKS", TASKS)
    monkeypatch.setattr(analyse, "TASKS", TASKS)
    monkeypatch.setattr(collected, "find_task", find_toy)
    monkeypatch.setattr(collected, "METHODS", METHODS)
    monkeypatch.setattr(records, "is_current", lambda record: record.get("digest") != "old")
    monkeypatch.setattr(analyse, "REASONS", tmp_path / "reasons.toml")


def find_toy(name: str) -> SimpleNamespace:
    if name not in TASKS:
        raise ValueError(f"{name!r} is unknown")
    return TASKS[name]


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is shown counts as the project's own results."""
    monkeypatch.setattr(analyse, "is_own", lambda results: True)


def row(task: str, method: str, seed: int, regret: Sequence[float | None], **more: Any) -> dict[str, Any]:
    made = {"task": task, "method": method, "seed": seed, "n": len(regret), "regret": list(regret)}
    spent = {"ask_seconds": 2.0 + seed, "tell_seconds": 0.5, "versions": {"numpy": "2.4"}, "machine": {"machine": "m"}}
    return {**made, **spent, **more}


def falling(speed: float, seed: int, n: int = 100) -> list[float]:
    """1 / (1 + speed i), a little different for every seed: a method of more speed is ahead with every seed."""
    return [round((1 + 0.01 * seed) / (1 + speed * i), 9) for i in range(1, n + 1)]


def every(methods: Iterable[str] = METHODS, tasks: Iterable[str] = TASKS, n: int = 100) -> list[dict[str, Any]]:
    tasks = list(tasks)
    return [
        row(task, method, seed, falling(SPEED[method], seed, n))
        for method in methods
        for task in tasks
        for seed in range(METHODS[method].seeds)
    ]


def stored(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    results = folder / "results"
    for each in rows:
        append_line(records.file_of(results, each["method"]), each)
    return results


def rows_in(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_study_becomes_an_array(tmp_path: Path) -> None:
    """None yet is infinite; a study that ended early keeps its incumbent; of two lengths the longer counts, of two lines
    the first; other lines, and one that was cut off, are passed over."""
    results = stored(tmp_path, [
        row("bowl", "GP", 1, [None, 4.0, 2.0], n=5), row("bowl", "GP", 1, [9.0] * 5), row("bowl", "GP", 0, [3.0, 1.0]),
        row("bowl", "GP", 0, [5.0] * 5),
    ])  # fmt: skip
    (results / "timing.jsonl").write_text('{"seconds": 3}\n')
    with (results / "gp.jsonl").open("a") as file:
        file.write('{"task": "bowl", "method": "GP", "se')
    found = collect(results)
    np.testing.assert_array_equal(found.regrets("bowl", "GP", range(1, 6)), [[5] * 5, [math.inf, 4, 2, 2, 2]])
    assert found.regrets("bowl", "GP", [6]).shape == (0, 1)
    assert found.regrets("bowl", "tpe", [1, 2]).shape == (0, 2)


def test_what_rounding_leaves_is_zero_and_a_better_best_is_said(tmp_path: Path) -> None:
    results = stored(tmp_path, [
        row("bowl", "GP", 0, [10.0, 1e-11]), row("bowl", "tpe", 0, [10.0, -1e-12]), row("valley", "GP", 0, [1.0, -0.25]),
    ])  # fmt: skip
    found = collect(results)
    assert [found.regrets("bowl", method, [2]).item() for method in ("GP", "tpe")] == [0, 0]
    assert "valley has a regret of -0.25: its best value is not the best." in found.remarks
    assert not any(remark.startswith("bowl") for remark in found.remarks)


def test_tasks_and_methods_in_order_and_what_is_missing(tmp_path: Path) -> None:
    some = [row("other", "zz", 0, [1.0]), row("bowl", "GP(my:own)", 0, [1.0]), row("valley", "tpe", 0, [1.0] * 2)]
    found = collect(stored(tmp_path, [*some, row("bowl", "GP", 0, [1.0]), row("valley", "GP", 0, [1.0])]))
    assert found.tasks == ["valley", "bowl", "other"]
    assert found.methods == ["GP", "tpe", "zz", "GP(my:own)"]
    assert found.remarks == [
        "No study of any method on steps.",
        "No study of random, slow.",
        "GP has no study on 1 of 3 tasks: other.",
        "GP has fewer than 5 seeds on 2 of 3 tasks: valley 1, bowl 1.",
        "tpe has no study on 2 of 3 tasks: bowl, other.",
        "tpe has fewer than 5 seeds on 1 of 3 tasks: valley 1.",
        "zz has no study on 2 of 3 tasks: valley, bowl.",
        "GP(my:own) has no study on 2 of 3 tasks: valley, other.",
    ]


def test_older_sources_give_way_to_the_present_ones(tmp_path: Path) -> None:
    old = [row("bowl", "GP", seed, [7.0], digest="old") for seed in range(2)]
    found = collect(stored(tmp_path / "both", [*old, row("bowl", "GP", 5, [1.0], digest="new")]))
    assert found.regrets("bowl", "GP", [1]).tolist() == [[1.0]]
    assert "GP: 2 studies by older sources are left out." in found.remarks
    found = collect(stored(tmp_path / "old", old))
    assert found.regrets("bowl", "GP", [1]).tolist() == [[7.0], [7.0]]
    assert "GP: 2 studies are older than the code (digest old); they are shown." in found.remarks


def test_no_study_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "timing.jsonl").write_text('{"seconds": 3}\n')
    with pytest.raises(ValueError, match="no study with regrets in"):
        sentences.benchmark_table(tmp_path)


# -- medians, ranks, losses --------------------------------------------------------------------------------------------


def test_quantiles_where_some_are_infinite() -> None:
    values = np.array([1.0, 2.0, 3.0, math.inf, math.inf])
    assert [float(summary.quantile(values, q)) for q in (0, 0.25, 0.5, 0.75, 1)] == [1, 2, 3, math.inf, math.inf]
    assert [float(summary.quantile(values[:4], q)) for q in (0.5, 0.6, 0.7)] == [2.5, pytest.approx(2.8), math.inf]
    finite = np.random.default_rng(0).random((7, 3))
    np.testing.assert_allclose(summary.quantile(finite, 0.3), np.quantile(finite, 0.3, axis=0))


def test_the_best_median_is_marked_and_shared(tmp_path: Path) -> None:
    rows = [row("bowl", name, seed, [regret] * 25) for name, regret in (("GP", 0.0), ("tpe", 0.0), ("random", 1.0))
            for seed in range(2)]  # fmt: skip
    cells = summary.cells(collect(stored(tmp_path, [*rows, row("bowl", "slow", 0, [None] * 25)])))
    assert {cell.method: (cell.evaluations, cell.seeds, cell.median, cell.best) for cell in cells} == {
        "GP": (25, 2, 0, True), "tpe": (25, 2, 0, True), "random": (25, 2, 1, False), "slow": (25, 1, math.inf, False),
    }  # fmt: skip


def test_a_sure_order_is_the_ranking(tmp_path: Path) -> None:
    made, said = rank_methods(collect(stored(tmp_path, every())))
    assert made is not None
    assert said == []
    assert [made.methods[place] for place in made.order] == ["GP", "slow", "tpe", "random"]
    np.testing.assert_array_equal(np.sort(made.means, axis=1), [[1, 2, 3, 4]] * 4)
    for shares in made.first.values():
        np.testing.assert_array_equal(shares[:, made.methods.index("GP")], 1)
    np.testing.assert_array_equal(made.ranks_after([1, 100]), made.means[1:3])
    assert made.comparisons == {name: (1.0, 0.25, 0.75) for name in ("random", "tpe", "slow")}  # 2 / 2^3 for three tasks
    test = made.friedman[0]
    assert test is not None
    assert test.chi2 == pytest.approx(9)  # N (k - 1): the same order on every task


def test_a_variant_ranks_in_ours_place_and_moves_nobody(tmp_path: Path) -> None:
    rows = every()
    mine = [{**each, "method": "GP(my:own)"} for each in rows if each["method"] == "tpe" and each["task"] != "steps"]
    alone, _ = rank_methods(collect(stored(tmp_path / "alone", rows)))
    made, _ = rank_methods(collect(stored(tmp_path / "with", [*rows, *mine])))
    assert alone is not None
    assert made is not None
    assert made.methods == alone.methods
    np.testing.assert_array_equal(made.ranks, alone.ranks)
    tasks, means = made.in_place("GP(my:own)")  # type: ignore[misc]
    assert tasks == ["valley", "bowl"]
    np.testing.assert_array_equal(means, [[2.5] * 4, [1] * 4])  # as good as tpe, behind slow only
    losses, compared = summary.find_losses(made.found, {})
    assert (losses, compared) == ([], 9)


def test_who_is_not_ranked_is_said(tmp_path: Path) -> None:
    absent = {("tpe", "bowl"), ("slow", "bowl"), ("slow", "steps")}
    rows = [each for each in every() if (each["method"], each["task"]) not in absent]
    made, said = rank_methods(collect(stored(tmp_path, rows)))
    assert made is not None
    assert (made.methods, made.tasks) == (["GP", "random", "tpe"], ["valley", "steps"])
    assert said == [
        "slow is not ranked: it has whole studies on 1 of 3 tasks only.",
        "bowl is not ranked: no whole study of tpe.",
    ]


def test_losses(tmp_path: Path) -> None:
    """The best peer of those that are better; the variant, which is better still, is no peer."""
    ours, peer = [3.0, 4.0, 5.0, 6.0], [2.0, 3.0, 4.5, 4.5, 7.0]
    rows = [row("bowl", "GP", seed, [value] * 25) for seed, value in enumerate(ours)]
    rows += [row("bowl", "tpe", seed, [value] * 25) for seed, value in enumerate(peer)]
    rows += [row("bowl", "random", 0, [4.4] * 25), row("bowl", "GP(a:b)", 0, [1.0] * 25), row("steps", "tpe", 0, [0.0] * 25)]
    found = collect(stored(tmp_path, rows))
    losses, compared = summary.find_losses(found, {"bowl": "It is round."})
    assert compared == 1
    assert losses[0] == summary.Loss("bowl", 25, 4.5, "random", 4.4, 0.5, losses[0].p, "It is round.")
    rows = [each for each in rows if each["method"] != "random"]
    assert summary.find_losses(collect(stored(tmp_path / "tie", rows)), {}) == ([], 1)  # equal medians are no loss
    rows[3]["regret"] = [6.5] * 25
    rows[2]["regret"] = [5.5] * 25
    (loss,), _ = summary.find_losses(collect(stored(tmp_path / "again", rows)), {})
    pairs = [(a < b) + (a == b) / 2 for a in (3, 4, 5.5, 6.5) for b in peer]
    assert loss.beats == pytest.approx(np.mean(pairs))
    assert loss.p == pytest.approx(stats.mannwhitneyu([3, 4, 5.5, 6.5], peer).pvalue)
    assert (loss.peer, loss.its, loss.ours, loss.reason) == ("tpe", 4.5, 4.75, "")


def test_reasons(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    assert summary.read_reasons(path) == {}
    path.write_text('bowl = "It is round."\n')
    assert summary.read_reasons(path) == {"bowl": "It is round."}
    path.write_text("bowl = 3\n")
    with pytest.raises(ValueError, match=r"some.toml: the reason of 'bowl' is 3; it must be a sentence"):
        summary.read_reasons(path)


@pytest.mark.usefixtures("ours")
def test_a_reason_without_a_loss_is_said(tmp_path: Path) -> None:
    analyse.REASONS.write_text('bowl = "It is round."\n')
    made = analyse.analyse(stored(tmp_path, every()))
    assert made.remarks == ["reasons.toml explains tasks on which nothing was lost: bowl."]


@pytest.mark.usefixtures("ours")
def test_a_loss_without_a_reason_is_said_with_its_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "steps", SimpleNamespace(kind="rough", best=0.0, about="about steps", suite="fresh"))
    analyse.REASONS.write_text('bowl = "It is round."\n')
    slower = [{**each, "regret": falling(1.0, each["seed"])} if each["method"] == "GP" else each for each in every()]
    usual, fresh = analyse.analyse_suites(stored(tmp_path, slower))
    assert usual.remarks == ["reasons.toml has no reason for: valley."]
    assert fresh.remarks == ["reasons.toml has no reason for: steps."]


@pytest.mark.usefixtures("ours")
def test_only_what_was_asked_for_is_missed(tmp_path: Path) -> None:
    """Not the tasks nobody asked for, nor reasons of theirs; a misspelt reason is said where everything was asked for."""
    analyse.REASONS.write_text('bowl = "It is round."\nsteps = "They are steep."\nbowel = "It is misspelt."\n')
    results = stored(tmp_path, every(tasks=["valley", "bowl"]))
    explained = "reasons.toml explains tasks on which nothing was lost:"
    for asked, remarks in (
        (None, ["No study of any method on steps.", f"{explained} bowel, bowl."]),
        (["valley"], []),
        (["bowl"], [f"{explained} bowl."]),
        (["valley", "steps"], ["No study of any method on steps."]),
    ):
        assert analyse.analyse(results, asked=asked).remarks == remarks
    slower = [{**each, "regret": falling(1.0, each["seed"])} if each["method"] == "GP" else each for each in every()]
    made = analyse.analyse(stored(tmp_path / "slower", slower), asked=["steps", "valley"])
    assert made.remarks == ["reasons.toml has no reason for: valley."]


def test_the_reasons_are_not_of_somebody_elses_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analyse.REASONS.write_text('bowl = "It is round."\nsteps = "They are steep."\n')
    slower = [{**each, "regret": falling(1.0, each["seed"])} if each["method"] == "GP" else each for each in every()]
    results = stored(tmp_path, slower)
    somebodys = analyse.analyse(results)
    assert len(somebodys.losses) == 9 and {loss.reason for loss in somebodys.losses} == {""}
    assert not [remark for remark in somebodys.remarks if "reasons.toml" in remark]
    monkeypatch.setattr(analyse, "RESULTS", results.resolve())
    project = analyse.analyse(results)
    assert {loss.task: loss.reason for loss in project.losses} == {
        "bowl": "It is round.", "steps": "They are steep.", "valley": "",
    }  # fmt: skip
    assert project.remarks == ["reasons.toml has no reason for: valley."]


def test_seconds_by_kind(tmp_path: Path) -> None:
    found = collect(stored(tmp_path, [*every(["GP"]), row("steps", "tpe", 0, [1.0])]))
    both = {"method": "GP", "ask_seconds": 4.0, "tell_seconds": 0.5, "seconds": 4.5}
    assert summary.seconds(found) == [{**both, "kind": "smooth", "studies": 10}, {**both, "kind": "rough", "studies": 5}]
