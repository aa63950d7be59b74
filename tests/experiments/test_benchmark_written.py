"""What the benchmark's analysis writes: the page, the table, the figures."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.benchmark import analyse, pages, records, sentences
from experiments.benchmark.collected import collect
from tests.experiments.test_benchmark_analyse import (  # noqa: F401
    METHODS,
    SPEED,
    TASKS,
    every,
    falling,
    known,
    ours,
    row,
    rows_in,
    stored,
)


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
