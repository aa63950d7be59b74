"""The live display of the main job."""

import io
import re
from dataclasses import replace
from typing import Any

from rich.console import Console

from experiments.tune.live import Display, View, clock
from experiments.tune.settings import Settings
from hpo import ASHA, Finals, Random, Study
from hpo.analysis.snapshot import snapshot
from tests.hpo.test_hpo_analysis_progress import SPACE, told

SETTINGS = Settings(text="a [bold]text[/]", seconds=100)


def shown(view: Any) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    console.print(view)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_view_shows_what_happened_and_the_clock() -> None:
    study, now = told(), [0.0]
    view = View(SETTINGS, now=lambda: now[0])
    assert "the workers are starting" in shown(view)
    now[0] = 500.0
    view.show(replace(snapshot(study.history, 2), spent=20.0))
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
    assert "3 running" in shown_of(study, 3) and "waiting" not in shown_of(study, 3)


def shown_of(study: Study, workers: int) -> str:
    view = View(SETTINGS)
    view.show(snapshot(study.history, workers))
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


def test_several_objectives_end_in_a_front_and_not_in_a_best() -> None:
    study, file = Study(Random(SPACE, seed=0), objectives=["loss", "ms"], unit="tokens"), io.StringIO()
    study.history.run()
    with Display(SETTINGS, Console(file=file, width=100, force_terminal=True, color_system=None)) as display:
        for told in ({"loss": 1.0, "ms": 7.25}, {"loss": 2.0, "ms": 0.5}):
            job = study.optimizer.ask()
            assert job is not None
            study.optimizer.tell(job, told)
            display(study, job.key)
    text = shown(display.view)
    assert "front of 2" in text and "1.0000    ms 7.25 " in text and "2.0000    ms 0.5 " in text
    assert "best" not in text.replace("best loss", "")


def test_seconds_are_minutes() -> None:
    assert clock(125.9) == "2:05"
