"""The benchmark's command: killed and resumed, refused, listed; and the seconds that it measures."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import timing
from experiments.benchmark.__main__ import app, chosen_tasks
from experiments.benchmark.methods import METHODS
from experiments.benchmark.records import TIMING
from experiments.benchmark.tasks import SUITES, TASKS
from experiments.ledger.lines import append_line, read_lines, replace_lines
from tests.pages import run_here

ROOT = Path(__file__).resolve().parent.parent.parent

# -- timing ------------------------------------------------------------------------------------------------------------


def test_a_measurement_is_a_number_or_a_bound(tmp_path: Path) -> None:
    said: list[str] = []
    what = (("run", 100), ("ask", 30))
    assert timing.measure_seconds(tmp_path, 1, 60.0, said.append, ["branin"], ["random"], what) == 0
    first, second = read_lines(tmp_path / TIMING)
    assert (first["what"], second["what"]) == ("run", "ask")
    assert 0 < second["seconds"] < first["seconds"] < 60 and not first["over"]
    over = timing.time_one(timing.Timed("run", 3000, "branin", "random", 0), 0.01)
    assert over == {"seconds": 0.01, "cpu": None, "over": True}


def test_a_failing_measurement_is_reported(tmp_path: Path) -> None:
    said: list[str] = []
    assert timing.measure_seconds(tmp_path, 1, 60.0, said.append, ["branin"], ["GP(math:no)"], (("ask", 5),)) == 1
    assert "ask, n 5, branin, GP(math:no), repeat 0: failed" in said[1] and "ValueError" in said[1]


def test_the_median_of_stopped_measurements_is_a_bound() -> None:
    def lines(*seconds: float) -> list[dict[str, Any]]:
        return [{"seconds": s, "cpu": None if s >= 9 else s, "limit": 9.0, "over": s >= 9} for s in seconds]

    assert timing.median(lines(1.0, 3.0, 2.0), "seconds") == (2.0, False)
    assert timing.median(lines(1.0, 2.0), "seconds") == (1.5, False)
    assert timing.median(lines(1.0, 9.0, 2.0), "cpu") == (2.0, False)
    assert timing.median(lines(9.0, 1.0, 9.0), "seconds") == (9.0, True)


def test_the_table_shows_the_last_run_beside_ours(tmp_path: Path) -> None:
    common = {"what": "ask", "n": 500, "task": "mixed8", "repeat": 0, "limit": 9.0, "over": False}
    for run, name, seconds in (("1", "GP", 5.0), ("2", "GP", 0.5), ("2", "Optuna GP", 2.0)):
        append_line(
            tmp_path / TIMING, {"run": run, "method": name, "seconds": seconds, "cpu": seconds, **common}
        )
    append_line(
        tmp_path / TIMING, {**common, "run": "2", "method": "BoTorch", "seconds": 9.0, "cpu": None, "over": True}
    )
    rows = [row.split() for row in timing.table_of_seconds(tmp_path)[1:]]
    assert rows[0] == ["ask", "500", "mixed8", "GP", "0.5", "s", "0.5", "s", "1.0"]
    assert rows[1][-1] == "4.0"
    assert rows[2] == ["ask", "500", "mixed8", "BoTorch", ">", "9", "s", ">", "18.0"]


def test_the_table_shows_the_range_of_ratios_within_repeats(tmp_path: Path) -> None:
    """Of repeats that both have, not of medians; what was stopped is a bound, above which all others may lie."""
    seconds: dict[str, list[float | None]] = {
        "GP": [1.0, 2.0, 4.0], "Optuna GP": [3.0, 4.0, 20.0], "BoTorch": [None, 9.0, None], "SMAC": [None, 4.0, None],
        "HEBO": [6.0],
    }  # fmt: skip
    for name, each in seconds.items():
        for repeat, spent in enumerate(each):
            over = spent is None
            append_line(tmp_path / TIMING, {
                "run": "1", "what": "run", "n": 200, "task": "mixed8", "method": name, "repeat": repeat, "limit": 9.0,
                "seconds": 9.0 if over else spent, "cpu": spent, "over": over,
            })  # fmt: skip
    head, *rows = timing.table_of_seconds(tmp_path)
    assert head.endswith("ratio to ours      of repeats")
    assert rows[0].endswith(" 1.0") and rows[1].endswith("  2.0         2.0–5.0") and rows[4].endswith("  3.0")
    assert rows[2].endswith("> 4.5     > 2.2–> 9.0") and rows[3].endswith("> 4.5       2.0–> 9.0")
    stopped = {"repeat": 0, "seconds": 9.0, "over": True}
    assert timing.ratio_range([{"repeat": i, "seconds": 2.0, "over": False} for i in range(2)], [stopped]) == ""


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_list_names_everything() -> None:
    done = CliRunner().invoke(app, ["--list"])
    assert done.exit_code == 0
    assert all(name in done.output for name in (*TASKS, *METHODS, *SUITES))


def test_a_method_with_an_environment_of_its_own_names_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (said,) = (line for line in CliRunner().invoke(app, ["--list"]).output.splitlines() if line.startswith("method  HEBO"))
    file = re.search(r"experiments/benchmark/\S+", said)
    assert file is not None and (ROOT / file[0]).exists() and "[peers]" not in said
    others = [method.explain_absence("it is not here") for method in METHODS.values() if method.name != "HEBO"]
    assert all(sentence.endswith("pip install '.[peers]' installs it") for sentence in others)


def test_the_help_counts_the_held_out_tasks() -> None:
    counted = {8: "eight", 9: "nine", 10: "ten", 11: "eleven", 12: "twelve"}[len(SUITES["fresh"])]
    assert f"--suite fresh                       # the {counted} held-out tasks" in str(benchmark.__doc__)


def test_the_held_out_suite_is_run_only_when_it_is_named() -> None:
    assert chosen_tasks("all", []) == list(SUITES["all"]) and chosen_tasks("fresh", []) == list(SUITES["fresh"])
    assert not {*SUITES["all"]} & {*SUITES["fresh"]}


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (("--task", "brain"), "brain"),
        (("--suite", "brain"), "brain"),
        (("--method", "brain"), "brain"),
        (("--acquisition", "brain:storm"), "the acquisition 'brain:storm' cannot be imported as module:function"),
        (("--acquisition", "brain"), "the acquisition 'brain' is not named as module:function"),
        (("--acquisition", "math:pi"), "GP(math:pi) cannot run: acquisition is 3.14"),
        (("--method", "GP(math:pi)"), "GP(math:pi) cannot run: acquisition is 3.14"),
        (("--acquisition", "os:getcwd"), "GP(os:getcwd) cannot run: acquisition getcwd raised TypeError"),
        (("--option", "brain=0"), "GP has no option 'brain'; allowed are acquisition, "),
        (("--option", "overview=0"), "the option 'overview' is called 'explore_every' now"),
        (("--option", "explore_every"), "the option 'explore_every' has no value"),
        (("--option", "kernel=rbf"), "a text is kernel='...'"),
        (("--option", "explore_every=0", "--option", "explore_every=1"), "the option 'explore_every' is given twice"),
        (("--option", "explore_every=1.5"),
         "GP(explore_every=1.5) cannot run: explore_every is 1.5; allowed is an integer of at least 0"),
        (("--method", "GP(power=1)"), "GP(power=1) cannot run: power is 1; allowed are True and False"),
    ],
)
def test_wrong_names_are_refused_in_one_sentence(arguments: tuple[str, ...], about: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*arguments, "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1 and about in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["afile", "afile/below"])
def test_a_file_is_no_folder_of_results(place: str, tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("mine")
    done = CliRunner().invoke(app, ["--method", "random", "--results", str(tmp_path / place)])
    assert done.exit_code == 2 and done.output.strip().endswith("is a file")
    assert len(done.output.strip().splitlines()) == 1 and (tmp_path / "afile").read_text() == "mine"


def test_measured_seconds_are_shown_again_and_nothing_is_measured(tmp_path: Path) -> None:
    show = ["--timing", "--table", "--results", str(tmp_path)]
    nothing = CliRunner().invoke(app, show)
    assert nothing.exit_code == 2 and "no seconds are recorded in" in nothing.output
    common = {"run": "1", "what": "ask", "n": 500, "task": "mixed8", "repeat": 0, "limit": 9.0, "over": False}
    for name, spent in (("GP", 0.5), ("Optuna GP", 2.0)):
        append_line(tmp_path / TIMING, {**common, "method": name, "seconds": spent, "cpu": spent})
    before = (tmp_path / TIMING).read_bytes()
    done = CliRunner().invoke(app, show)
    assert done.exit_code == 0 and done.output.splitlines() == timing.table_of_seconds(tmp_path)
    assert (tmp_path / TIMING).read_bytes() == before and [*tmp_path.iterdir()] == [tmp_path / TIMING]


def test_the_committed_seconds_are_shown_again() -> None:
    done = CliRunner().invoke(app, ["--timing", "--table"])
    rows = [row for row in done.output.splitlines() if "older than the code" not in row]
    assert done.exit_code == 0 and rows[0].startswith("what") and len(rows) == 1 + 18  # three contenders, six numbers


def command(folder: Path, *arguments: object) -> list[str]:
    common = ["--results", "results", "--method", "random", "--task", "branin", "--task", "hartmann6"]
    return [sys.executable, "-m", "experiments.benchmark", *common, *map(str, arguments)]


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.mark.slow
def test_own_results_are_shown_beside_them_and_miss_only_what_was_asked_for(tmp_path: Path) -> None:
    for options in (("--seeds", 2, "--n", 5), ("--table",)):
        done = subprocess.run(
            command(tmp_path, *options), cwd=tmp_path, env=surroundings(), capture_output=True, text=True, timeout=900,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Everything: results/page/index.html" in done.stdout
        assert "of any method on" not in done.stdout
        assert "reasons.toml" not in done.stdout  # they are about the project's own results
        assert (tmp_path / "results" / "page" / "index.html").exists() and not (tmp_path / "runs").exists()
    show = ["--table", "--results", str(tmp_path / "results")]
    assert "No study of any method on ackley5" in CliRunner().invoke(app, show).output  # where everything was asked for
    mixed = CliRunner().invoke(app, [*show, "--suite", "mixed"])
    assert "No study of any method on mixed8, conditional." in mixed.output


def test_a_killed_benchmark_goes_on_where_it_was(tmp_path: Path) -> None:
    path, options = tmp_path / "results" / "random.jsonl", ("--seeds", 20, "--n", 300)
    begun = subprocess.Popen(command(tmp_path, *options), cwd=tmp_path, env=surroundings(), stdout=subprocess.PIPE)
    deadline = time.monotonic() + 900
    while not (path.exists() and b"\n" in path.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    before, there = path.read_bytes(), len([*read_lines(path)])  # the kill may have cut a line in two
    assert 1 <= there < 40
    cut = before[: before.rindex(b"\n") + 1]
    done = ran(tmp_path, *command(tmp_path, *options)[3:])
    assert done.returncode == 0, done.stderr
    assert f"40 studies, {there} recorded already, {40 - there} to run" in done.stdout
    assert path.read_bytes().startswith(cut)
    found = [(record["task"], record["seed"]) for record in read_lines(path)]
    assert len(found) == len(set(found)) == 40
    assert {record["n"] for record in read_lines(path)} == {300}


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with these arguments, in a folder; in this process, its studies in processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        return run_here("experiments.benchmark", *arguments)


def ran_anew(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: what this one has imported may have changed since."""
    whole = [sys.executable, "-m", "experiments.benchmark", *arguments]
    return subprocess.run(
        whole, cwd=folder, env=surroundings(), capture_output=True, text=True, timeout=900, check=False
    )  # fmt: skip


@pytest.mark.slow
def test_an_option_of_ours_is_a_method_beside_it_on_the_seeds_that_are_named(tmp_path: Path) -> None:
    arguments = [
        "--method", "GP", "--option", "power=True", "--option", "explore_every=0", "--task", "branin", "--n", "8",
        "--first-seed", "100", "--seeds", "2", "--results", "results",
    ]  # fmt: skip
    done = ran(tmp_path, *arguments)
    assert done.returncode == 0 and not done.stderr, done.stderr
    name, results = "GP(explore_every=0, power=True)", tmp_path / "results"
    assert f"{name} on branin, seed 101: regret" in done.stdout and f"| branin | {name} | 2 | " in done.stdout
    assert {path.name for path in results.glob("*.jsonl")} == {"gp.jsonl", "gp-explore-every-0-power-true.jsonl"}
    lines = [record for path in results.glob("*.jsonl") for record in read_lines(path)]
    assert sorted((r["method"], r["seed"]) for r in lines) == [("GP", 100), ("GP", 101), (name, 100), (name, 101)]
    assert "reasons.toml" not in done.stdout
    again = ran(tmp_path, *arguments[:6], "--option", "power=True", *arguments[6:])
    assert again.returncode == 2 and again.stderr.strip() == "the option 'power' is given twice"
    again = ran(tmp_path, "--method", "GP(power = True, explore_every=0)", *arguments[6:])
    assert "2 studies, 2 recorded already, 0 to run" in again.stdout, "the same name, however it is written"


TASK = """
from experiments.benchmark.tasks import Task
from hpo.space import Float, Space

SLOPE = Task("slope", "hills", lambda: Space(x=Float(0.0, 1.0)), lambda config: config["x"], 0.0, about="down to the left")
"""


def test_a_task_of_ones_own_is_run_shown_and_resumed(tmp_path: Path) -> None:
    """Its kind and what it is about stand on the page; its studies are run again once it is defined otherwise."""
    (tmp_path / "hills.py").write_text(TASK)
    arguments = ("--task", "hills:SLOPE", "--method", "random", "--n", "4", "--results", "results")
    done = ran(tmp_path, *arguments, "--seeds", "2")
    assert done.returncode == 0 and "of any method on" not in done.stdout, done.stderr
    lines = list(read_lines(tmp_path / "results" / "random.jsonl"))
    assert [(line["task"], line["seed"], len(line["regret"])) for line in lines] == [("hills:SLOPE", 0, 4), ("hills:SLOPE", 1, 4)]
    assert all(line["regret"][-1] == min(line["values"]) for line in lines) and len({line["task_digest"] for line in lines}) == 1
    page = tmp_path / "results" / "page"
    rows = (page / "summary.csv").read_text().splitlines()[1:]
    assert rows and all(row.startswith("hills,hills:SLOPE,random,4,2,") for row in rows)
    assert "hills:SLOPE<small>hills</small>" in (text := (page / "index.html").read_text()) and "down to the left" in text
    assert "3 studies, 2 recorded already, 1 to run" in ran(tmp_path, *arguments, "--seeds", "3").stdout
    (tmp_path / "hills.py").write_text(TASK.replace('config["x"]', '2 * config["x"]'))
    shown = ran_anew(tmp_path, *arguments, "--table")
    assert shown.returncode == 2 and "hills:SLOPE: 3 studies are of the task as it was before" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
    assert "3 studies, 0 recorded already, 3 to run" in ran_anew(tmp_path, *arguments, "--seeds", "3").stdout


def test_a_task_that_nobody_ran_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "valleys.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    some = ("--task", "branin", "--method", "random", "--n", "2", "--seeds", "1")
    assert ran(tmp_path, *some, "--results", "results").returncode == 0
    show = ["--table", "--results", str(tmp_path / "results"), "--task", "branin", "--task", "valleys:SLOPE"]
    assert "No study of any method on valleys:SLOPE." in CliRunner().invoke(app, show).output


def test_somebody_elses_losses_have_no_reason_of_ours(tmp_path: Path) -> None:
    """branin has one in reasons.toml, and random search is ahead of ours after one evaluation from some seed."""
    seeds = [seed for seed in range(20) if ahead(seed)]
    done = ran(
        tmp_path, "--method", "random", "--method", "GP", "--task", "branin", "--n", "1", "--first-seed", str(seeds[0]),
        "--seeds", "1", "--results", "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, loss = (tmp_path / "results" / "page" / "lost.csv").read_text().splitlines()
    assert head.endswith(",reason") and loss.startswith("branin,1,") and loss.endswith(",")


def ahead(seed: int) -> bool:
    """Whether random search begins with a lower value on Branin than the middle of the space, where ours does."""
    space = TASKS["branin"].space()
    first = METHODS["random"].make(space, seed, 1).ask()
    return TASKS["branin"].true(first) < TASKS["branin"].true(space.midpoint())


def test_a_recheck_that_differs_fails(tmp_path: Path) -> None:
    """Of a peer as of ours; everything is said before."""
    pytest.importorskip("optuna")
    those = ["--results", "results", "--task", "branin", "--method", "random", "--method", "Optuna TPE"]
    assert ran(tmp_path, *those, "--n", "4", "--seeds", "2").returncode == 0
    again = ["--recheck", *those]
    same = ran(tmp_path, *again)
    assert same.returncode == 0 and same.stdout.count(": the same") == 4, same.stderr
    path = tmp_path / "results" / "optuna-tpe.jsonl"
    first, second = read_lines(path)
    replace_lines(path, [{**first, "values": [0.0, *first["values"][1:]]}, second])
    differs = ran(tmp_path, *again)
    assert differs.returncode == 1 and differs.stdout.count(": the same") == 3
    assert "branin, Optuna TPE, seed 0, n 4: differs in values (same versions)" in differs.stdout


def test_a_limit_of_seconds_leaves_the_rest_for_another_time(tmp_path: Path) -> None:
    done = ran(tmp_path, *command(tmp_path, "--n", 5, "--seconds", 0)[3:])
    assert "0 studies run, 0 failed, 40 left for another time" in done.stdout
    assert done.returncode == 2 and "no study is recorded" in done.stderr  # there is nothing to show
