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

from experiments.benchmark import analyse, collected, pages, records, sentences, summary
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
    assert "GP: 2 studies are by other sources (digest old) than there are now; they are shown." in found.remarks


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
    assert made.against == {name: (1.0, 0.25, 0.75) for name in ("random", "tpe", "slow")}  # 2 / 2^3 for three tasks
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
    losses, compared = summary.lost(made.found, {})
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
    losses, compared = summary.lost(found, {"bowl": "It is round."})
    assert compared == 1
    assert losses[0] == summary.Loss("bowl", 25, 4.5, "random", 4.4, 0.5, losses[0].p, "It is round.")
    rows = [each for each in rows if each["method"] != "random"]
    assert summary.lost(collect(stored(tmp_path / "tie", rows)), {}) == ([], 1)  # equal medians are no loss
    rows[3]["regret"] = [6.5] * 25
    rows[2]["regret"] = [5.5] * 25
    (loss,), _ = summary.lost(collect(stored(tmp_path / "again", rows)), {})
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


# -- the page and the table --------------------------------------------------------------------------------------------


def test_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = stored(tmp_path, every())
    pages.write_pages(results, tmp_path / "out")
    printed = capsys.readouterr().out
    assert sentences.benchmark_table(results) in printed
    assert "| GP | 5 | 1.00 [1.00, 1.00] | 1.00 | 1.00 | 1.00 | 100.00 % | 100.00 % |  |  |" in printed
    assert "GP has a mean rank of 1.00 among 4 methods over 3 tasks, each after 25, 50, 100 evaluations" in printed
    assert "Some peer's median is better than GP's at 0 of 9 pairs" in printed
    names = {"index.html", "summary.csv", "ranks.csv", "lost.csv", "seconds.csv", "curves.png", "ranks.png", "critical.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names == {*pages.FILES}
    cells = {(cell["task"], cell["method"], cell["evaluations"]): cell for cell in rows_in(tmp_path / "out" / "summary.csv")}
    assert len(cells) == 3 * 4 * 3
    assert float(cells["bowl", "GP", "50"]["median"]) == pytest.approx(1.02 / 401, rel=1e-6)
    assert [line["method"] for line in rows_in(tmp_path / "out" / "ranks.csv")] == ["GP", "slow", "tpe", "random"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page
    assert "about steps" in page
    assert "Nowhere." in page


def test_of_few_seeds_nothing_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages.write_pages(stored(tmp_path, every()), tmp_path / "out")
    said = capsys.readouterr().out
    sentence = "No interval and no probability of being first is shown of slow: of fewer than 5 seeds a bootstrap says nothing."
    assert sentence in said and sentence in (tmp_path / "out" / "index.html").read_text()
    assert "| slow | 2 | 2.00 - | 2.00 | 2.00 | 2.00 | - | - |" in said
    (slow,) = (line for line in rows_in(tmp_path / "out" / "ranks.csv") if line["method"] == "slow")
    assert {name for name, value in slow.items() if value == ""} == {
        "low", "high", "low_tasks", "high_tasks",
        *(f"first_{drawn}{at}" for drawn in ("seeds", "tasks") for at in ("", "_at_25", "_at_50", "_at_100")),
    }  # fmt: skip
    enough = [each for each in every() if each["method"] != "slow"]
    assert "a bootstrap says nothing" not in sentences.benchmark_table(stored(tmp_path / "enough", enough))
    few = sentences.benchmark_table(stored(tmp_path / "few", [each for each in every() if each["seed"] < 2]))
    assert "bootstrap draws" not in few and "GP, random, tpe, slow" in few


@pytest.mark.usefixtures("ours")
def test_suites_are_shown_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "steps", SimpleNamespace(kind="rough", best=0.0, about="about steps", suite="fresh"))
    analyse.REASONS.write_text('steps = "They are steep."\n')
    assert "steps" not in collect(stored(tmp_path / "one", every())).tasks
    results = stored(tmp_path, [each for each in every() if (each["task"], each["method"]) != ("steps", "tpe")])
    assert collect(results, "fresh").tasks == ["steps"]
    pages.write_pages(results, tmp_path / "out")
    first, second = capsys.readouterr().out.split(analyse.TITLES["fresh"])
    assert "among 4 methods over 2 tasks" in first and "reasons.toml" not in first
    assert "among 3 methods over 1 tasks" in second and "reasons.toml explains" in second
    assert "No study of tpe." in second and "valley" not in second
    ranked = rows_in(tmp_path / "out" / "fresh" / "ranks.csv")
    assert [line["method"] for line in ranked] == ["GP", "slow", "random"]
    assert analyse.TITLES["fresh"] in (tmp_path / "out" / "fresh" / "index.html").read_text()
    only = stored(tmp_path / "only", every(tasks=["steps"]))
    assert sentences.benchmark_table(only).startswith(analyse.TITLES["fresh"])


def test_studies_of_a_task_that_has_changed_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "task_digest", lambda task: "new")
    rows = [row("bowl", "tpe", seed, [1.0], task_digest=at) for seed, at in enumerate(("old", "new", None))]
    found = collect(stored(tmp_path, rows))
    assert [trace.seed for trace in found.of("tpe")] == [1, 2]
    assert "bowl: 1 studies are of the task as it was before; they are left out." in found.remarks


def test_it_is_said_who_is_ahead_of_ours(tmp_path: Path) -> None:
    slower = [{**each, "regret": falling(1.0, each["seed"])} if each["method"] == "GP" else each for each in every()]
    said = sentences.benchmark_table(stored(tmp_path, slower))
    assert "GP has a mean rank of 3.00" in said
    assert "the first is slow with 1.00. The mean rank of GP is the lowest in 0.00 %" in said
    assert "at 9 of 9 pairs" in said


@pytest.mark.parametrize(
    "rows",
    [
        every(["GP"], ["bowl"]),
        every(["tpe"], ["bowl"], n=7),
        every(["tpe", "random"]),
        every(["GP", "tpe"], ["bowl"], n=30),
        [*every(["GP", "tpe"]), *every(["slow"], ["bowl"], n=40)],
        [row("bowl", "GP", 0, [None] * 30), row("bowl", "tpe", 0, [None] * 30), row("bowl", "random", 0, [0.0] * 30)],
        [row("unheard", "of", 0, [1.0, 0.5])],
    ],
    ids=["ours alone", "seven evaluations", "ours absent", "one task", "a method began", "failures and zeros", "unknown"],
)
def test_partial_data(rows: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever there is, there is a page, a table that says what is missing, and nothing that is not a number."""
    pages.write_pages(stored(tmp_path, rows), tmp_path / "out")
    said = capsys.readouterr().out
    assert "Missing or left out:" in said
    assert "nan" not in said
    assert "nan" not in (tmp_path / "out" / "summary.csv").read_text()
    assert ("nothing to rank" in said) == (len({each["method"] for each in rows}) == 1)


def test_words() -> None:
    assert [sentences.format_number(value) for value in (0.012345, 1.2e-7, 0.0, 1234.0, math.inf)] == [
        "0.0123", "1.2e-07", "0", "1.23e+03", "∞",
    ]  # fmt: skip
    assert [sentences.format_percent(share) for share in (1.0, 0.9996, 0.0)] == ["100.00 %", "99.96 %", "0.00 %"]


def test_versions_are_counted(tmp_path: Path) -> None:
    rows = [row("bowl", "GP", seed, [1.0], versions={"numpy": v}) for seed, v in enumerate(("2.4", "2.4", "2.5"))]
    made = analyse.version_rows(collect(stored(tmp_path, rows)))
    assert [(line["versions"], line["machine"], line["studies"]) for line in made] == [
        ("numpy 2.4", "machine m", 2), ("numpy 2.5", "machine m", 1),
    ]  # fmt: skip
