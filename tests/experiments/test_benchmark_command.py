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
from experiments.benchmark import store, timing
from experiments.benchmark.__main__ import app, tasks
from experiments.benchmark.methods import METHODS
from experiments.benchmark.tasks import SUITES, TASKS

ROOT = Path(__file__).resolve().parent.parent.parent

# -- timing ------------------------------------------------------------------------------------------------------------


def test_a_measurement_is_a_number_or_a_bound(tmp_path: Path) -> None:
    said: list[str] = []
    what = (("run", 8), ("ask", 30))
    assert timing.measure(tmp_path, 1, 60.0, said.append, ["branin"], ["random"], what) == 0
    first, second = store.lines(tmp_path / store.TIMING)
    assert (first["what"], second["what"]) == ("run", "ask")
    assert 0 < second["seconds"] < first["seconds"] < 60 and not first["over"]
    over = timing.measured(timing.Measurement("run", 3000, "branin", "random", 0), 0.01)
    assert over == {"seconds": 0.01, "cpu": None, "over": True}


def test_a_failing_measurement_is_reported(tmp_path: Path) -> None:
    said: list[str] = []
    assert timing.measure(tmp_path, 1, 60.0, said.append, ["branin"], ["GP(math:no)"], (("ask", 5),)) == 1
    assert said[0].startswith("GP(math:no) on branin: ValueError")


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
        store.append(
            tmp_path / store.TIMING, {"run": run, "method": name, "seconds": seconds, "cpu": seconds, **common}
        )
    store.append(
        tmp_path / store.TIMING, {**common, "run": "2", "method": "BoTorch", "seconds": 9.0, "cpu": None, "over": True}
    )
    rows = [row.split() for row in timing.table(tmp_path)[1:]]
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
            store.append(tmp_path / store.TIMING, {
                "run": "1", "what": "run", "n": 200, "task": "mixed8", "method": name, "repeat": repeat, "limit": 9.0,
                "seconds": 9.0 if over else spent, "cpu": spent, "over": over,
            })  # fmt: skip
    head, *rows = timing.table(tmp_path)
    assert head.endswith("ratio to ours      of repeats")
    assert rows[0].endswith(" 1.0") and rows[1].endswith("  2.0         2.0–5.0") and rows[4].endswith("  3.0")
    assert rows[2].endswith("> 4.5     > 2.2–> 9.0") and rows[3].endswith("> 4.5       2.0–> 9.0")
    stopped = {"repeat": 0, "seconds": 9.0, "over": True}
    assert timing.spread([{"repeat": i, "seconds": 2.0, "over": False} for i in range(2)], [stopped]) == ""


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
    others = [method.absent("it is not here") for method in METHODS.values() if method.name != "HEBO"]
    assert all(sentence.endswith("pip install '.[peers]' installs it") for sentence in others)


def test_the_help_counts_the_held_out_tasks() -> None:
    counted = {8: "eight", 9: "nine", 10: "ten", 11: "eleven", 12: "twelve"}[len(SUITES["fresh"])]
    assert f"--suite fresh                       # the {counted} held-out tasks" in str(benchmark.__doc__)


def test_the_held_out_suite_is_run_only_when_it_is_named() -> None:
    assert tasks("all", []) == list(SUITES["all"]) and tasks("fresh", []) == list(SUITES["fresh"])
    assert not {*SUITES["all"]} & {*SUITES["fresh"]}


@pytest.mark.parametrize(
    "arguments",
    [("--task", "brain"), ("--suite", "brain"), ("--method", "brain"), ("--acquisition", "brain:storm"),
     ("--acquisition", "math:pi"), ("--method", "GP(math:pi)"), ("--acquisition", "brain")],
)  # fmt: skip
def test_wrong_names_are_refused_in_one_sentence(arguments: tuple[str, str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*arguments, "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1 and ("brain" in done.output or "math:pi" in done.output)
    assert not list(tmp_path.iterdir())


def command(folder: Path, *arguments: object) -> list[str]:
    common = ["--results", "results", "--method", "random", "--task", "branin", "--task", "hartmann6"]
    return [sys.executable, "-m", "experiments.benchmark", *common, *map(str, arguments)]


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def test_own_results_are_shown_beside_them_and_miss_only_what_was_asked_for(tmp_path: Path) -> None:
    for options in (("--seeds", 2, "--n", 5), ("--table",)):
        done = subprocess.run(
            command(tmp_path, *options), cwd=tmp_path, env=surroundings(), capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Everything: results/page/index.html" in done.stdout
        assert "of any method on" not in done.stdout
        assert set(re.findall(r"nothing was lost: (.+)", done.stdout)) <= {"branin.", "hartmann6.", "branin, hartmann6."}
        assert (tmp_path / "results" / "page" / "index.html").exists() and not (tmp_path / "runs").exists()
    show = ["--table", "--results", str(tmp_path / "results")]
    assert "No study of any method on ackley5" in CliRunner().invoke(app, show).output  # where everything was asked for
    mixed = CliRunner().invoke(app, [*show, "--suite", "mixed"])
    assert "No study of any method on mixed8, conditional." in mixed.output


def test_a_killed_benchmark_goes_on_where_it_was(tmp_path: Path) -> None:
    path, options = tmp_path / "results" / "random.jsonl", ("--seeds", 20, "--n", 300)
    begun = subprocess.Popen(command(tmp_path, *options), cwd=tmp_path, env=surroundings(), stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    before = path.read_bytes()
    there = len(before.splitlines())
    assert 1 <= there < 40
    cut = before[: before.rindex(b"\n") + 1]
    done = subprocess.run(
        command(tmp_path, *options),
        cwd=tmp_path,
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"40 studies, {there} recorded already, {40 - there} to run" in done.stdout
    assert path.read_bytes().startswith(cut)
    found = [store.name(record) for record in store.lines(path)]
    assert len(found) == len(set(found)) == 40
    assert {record["n"] for record in store.lines(path)} == {300}


def test_a_limit_of_seconds_leaves_the_rest_for_another_time(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "--n", 5, "--seconds", 0), cwd=tmp_path, env=surroundings(), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert "0 studies run, 0 failed, 40 left for another time" in done.stdout
    assert done.returncode == 2 and "no study is recorded" in done.stderr  # there is nothing to show
