"""The live picture of a study: what it says at every moment, and the watcher that draws it on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import hpo
from hpo import ASHA, Finals, Random, Study
from hpo.analysis.snapshot import snapshot
from hpo.analysis.status import clock, decimals, describe_pace, describe_status
from hpo.analysis.tally import Tally
from hpo.live import LiveDisplay, LivePicture
from tests.hpo.commands import environment
from tests.hpo.test_hpo_analysis_progress import SPACE, told


def shown(view: Any) -> str:
    console = Console(file=io.StringIO(), width=110, force_terminal=True, color_system=None)
    console.print(view)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def shown_of(study: Study, workers: int | None = None) -> str:
    view = LivePicture(title="a study")
    view.show(snapshot(study.history, workers))
    return shown(view)


def test_the_view_shows_what_happened_and_the_clock() -> None:
    study, now = told(), [0.0]
    view = LivePicture(title="a [bold]title[/]", seconds=100, now=lambda: now[0])
    assert "no trial has been started yet" in shown(view)
    now[0] = 500.0
    view.show(replace(snapshot(study.history, 2), spent=20.0, idle=0.0, ready=True))
    now[0] = 530.0
    text = shown(view)
    for words in ("a [bold]title[/]", "0:50 of 1:40, 0:50 left", "1 failed", "best loss", "default", "x=", "paused"):
        assert words in text
    now[0] = 1000.0
    assert "beyond, to finish the finals" in shown(view)


def test_the_clock_stands_until_a_worker_is_ready() -> None:
    study, now = Study(ASHA(Random(SPACE), 1, 9, 3)), [0.0]
    study.history.run({"seconds": 100.0, "trials": None})
    study.optimizer.ask()
    view = LivePicture(now=lambda: now[0])
    view.show(snapshot(study.history, 2))
    now[0] = 300.0
    assert "0:00 of 1:40, workers are starting" in shown(view)


def test_no_more_are_running_than_there_are_workers() -> None:
    study = told()
    study.optimizer.ask()
    study.optimizer.ask()
    assert len(study.history.pending) == 3
    text = shown_of(study, 2)
    assert "2 running, 1 waiting" in text and "3 running" not in text
    assert "3 running" in shown_of(study, 3) and "waiting" not in shown_of(study)


def test_the_finals_are_announced() -> None:
    study = Study(Finals(ASHA(Random(SPACE), 1, 9, 3)))
    assert "finals" not in shown_of(study)
    study.optimizer.enqueue(study.optimizer.space.decode([0.5] * len(SPACE.columns)))
    for _ in range(3):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, 1.0)
    study.history.limit("seconds", 100.0, "finals", {"keep": 3})
    assert "finals: training to the end the best 2 and the default" in shown_of(study), "3 in all"
    without = Study(Finals(ASHA(Random(SPACE), 1, 9, 3)))
    job = without.optimizer.ask()
    assert job is not None
    without.optimizer.tell(job, 1.0)
    without.history.limit("seconds", 100.0, "finals", {"keep": 3})
    assert "finals: training to the end the best\n" in re.sub(r" *│? *\n", "\n", shown_of(without))


def test_several_objectives_end_in_a_front_and_not_in_a_best() -> None:
    study = Study(Random(SPACE, seed=0), objectives=["loss", "ms"], unit="tokens")
    for values in ({"loss": 1.0, "ms": 7.25}, {"loss": 2.0, "ms": 0.5}):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, values)
    text = shown_of(study)
    assert "front of 2, best loss=1 ms=0.5" in text and re.search(r"1\.0000 +ms 7\.25 ", text)
    assert re.search(r"2\.0000 +ms 0\.5 ", text) and "best    " not in text


@pytest.mark.parametrize("count", [0, 1, 5, 12, 40])
def test_a_tally_that_follows_is_the_one_that_begins_late(count: int) -> None:
    """Law: counts by event are those of the whole history, however often they were read meanwhile."""
    study = told(max(count, 4))
    history, often = study.history, []
    for length in range(len(history) + 1):
        prefix = history.prefix(length)
        often.append(Tally.of(prefix))
        assert often[-1].work == pytest.approx(hpo.analysis.progress.total_work(prefix))
        assert sum(often[-1].failed.values()) == sum(map(prefix.is_failure, prefix.results))
    grown = history.prefix(0)
    for event in history.events:
        grown.log.append(event)
        grown.refresh()
        Tally.of(grown)
    for field in ("failed", "continued", "work", "first", "latest", "paces"):
        assert getattr(Tally.of(grown), field) == getattr(Tally.of(history.prefix(len(history))), field), field
    for rung in snapshot(history).rungs:
        ends = [keys[-1] for keys in history.trials.values()]
        at_rest = [key for key in ends if key[1] == rung.until and key in history.results and not history.is_failure(key)]
        assert rung.paused == (0 if rung.until == 9 else len(at_rest))


def test_the_time_that_is_left_is_that_of_the_nearest_limit() -> None:
    now = replace(snapshot(told().history), spent=50.0, trials=30, first=10, pace=0.5, seconds=None)
    assert now.seconds_left() == 40.0 and now.seconds_left(30.0) == 10.0
    assert replace(now, seconds=60.0).seconds_left() == 10.0 and replace(now, trials=None).seconds_left() is None
    assert replace(now, over=True).seconds_left() is None and replace(now, first=30).seconds_left() is None
    assert "10 of 30 trials in 0:50, 0:40 left" in describe_status(now)


def test_limits_are_those_of_the_last_run_and_the_loosest_of_those_that_go_on() -> None:
    study = Study(Random(SPACE))
    first, second = study.history.run({"trials": 20, "seconds": None}), study.history.run({"trials": 10, "seconds": 5.0})
    tally = Tally.of(study.history)
    assert tally.limit("trials") == 10 and tally.limit("trials", (first, second)) == 20
    assert tally.limit("seconds") == 5.0 and tally.limit("seconds", (first, second)) is None


def test_numbers_in_words() -> None:
    assert [clock(seconds) for seconds in (125.9, -1.0, 3600 * 25 + 61)] == ["2:05", "0:00", "25:01:01"]
    assert [decimals(value) for value in (0.5, 0.0, 1e-5, 123456.0)] == ["0.5000", "0.0000", "1e-05", "1.235e+05"]
    assert [describe_pace(pace, "x") for pace in (2.5, 0.05, 1e-3, 12345.0)] == ["2.5 x/s", "3 x/min", "3.6 x/h", "12.3k x/s"]


# -- on a terminal ------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys, hpo
space = {"x": (0.0, 1.0)}
def f(config):
    print("said by the objective")
    if config["x"] > 0.6:
        raise ValueError("too [large]")
    return config["x"]
study = hpo.minimize(f, space, "random", 12, seed=3, catch=ValueError, quiet="quiet" in sys.argv)
print("after", study.best.number)
"""


def on_a_terminal(words: list[str], term: str = "xterm") -> str:
    """What a Python program writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, *words], stdin=theirs, stdout=theirs, stderr=theirs,
                               env=environment() | {"TERM": term, "COLUMNS": "120", "LINES": "40"})  # fmt: skip
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last one has closed it
            break
        if not part:
            break
        found += part
    assert process.wait() == 0, found
    os.close(ours)
    return found.decode().replace("\r\n", "\n")


posix = pytest.mark.skipif(os.name != "posix", reason="there are no pseudo-terminals here")


@posix
def test_minimize_shows_how_far_it_is_below_its_lines() -> None:
    said = on_a_terminal(["-c", PROGRAM])
    lines = re.findall(r"trial +\d+ .*best [\d.]+ \(trial \d+\)$", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said), re.MULTILINE)
    assert len(lines) >= 10 and "failed (ValueError: too [large])" in said
    assert "12 of 12 trials" in said and "12 trials, 12 results, " in said and "said by the objective" in said
    assert said.rstrip().splitlines()[-1].removeprefix("\x1b[?25h").startswith("after "), "the picture has ended before"
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1, "the cursor is hidden, and shown again"


@posix
@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_draws_nothing_anew_gets_lines(term: str) -> None:
    said = on_a_terminal(["-c", PROGRAM], term)
    assert "\x1b" not in said and "12 of 12" not in said and said.count("trial ") >= 12


@posix
def test_quiet_is_silent_there_too() -> None:
    said = on_a_terminal(["-c", PROGRAM, "quiet"])
    assert re.sub("said by the objective\n", "", said).strip().startswith("after ")


def test_redirected_output_is_lines_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment(), capture_output=True, text=True, check=True)
    said = [line for line in done.stdout.splitlines() if line != "said by the objective"]
    assert len(said) == 13 and all(line.startswith("trial ") for line in said[:-1]) and "\x1b" not in done.stdout
    assert done.stderr == ""


def display(file: Any = None, **options: Any) -> LiveDisplay:
    console = Console(file=file or io.StringIO(), width=110, force_terminal=True, color_system=None)
    return LiveDisplay(LivePicture(whole=False), console=console, **options)


def test_a_clock_goes_on_while_a_proposal_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that has the history's lock, as one that proposes, does not stop the picture."""
    monkeypatch.setattr("hpo.live.PERIOD", 0.001)
    study, drawn, release = told(), display(), threading.Event()
    drawn.begin(study)

    def propose() -> None:
        with study.history.lock:
            held.set()
            release.wait()

    held = threading.Event()
    thread = threading.Thread(target=propose)
    thread.start()
    held.wait()
    before = len(drawn._console.file.getvalue())  # type: ignore[attr-defined]
    wait_for(lambda: len(drawn._console.file.getvalue()) > before)  # type: ignore[attr-defined]
    release.set()
    thread.join()
    drawn.end(study)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 600.0
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


class Shut(io.StringIO):
    """A terminal that goes away."""

    def write(self, text: str) -> int:
        if getattr(self, "gone", False):
            raise BrokenPipeError("nobody reads on")
        return super().write(text)


def test_a_terminal_that_goes_away_ends_the_run_with_everything_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hpo.live.PERIOD", 0.001)
    file = Shut()
    shown = display(file, lines=True)

    def f(config: dict[str, float]) -> float:
        if not file.gone and len(study.history.results) == 3:  # type: ignore[attr-defined]
            file.gone = True  # type: ignore[attr-defined]
            wait_for(lambda: shown._error is not None)
        return config["x"]

    file.gone = False  # type: ignore[attr-defined]
    study = Study(Random(SPACE), log=tmp_path / "s.db")
    with pytest.raises(BrokenPipeError):
        hpo.run(study, hpo.Inline(f), hpo.Stop(trials=10), shown)
    assert len(study.history.results) == 4


def test_two_studies_of_one_process_are_drawn_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    outer, inner = told(), Study(Random(SPACE))
    first = display()
    first.begin(outer)
    second = LiveDisplay(LivePicture(whole=False), console=first._console)
    hpo.run(inner, hpo.Inline(lambda config: config["x"]), hpo.Stop(trials=2), second)
    first.end(outer)
    assert len(inner.history.results) == 2
