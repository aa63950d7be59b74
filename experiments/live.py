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

from experiments import progress as facts
from experiments.tune.settings import Settings
from hpo.display import Lines, short
from hpo.job import Key
from hpo.optimizers.finals import FINALS, default_trial, finalists
from hpo.stopping import is_ready, search_end, spent
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
    spent: float = 0.0  # seconds of search and finals so far
    ready: bool = False  # whether a worker of this run has been ready
    finals: int | None = None  # trials beside the default that are trained to the end, once that has begun
    usual: bool = False  # whether there is a default
    started: int = 0
    finished: int = 0
    failed: int = 0
    tokens: int = 0
    best: tuple[Key, float, Mapping[str, Any]] | None = None
    default: tuple[Key, float] | None = None
    latest: tuple[Finished, ...] = ()


def snapshot(study: Study, workers: int) -> Snapshot:
    """What the display shows of a study."""
    history, over = study.history, search_end(study.history)
    best = facts.best_key(study)
    usual = default_trial(history)
    default = facts.last_success(history, usual)
    losses = {key: history.losses(key)[0] for key in (best, default) if key is not None}
    return Snapshot(
        rungs=tuple(facts.rungs(history, workers)),
        spent=spent(history),
        ready=is_ready(history),
        finals=len(set(finalists(history, over["keep"])) - {usual}) if over is not None and over["phase"] == FINALS else None,
        usual=usual is not None or history.queue_head is not None,
        started=len(history.trials),
        finished=len(history.results),
        failed=sum(map(history.is_failure, history.results)),
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
    now: Callable[[], float] = time.monotonic
    shown: Snapshot = field(default_factory=Snapshot)
    taken: float = 0.0  # when that was

    def show(self, taken: Snapshot) -> None:
        """A newer snapshot, from now."""
        self.shown, self.taken = taken, self.now()

    def __rich__(self) -> RenderableType:
        spent = self.shown.spent + (self.now() - self.taken if self.shown.ready else 0.0)
        parts = [self._progress(spent), self._table(), self._best(), self._latest()]
        title = f"[bold]{method(self.settings)}[/] on {escape(self.settings.text)}"
        with_workers = f"{self.settings.workers} workers · seed {self.settings.seed} · {escape(self.settings.folder)}"
        return Panel(Group(*parts), title=title, subtitle=with_workers, border_style="dim", width=None)

    def _progress(self, spent: float) -> RenderableType:
        whole, shown = self.settings.seconds, self.shown
        bar = ProgressBar(whole, min(spent, whole), width=40)
        rest = f"{clock(whole - spent)} left" if spent < whole + 1 else f"{clock(spent - whole)} beyond, to finish the finals"
        left = f"{clock(spent)} of {clock(whole)}, {rest if shown.ready else 'workers are starting'}"
        failed = f", [red]{shown.failed} failed[/]" if shown.failed else ""
        rate = amount(shown.tokens / spent) if spent > 1 else "0"
        flying = in_flight(sum(r.running for r in shown.rungs), sum(r.waiting for r in shown.rungs)) or "none running"
        counts = f"{shown.started} trials, {shown.finished} trainings{failed} · {flying} · {rate} tokens/s"
        lines: list[RenderableType] = [Columns([bar, Text(left)], padding=(0, 2)), Text.from_markup(counts)]
        if shown.finals is not None:
            best = {0: "", 1: "the best"}.get(shown.finals, f"the best {shown.finals}")
            who = " and ".join([best] * bool(best) + ["the default"] * shown.usual)
            lines.append(Text(f"finals: training to the end {who}", style="bold"))
        return Group(*lines)

    def _table(self) -> RenderableType:
        if not self.shown.rungs:
            return Text("the workers are starting", style="dim")
        table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
        for name in ("tokens", "finished", "failed", "in flight", "best loss"):
            table.add_column(name, justify="right")
        for rung in self.shown.rungs:
            best = "" if rung.best is None else f"{rung.best:.4f}"
            flying = in_flight(rung.running, rung.waiting, "")
            table.add_row(amount(rung.until), str(rung.finished), str(rung.failed or ""), flying, best)
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


def in_flight(running: int, waiting: int, word: str = " running") -> str:
    """`2 running, 1 waiting`: what is trained, and what stands ready for the worker that is free next; empty for neither."""
    parts = [f"{running}{word}"] * bool(running) + [f"{waiting} waiting"] * bool(waiting)
    return ", ".join(parts)


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

    def __init__(self, settings: Settings, console: Console | None = None) -> None:
        self.console = console if console is not None else Console()
        self.view = View(settings)
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
        chooser = study.optimizer.chooser
        if not self._said and type(chooser).__str__ is not object.__str__:
            self.console.print(str(chooser), markup=False, highlight=False)  # a grid says how large it is
        self._said = True
        latest = self.view.shown.latest
        if key is not None:
            trial, best = study.trial(key), facts.best_key(study) == key
            seconds = trial.system.get("seconds", 0.0)
            latest = (Finished(key, trial.value, seconds, trial.error, best), *latest)[:LATEST]
        self.view.show(replace(snapshot(study, self.view.settings.workers), latest=latest))
