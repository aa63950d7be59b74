"""The live display of a search: rungs, best so far, tokens per second, time left. A watcher for `hpo.run`.

The watcher takes a snapshot after every event, in the driver's thread; Rich renders the newest snapshot twice a second in
a thread of its own, so that the clock goes on between events and no thread reads a history that is being written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO, cast

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.tune.settings import Settings
from hpo.analysis.lines import amount, join_config
from hpo.analysis.snapshot import Snapshot, snapshot
from hpo.display import Lines
from hpo.history import History
from hpo.job import Key
from hpo.stopping import is_over, search_end, search_seconds
from hpo.study import Study
from hpo.trial import best_key, describe_best
from hpo.values import quantity

LATEST = 5  # finished trials that are shown
REFRESH = 2.0  # a second


@dataclass(frozen=True)
class Finished:
    """One of the lines about what finished last."""

    key: Key
    loss: float
    seconds: float
    error: str | None
    best: bool
    others: str = ""  # values of further objectives


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


@dataclass
class View:
    """The picture that Rich renders: the newest snapshot and the clock."""

    settings: Settings
    now: Callable[[], float] = time.monotonic
    shown: Snapshot = field(default_factory=Snapshot)
    latest: tuple[Finished, ...] = ()
    front: str = ""  # with several objectives, the front in a few words
    taken: float = 0.0  # when the snapshot was taken

    def show(self, taken: Snapshot, done: Finished | None = None, front: str = "") -> None:
        """Takes a newer snapshot, the job that has just finished, and the front in words if there are several objectives."""
        self.shown, self.taken, self.front = taken, self.now(), front
        if done is not None:
            self.latest = (done, *self.latest)[:LATEST]

    def __rich__(self) -> RenderableType:
        spent = self.shown.spent + (self.now() - self.taken if self.shown.ready else 0.0)
        parts = [self._progress(spent), self._table(), self._best(), self._latest()]
        title = f"[bold]{method(self.settings)}[/] on {escape(self.settings.text)}"
        workers = quantity(self.settings.workers, "workers")
        with_workers = f"{workers} · seed {self.settings.seed} · {escape(self.settings.folder)}"
        return Panel(Group(*parts), title=title, subtitle=with_workers, border_style="dim", width=None)

    def _progress(self, spent: float) -> RenderableType:
        whole, shown = self.settings.seconds, self.shown
        bar = ProgressBar(whole, min(spent, whole), width=40)
        rest = f"{clock(whole - spent)} left" if spent < whole + 1 else f"{clock(spent - whole)} beyond, to finish the finals"
        left = f"{clock(spent)} of {clock(whole)}, {rest if shown.ready else 'workers are starting'}"
        failed = f", [red]{shown.failed} failed[/]" if shown.failed else ""
        rate = amount(shown.work / spent) if spent > 1 else "0"
        flying = in_flight(sum(r.running for r in shown.rungs), sum(r.waiting for r in shown.rungs)) or "none running"
        done = f"{quantity(shown.started, 'trials')}, {quantity(shown.finished, 'trainings')}"
        counts = f"{done}{failed} · {flying} · {rate} tokens/s"
        lines: list[RenderableType] = [Columns([bar, Text(left)], padding=(0, 2)), Text.from_markup(counts)]
        if shown.finals is not None:
            best = {0: "", 1: "the best"}.get(shown.finals, f"the best {shown.finals}")
            who = " and ".join([best] * bool(best) + ["the default"] * shown.has_default)
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
        if self.front:
            lines.append(Text(self.front, style="bold green"))
        elif self.shown.best is not None:
            (trial, until), loss, config = self.shown.best
            lines.append(
                Text.assemble(("best    ", "dim"), (f"{loss:.4f}", "bold green"), f" trial {trial} at {amount(until)}")
            )
            lines.append(Text("        " + join_config(config), style="dim"))
        if self.shown.default is not None:
            (_, until), loss = self.shown.default
            lines.append(Text.assemble(("default ", "dim"), f"{loss:.4f}", f" at {amount(until)}"))
        return Group(*lines)

    def _latest(self) -> RenderableType:
        if not self.latest:
            return Text()
        table = Table(box=None, padding=(0, 2), pad_edge=False, show_header=False)
        for done in self.latest:
            said = Text(f"{done.loss:.4f}", style="bold green" if done.best else "") if done.error is None else None
            words = said if said is not None else Text(str(done.error)[:60], style="red")
            trial, until = done.key
            table.add_row(f"trial {trial}", f"at {amount(until)}", words, done.others, f"{done.seconds:.1f} s")
        return Group(Text(), table)


def in_flight(running: int, waiting: int, word: str = " running") -> str:
    """Jobs in flight, `2 running, 1 waiting`: those that train, and those that wait for a free worker; empty without any."""
    parts = [f"{running}{word}"] * bool(running) + [f"{waiting} waiting"] * bool(waiting)
    return ", ".join(parts)


def escape(text: str) -> str:
    """The text in a form that Rich does not read as markup."""
    return text.replace("[", r"\[")


def method(settings: Settings) -> str:
    """Scheduler and sampler in short: `asha(gp)`."""
    return settings.sampler if settings.scheduler == "none" else f"{settings.scheduler}({settings.sampler})"


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


class Display:
    """A watcher with a live panel; if the output is no terminal, it prints a line for each finished job. A context manager."""

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
            self.console.print(str(chooser), markup=False, highlight=False)  # a grid prints its size
        self._said = True
        done = None if key is None else _finished(study, key)
        front = describe_best(study.history) if len(study.header.objectives) > 1 else ""
        self.view.show(snapshot(study.history, self.view.settings.workers), done, front)


def _finished(study: Study, key: Key) -> Finished:
    trial, (_, *names) = study.trial(key), study.header.objectives
    best = best_key(study.history) == key and not names
    others = "  ".join(f"{name} {trial.metrics[name]:.4g}" for name in names if name in trial.metrics)
    return Finished(key, trial.value, trial.system.get("seconds", 0.0), trial.error, best, others)
