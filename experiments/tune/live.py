"""The live display of the main job: the panel of hpo/live.py, entitled with what is tuned on what."""

from __future__ import annotations

from typing import TextIO, cast

from rich.console import Console

from experiments.tune.settings import Settings
from hpo.analysis.snapshot import snapshot
from hpo.display import Lines
from hpo.history import History
from hpo.live import LiveDisplay, LivePicture
from hpo.stopping import is_over, search_end, search_seconds
from hpo.values import quantity
from hpo.watchers import Watch


def method(settings: Settings) -> str:
    """Scheduler and sampler in short: `asha(gp)`."""
    return settings.sampler if settings.scheduler == "none" else f"{settings.scheduler}({settings.sampler})"


def make_view(settings: Settings) -> LivePicture:
    """The panel of a search, before anything has begun."""
    workers = quantity(settings.workers, "workers")
    subtitle = f"{workers} · seed {settings.seed} · {settings.folder}"
    return LivePicture(title=f"{method(settings)} on {settings.text}", subtitle=subtitle, seconds=settings.seconds)


def make_panel(settings: Settings, console: Console | None = None) -> Watch:
    """A watcher with a live panel; if the output is no terminal, one that prints a line for each finished job."""
    console = console if console is not None else Console()
    if not console.is_terminal or console.is_dumb_terminal:
        return Lines(cast(TextIO, console.file))
    return LiveDisplay(make_view(settings), workers=settings.workers, console=console)


def summary(history: History, seconds: float) -> list[str]:
    """Sentences: how much was done in how many seconds, and whether the seconds were too few or were exceeded."""
    now, took = snapshot(history), search_seconds(history)
    started, tokens = quantity(now.started, "trials"), quantity(round(now.work), "tokens")
    said = [f"{started}, {now.whole} trained to the end, {tokens} in {took:.0f} s"]
    end = search_end(history)
    if end is not None and is_over(history) and "reserve" in end:
        said.append(
            f"{seconds:g} s are too few to train one configuration to the end here: that would take about {end['reserve']:.0f} s"
        )
    elif end is not None and took > 1.05 * seconds:
        said.append(f"the finals were finished beyond the {seconds:g} s: trainings took longer than before, or than was expected")
    return said
