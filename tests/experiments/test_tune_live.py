"""The live display and the numbers under it: rungs, tokens, working time, the best so far."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from experiments import progress as facts
from experiments.live import Display, View, amount, clock, snapshot
from experiments.tune.settings import Settings
from hpo import ASHA, Finals, Float, Job, MemoryLog, Random, Result, Space, Study
from hpo.logs import Event
from hpo.optimizers.finals import default_trial

SPACE = Space(x=Float(0, 1), y=Float(0, 1))
SETTINGS = Settings(text="a [bold]text[/]", seconds=100)


def told(n: int = 12) -> Study:
    """An ASHA study with one failure and one job that is still running."""
    study = Study(ASHA(Random(SPACE, seed=0), 1, 9, 3), unit="tokens")
    study.optimizer.enqueue({"x": 0.5, "y": 0.5})
    for i in range(n):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, failure() if i == 3 else result(job))
    study.optimizer.ask()
    return study


def result(job: Job) -> dict[str, float]:
    return {"loss": job.config["x"] + 1 / job.until, "tokens": float(job.until), "seconds": 1.0}


def failure() -> Result:
    return Result(error="diverged")


def shown(view: Any) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    console.print(view)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_view_shows_what_happened_and_the_clock() -> None:
    study, now = told(), [0.0]
    view = View(SETTINGS, now=lambda: now[0])
    assert "the workers are starting" in shown(view)
    now[0] = 500.0
    view.show(replace(snapshot(study, 2), spent=20.0))
    now[0] = 530.0
    text = shown(view)
    for words in ("asha(gp)", "a [bold]text[/]", "0:50 of 1:40, 0:50 left", "1 failed", "best loss", "default", "x="):
        assert words in text
    now[0] = 1000.0
    assert "beyond, to finish the finals" in shown(view)


def test_the_clock_stands_until_a_worker_is_ready() -> None:
    study, now = Study(ASHA(Random(SPACE), 1, 9, 3)), [0.0]
    study.history.run()
    study.optimizer.ask()
    view = View(SETTINGS, now=lambda: now[0])
    view.show(snapshot(study, 2))
    now[0] = 300.0
    assert "0:00 of 1:40, workers are starting" in shown(view)


def test_no_more_are_running_than_there_are_workers() -> None:
    study = told()
    study.optimizer.ask()
    study.optimizer.ask()
    assert len(study.history.pending) == 3
    text = shown_of(study, 2)
    assert "2 running, 1 waiting" in text and "3 running" not in text
    assert "3 running" in shown_of(study, 3) and "waiting" not in shown_of(study, 3)


def shown_of(study: Study, workers: int) -> str:
    view = View(SETTINGS)
    view.show(snapshot(study, workers))
    return shown(view)


def test_the_finals_are_announced() -> None:
    study = Study(Finals(ASHA(Random(SPACE), 1, 9, 3)))
    assert "finals" not in shown_of(study, 2)
    study.optimizer.enqueue(study.optimizer.space.decode([0.5] * len(SPACE.columns)))
    for _ in range(3):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, 1.0)
    study.history.limit("seconds", 100.0, "finals", {"keep": 3})
    assert "finals: training to the end the best 2 and the default" in shown_of(study, 2), "3 in all"
    without = Study(Finals(ASHA(Random(SPACE), 1, 9, 3)))
    job = without.optimizer.ask()
    assert job is not None
    without.optimizer.tell(job, 1.0)
    without.history.limit("seconds", 100.0, "finals", {"keep": 3})
    assert "finals: training to the end the best\n" in re.sub(r" *│? *\n", "\n", shown_of(without, 2))


def test_a_terminal_gets_a_panel_and_a_pipe_gets_lines() -> None:
    study = told()
    for terminal, wanted in ((True, "best"), (False, "trial    0 @ 1 tokens")):
        file = io.StringIO()
        console = Console(file=file, width=100, force_terminal=terminal, color_system=None)
        with Display(SETTINGS, console) as display:
            display(study, None)
            display(study, (0, 1))
        assert wanted in file.getvalue()


def test_rungs_count_what_finished_failed_and_runs() -> None:
    study = told()
    rungs = facts.rungs(study.history, 2)
    assert [rung.until for rung in rungs][:2] == [1, 3]
    assert sum(rung.finished for rung in rungs) == 12
    assert sum(rung.failed for rung in rungs) == 1
    assert sum(rung.running for rung in rungs) == 1
    assert default_trial(study.history) == 0


def test_a_resumed_trial_counts_its_tokens_once() -> None:
    history = told().history
    ends = {key[0]: key[1] for key in history.finished_keys if not history.is_failure(key)}
    assert facts.tokens(history) == sum(ends.values())


def test_pauses_between_runs_do_not_count() -> None:
    log, study = MemoryLog(), Study(Random(SPACE, seed=0))
    jobs = [study.optimizer.ask(), study.optimizer.ask()]
    log.open(study.header.to_json())
    events: list[tuple[str, Any, float]] = [("run", {}, 1000.0)]
    for job, seconds in zip(jobs, (1010.0, 5005.0), strict=True):
        assert job is not None
        body = {"trial": job.trial, "until": job.until, "result": Result({"loss": 1.0}).to_json()}
        if seconds > 2000:
            events.append(("run", {}, 5000.0))
        events += [("start", {"job": job.to_json(), "seen": 0, "attempt": 0}, seconds), ("finish", body, seconds)]
    for kind, body, seconds in events:
        log.append(Event(kind, body, seconds))
    history = Study(Random(SPACE, seed=0), log=log).history
    assert facts.clock(history) == {(0, 1): 10.0, (1, 1): 15.0}
    assert history.elapsed_seconds() == 15.0


def test_best_so_far_ends_with_the_best() -> None:
    study = told(30)
    steps = facts.best_so_far(study.history)
    assert steps[-1][1] == study.best.key
    assert [seconds for seconds, _ in steps] == sorted(seconds for seconds, _ in steps)


@pytest.mark.parametrize(("count", "words"), [(512, "512"), (16_384, "16.4k"), (4.9e6, "4.9M"), (2e9, "2G")])
def test_amounts(count: float, words: str) -> None:
    assert amount(count) == words
    assert clock(125.9) == "2:05"
