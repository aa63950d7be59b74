"""The live display of the main job: the shared panel (tests/hpo/test_hpo_live.py), entitled, and with the job's own seconds."""

import io

from rich.console import Console

from experiments.tune.live import make_panel, make_view
from experiments.tune.settings import Settings
from hpo import ASHA, Random, Study, run
from hpo.analysis.snapshot import snapshot
from hpo.executors import Inline
from hpo.loop import Stop
from tests.hpo.test_hpo_analysis_progress import SPACE, told
from tests.hpo.test_hpo_live import shown

SETTINGS = Settings(text="a [bold]text[/]", seconds=100)


def test_the_panel_names_the_job_and_its_seconds() -> None:
    view = make_view(SETTINGS)
    view.show(snapshot(told().history, SETTINGS.workers))
    text = shown(view)
    for words in ("asha(gp) on a [bold]text[/]", "seed 0", "of 1:40", "1 failed", "best loss", "default"):
        assert words in text


def train(config: dict[str, float], report: object) -> None:
    for step in range(1, 10):
        report(step, config["x"] + 1 / step)  # type: ignore[operator]


def test_a_terminal_gets_a_panel_and_a_pipe_gets_lines() -> None:
    for terminal, wanted in ((True, "╭"), (False, "trial    0 @ 1 tokens")):
        file = io.StringIO()
        study = Study(ASHA(Random(SPACE, seed=0), 1, 9, 3), unit="tokens")
        console = Console(file=file, width=100, force_terminal=terminal, color_system=None, _environ={"TERM": "xterm"})
        run(study, Inline(train, 9), Stop(trials=3), make_panel(SETTINGS, console))
        assert wanted in file.getvalue() and ("╭" in file.getvalue()) == terminal
