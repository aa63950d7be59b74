"""The live display of a search: rungs, best so far, tokens per second, time left. A watcher for `hpo.run`.

The watcher takes a snapshot after every event, in the driver's thread; Rich renders the newest snapshot twice a second in
a thread of its own, so that the clock goes on between events and no thread reads a history that is being written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TextIO, cast

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments import facts
from experiments.settings import Settings
from hpo.display import Lines, short
from hpo.job import Key
from hpo.study import Study

LATEST = 5  # finished trials that are shown
REFRESH = 2.0  # a second


@dataclass(frozen=True)
class Finished:
    """One line of what finished last."""

    key: Key
    loss: float
    seconds: float
    error: str | None
    best: bool


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment, with nothing in it that changes."""

    rungs: tuple[facts.Rung, ...] = ()
    started: int = 0
    finished: int = 0
    failed: int = 0
    tokens: int = 0
    best: tuple[Key, float, Mapping[str, Any]] | None = None
    default: tuple[Key, float] | None = None
    latest: tuple[Finished, ...] = ()


def snapshot(study: Study) -> Snapshot:
    """What the display shows of a study."""
    history = study.history
    best = facts.best_key(study)
    default = facts.last_success(history, facts.queued_trial(history))
    losses = {key: history.losses(key)[0] for key in (best, default) if key is not None}
    return Snapshot(
        rungs=tuple(facts.rungs(history)),
        started=len(history.trials),
        finished=len(history.results),
        failed=sum(map(history.failed, history.results)),
        tokens=facts.tokens(history),
        best=None if best is None else (best, losses[best], dict(history.jobs[best].config)),
        default=None if default is None else (default, losses[default]),
    )


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def amount(count: float) -> str:
    """16384 as 16.4k."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g}{unit}"
    return f"{count:.0f}"


@dataclass
class View:
    """What Rich renders: the newest snapshot and the clock."""

    settings: Settings
    before: float  # seconds of earlier runs of the same study
    now: Callable[[], float] = time.monotonic
    shown: Snapshot = field(default_factory=Snapshot)

    def __post_init__(self) -> None:
        self.begun = self.now()

    def __rich__(self) -> RenderableType:
        spent = min(self.before + self.now() - self.begun, self.settings.seconds)
        parts = [self._progress(spent), self._table(), self._best(), self._latest()]
        title = f"[bold]{method(self.settings)}[/] on {escape(self.settings.text)}"
        with_workers = f"{self.settings.workers} workers · seed {self.settings.seed} · {escape(self.settings.folder)}"
        return Panel(Group(*parts), title=title, subtitle=with_workers, border_style="dim", width=None)

    def _progress(self, spent: float) -> RenderableType:
        bar = ProgressBar(self.settings.seconds, spent, width=40)
        left = f"{clock(spent)} of {clock(self.settings.seconds)}, {clock(self.settings.seconds - spent)} left"
        shown = self.shown
        failed = f", [red]{shown.failed} failed[/]" if shown.failed else ""
        rate = amount(shown.tokens / spent) if spent > 1 else "0"
        counts = f"{shown.started} trials, {shown.finished} trainings{failed} · {rate} tokens/s"
        return Group(Columns([bar, Text(left)], padding=(0, 2)), Text.from_markup(counts))

    def _table(self) -> RenderableType:
        if not self.shown.rungs:
            return Text("the workers are starting", style="dim")
        table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
        for name in ("tokens", "finished", "failed", "running", "best loss"):
            table.add_column(name, justify="right")
        for rung in self.shown.rungs:
            best = "" if rung.best is None else f"{rung.best:.4f}"
            table.add_row(amount(rung.until), str(rung.finished), str(rung.failed or ""), str(rung.running or ""), best)
        return Group(Text(), table)

    def _best(self) -> RenderableType:
        lines = [Text()]
        if self.shown.best is not None:
            (trial, until), loss, config = self.shown.best
            lines.append(
                Text.assemble(("best    ", "dim"), (f"{loss:.4f}", "bold green"), f" trial {trial} at {amount(until)}")
            )
            lines.append(Text("        " + compact(config), style="dim"))
        if self.shown.default is not None:
            (_, until), loss = self.shown.default
            lines.append(Text.assemble(("default ", "dim"), f"{loss:.4f}", f" at {amount(until)}"))
        return Group(*lines)

    def _latest(self) -> RenderableType:
        if not self.shown.latest:
            return Text()
        table = Table(box=None, padding=(0, 2), pad_edge=False, show_header=False)
        for done in self.shown.latest:
            said = Text(f"{done.loss:.4f}", style="bold green" if done.best else "") if done.error is None else None
            words = said if said is not None else Text(str(done.error)[:60], style="red")
            trial, until = done.key
            table.add_row(f"trial {trial}", f"at {amount(until)}", words, f"{done.seconds:.1f} s")
        return Group(Text(), table)


def escape(text: str) -> str:
    """Text that Rich must not read as markup."""
    return text.replace("[", r"\[")


def method(settings: Settings) -> str:
    """`asha(gp)`."""
    return settings.sampler if settings.scheduler == "none" else f"{settings.scheduler}({settings.sampler})"


def compact(config: Mapping[str, Any]) -> str:
    """A configuration in one line."""
    return " ".join(f"{name}={short(value)}" for name, value in config.items())


class Display:
    """A watcher with a live panel; one line a finished job where the output is not a terminal. A context manager."""

    def __init__(self, settings: Settings, before: float, console: Console | None = None) -> None:
        self.console = console if console is not None else Console()
        self.view = View(settings, before)
        self._said = False
        self.lines = None if self.console.is_terminal else Lines(cast(TextIO, self.console.file))
        self._live = Live(self.view, console=self.console, refresh_per_second=REFRESH, auto_refresh=True)

    def __enter__(self) -> Display:
        if self.lines is None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.lines is None:
            self._live.stop()

    def __call__(self, study: Study, key: Key | None) -> None:
        if self.lines is not None:
            self.lines(study, key)
            return
        if not self._said and type(study.optimizer).__str__ is not object.__str__:
            self.console.print(str(study.optimizer), markup=False, highlight=False)  # a grid says how large it is
        self._said = True
        latest = self.view.shown.latest
        if key is not None:
            trial, best = study.trial(key), facts.best_key(study) == key
            seconds = trial.system.get("seconds", 0.0)
            latest = (Finished(key, trial.value, seconds, trial.error, best), *latest)[:LATEST]
        self.view.shown = replace(snapshot(study), latest=latest)
