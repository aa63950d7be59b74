"""GP(...) beside GP, and the sentences that say how the benchmark's numbers are to be read."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from experiments.benchmark import analyse, pages, sentences, summary, tasks
from experiments.benchmark.__main__ import app
from experiments.benchmark.collected import collect
from tests.experiments.test_benchmark_analyse import TASKS, every, falling, known, row, stored

__all__ = ["known"]  # the fixture: it works here by its name alone


def test_a_variant_stands_beside_ours_on_the_seeds_of_both(tmp_path: Path) -> None:
    name = "GP(explore_every=0)"
    its = {0: 3.0, 2: 0.5, 4: 1.0, 5: 0.0}  # by seed; ours has seeds 0 to 4, and 1.0 everywhere
    rows = [row("bowl", "GP", seed, [2.0, 1.0]) for seed in range(5)]
    rows += [row("bowl", name, seed, [4.0, value]) for seed, value in its.items()]
    rows += [row("steps", name, 0, [1.0, 1.0]), row("valley", "GP", 7, [1.0, 1.0])]
    results = stored(tmp_path, rows)
    made = analyse.analyse(results)
    assert made.beside == [summary.Beside("bowl", name, 3, [1.0], [1.0], 1, 1)]
    assert f"| bowl | {name} | 3 | 1 (1) | 1, 1 tie |" in sentences.benchmark_table(results)
    pages.write_pages(results, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<h2>GP(...) beside GP</h2>" in page
    assert f"<tr><td>bowl</td><td class=\"left\">{name}</td><td>3</td><td>1<small>1</small></td><td>1</td><td>1</td></tr>" in page
    assert "beside GP</h2>" not in pages.render_page(analyse.analyse(stored(tmp_path / "none", every())), {"curves": b""})


def test_what_early_numbers_are_read_off_is_said(tmp_path: Path) -> None:
    plain = "What is said of 25 and 50 evaluations is read off studies that were planned for 100"
    results = stored(tmp_path, every())
    assert f"{plain}." in sentences.benchmark_table(results)
    assert f">{plain}.</p>" in pages.render_page(analyse.analyse(results), {"curves": b""})
    rows = [*every(), *(row("bowl", "SMAC", seed, falling(2.0, seed)) for seed in range(5))]
    designs = f"{plain}, by which some scale their first design: SMAC begins with 20 or 25, and would with 6."
    assert designs in sentences.benchmark_table(stored(tmp_path / "more", rows))
    assert "What is said of" not in sentences.benchmark_table(stored(tmp_path / "short", every(n=25)))
    assert "What is said of 25 evaluations is" in sentences.benchmark_table(stored(tmp_path / "thirty", every(n=30)))


def test_who_is_absent_stands_on_the_page_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the held-out suite as well."""
    monkeypatch.setitem(TASKS, "steps", SimpleNamespace(kind="rough", best=0.0, about="about steps", suite="fresh"))
    results = stored(tmp_path, [each for each in every() if (each["task"], each["method"]) != ("steps", "tpe")])
    pages.write_pages(results, tmp_path / "out")
    sentence = "<li>No study of tpe.</li>"
    texts = {place: (tmp_path / "out" / place / "index.html").read_text() for place in ("", "fresh")}
    assert sentence in texts["fresh"] and sentence not in texts[""]


def test_studies_that_count_through_a_recheck_are_counted(tmp_path: Path) -> None:
    rows = [row("bowl", "GP", seed, [2.0, 1.0], digest="new", measured_by="0ld") for seed in range(3)]
    rows += [row("bowl", "GP", seed, [2.0, 1.0], digest="new") for seed in (3, 4)]
    rows += [row("bowl", "tpe", seed, [2.0, 1.0]) for seed in range(5)]
    results = stored(tmp_path, rows)
    sentence = "GP: 3 of 5 studies were run with older sources; they count because one of each task was run again with newer ones"
    assert sentence in sentences.benchmark_table(results) and "tpe: " not in "".join(analyse.analyse(results).notes)
    page = pages.render_page(analyse.analyse(results), {"curves": b""})
    assert sentence in page and "new, through a recheck" in page
    made = [(line["studies"], line["sources"]) for line in analyse.version_rows(collect(results)) if line["method"] == "GP"]
    assert made == [(3, "new, through a recheck"), (2, "new")]


# -- the project's reasons -----------------------------------------------------------------------------------------------

REASONS = summary.read_reasons(Path(analyse.__file__).parent / "reasons.toml")
COMMANDS = {task: found[1] for task, reason in REASONS.items() if (found := re.search(r" \((--.*)\)\.$", reason))}


def test_a_reason_with_an_option_says_by_which_command() -> None:
    assert len(COMMANDS) > 5
    assert [task for task, reason in REASONS.items() if " other seeds" in reason and task not in COMMANDS] == ["rastrigin4"]


@pytest.mark.parametrize("task", COMMANDS)
def test_the_command_of_a_reason_is_one(task: str, tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    if (needs := tasks.TASKS[task].needs) is not None:
        shared_data(needs)
    arguments = [*shlex.split(COMMANDS[task]), "--method", "GP", "--results", str(tmp_path), "--seconds", "0"]
    done = CliRunner().invoke(app, arguments)
    studies = re.search(r"^(\d+) studies, 0 recorded already, (\d+) to run$", done.output, re.M)
    assert studies is not None, done.output
    assert f"--task {task} " in COMMANDS[task] and int(studies[1]) >= 2 * 6
