"""The live picture of a study on a terminal, by Rich: what `minimize`, `hpo watch` and `experiments.tune` show.

`LivePicture` draws a Snapshot: in two lines below the results (`minimize`), or whole in a panel. `LiveDisplay` is the watcher
that does so while a run goes on, in a thread of its own: the driver's thread only notes what has finished, however short its
trials are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.errors import LiveError
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.analysis.lines import amount, join_config, trial_line
from hpo.analysis.snapshot import Outcome, Snapshot, snapshot
from hpo.analysis.status import (
    decimals,
    describe_counts,
    describe_driver,
    describe_finals,
    describe_jobs,
    describe_time,
)
from hpo.display import Lines, describe_chooser
from hpo.job import Key
from hpo.study import Study

PERIOD = 0.5  # seconds between two pictures
SHARE = 0.02  # of the time that pictures may take: where one takes long, as in a very long study, they become rarer
WIDTH = 40  # of the bar
ERROR = 60  # characters of an error


@dataclass
class LivePicture:
    """The picture that Rich draws: the newest snapshot, and the clock.

    whole      as a panel with tables, else two lines
    title      of the panel; `subtitle` stands below it
    seconds    that the search may take, where its drivers do not say so themselves
    """

    whole: bool = True
    title: str = ""
    subtitle: str = ""
    seconds: float | None = None
    now: Callable[[], float] = time.monotonic
    shown: Snapshot = field(default_factory=Snapshot)
    taken: float = 0.0  # when the snapshot was taken

    def show(self, taken: Snapshot) -> None:
        """Takes a newer snapshot."""
        self.shown, self.taken = taken, self.now()

    @property
    def since(self) -> float:
        """Seconds since the last event, while somebody works."""
        return self.shown.idle + self.now() - self.taken if self.shown.ready and self.shown.is_alive else 0.0

    def __rich__(self) -> RenderableType:
        spent = self.shown.spent + self.since
        if not self.whole:
            return Group(self._progress(spent), self._line(spent))
        parts = [self._progress(spent), self._counts(spent), *self._finals(), *self._rungs(), *self._drivers(), *self._best(),
                 *self._latest()]  # fmt: skip
        subtitle = Text(self.subtitle) if self.subtitle else None
        return Panel(Group(*parts), title=Text(self.title, style="bold"), subtitle=subtitle, border_style="dim")

    def _progress(self, spent: float) -> RenderableType:
        seconds = self.shown.seconds if self.seconds is None else self.seconds
        share, words = describe_time(self.shown, spent, seconds, self.since)
        if share is None:
            return Text(words)
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(1.0, share, width=WIDTH), Text(words))
        return line

    def _counts(self, spent: float) -> RenderableType:
        said = Text(" · ".join(describe_counts(self.shown, spent)))
        said.highlight_regex(r"\d+ failed", "red")
        return said

    def _line(self, spent: float) -> RenderableType:
        said = Text.assemble((self.shown.summary, "bold green"), " · ", " · ".join(describe_counts(self.shown, spent)))
        said.highlight_regex(r"\d+ failed", "red")
        said.no_wrap, said.overflow = True, "ellipsis"
        return said

    def _finals(self) -> list[RenderableType]:
        words = describe_finals(self.shown)
        stopped = f"no new trials: {self.shown.stopped}" if self.shown.stopped else ""
        return [Text(said, style="bold") for said in (words, stopped) if said]

    def _rungs(self) -> list[RenderableType]:
        if not self.shown.rungs:
            return [Text("no trial has been started yet", style="dim")]
        columns = (self.shown.unit, "finished", "failed", "paused", "in flight", f"best {self.shown.objectives[0]}")
        table = _table(*columns)
        for rung in self.shown.rungs:
            best = "" if rung.best is None else decimals(rung.best)
            flying = describe_jobs(rung.running, rung.waiting, "")
            table.add_row(amount(rung.until), str(rung.finished), str(rung.failed or ""), str(rung.paused or ""), flying, best)
        return [Text(), table]

    def _drivers(self) -> list[RenderableType]:
        if self.shown.drivers is None:
            return []
        if not self.shown.drivers:
            return [Text(), Text("no driver works on it", style="dim")]
        table = _table("driver", "who", "in flight", "state", justify="left")
        for driver in self.shown.drivers:
            style = "" if driver.is_alive else "yellow"
            table.add_row(*(Text(cell) for cell in describe_driver(driver, self.shown.unit, self.shown.horizon)), style=style)
        return [Text(), table]

    def _best(self) -> list[RenderableType]:
        lines: list[RenderableType] = [Text()]
        if self.shown.front:
            lines.append(Text(self.shown.summary, style="bold green"))
        elif self.shown.best is not None:
            (trial, until), loss, config = self.shown.best
            where = f" trial {trial}" + (f" at {amount(until)}" if self.shown.horizon > 1 else "")
            lines.append(Text.assemble(("best    ", "dim"), (decimals(loss), "bold green"), where))
            lines.append(Text("        " + join_config(config), style="dim"))
        else:
            lines.append(Text(self.shown.summary, style="dim"))
        if self.shown.default is not None:
            (_, until), loss = self.shown.default
            lines.append(Text.assemble(("default ", "dim"), decimals(loss), f" at {amount(until)}"))
        return lines

    def _latest(self) -> list[RenderableType]:
        if not self.shown.latest:
            return []
        table = _table(*[""] * 5, justify="left")
        table.show_header = False
        for done in self.shown.latest:
            trial, until = done.key
            where = f"at {amount(until)}" if self.shown.horizon > 1 else ""
            table.add_row(f"trial {trial}", where, self._outcome(done), self._others(done), f"{done.seconds:.1f} s")
        return [Text(), table]

    def _outcome(self, done: Outcome) -> Text:
        if done.error is not None:
            return Text(done.error[:ERROR], style="red")
        is_best = self.shown.best is not None and self.shown.best[0] == done.key and not self.shown.front
        return Text(decimals(done.values[self.shown.objectives[0]]), style="bold green" if is_best else "")

    def _others(self, done: Outcome) -> Text:
        return Text("  ".join(f"{name} {done.values[name]:.4g}" for name in self.shown.objectives[1:] if name in done.values))


def _table(*columns: str, justify: str = "right") -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
    for name in columns:
        table.add_column(Text(name), justify=justify)  # type: ignore[arg-type]
    return table


class LiveDisplay:
    """A watcher that keeps a LivePicture up to date on a terminal.

    lines     prints a line above it after each result
    workers   how many jobs train at once, where others wait for a worker; None: all that are in flight
    """

    is_vital = True

    def __init__(
        self, view: LivePicture, lines: bool = False, workers: int | None = None, console: Console | None = None
    ) -> None:
        self.view = view
        self._lines, self._workers = lines, workers
        self._console = console if console is not None else Console()
        self._live = Live(view, console=self._console, auto_refresh=False)
        self._study: Study | None = None
        self._said: list[str] = []  # lines that are still to be printed
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._plain: Lines | None = None  # where no picture can be drawn

    def begin(self, study: Study) -> None:
        """Draws the first picture."""
        self._study, self._error = study, None
        self._said = [said] if (said := describe_chooser(study)) else []
        self._ended.clear()
        try:
            self._live.start()
        except LiveError:  # older versions of Rich draw one picture at a time, and another study of this process is drawn
            self._plain = Lines()
            return
        self._draw()
        self._thread = threading.Thread(target=self._follow, name="display", daemon=True)
        self._thread.start()

    def __call__(self, study: Study, key: Key | None) -> None:
        if self._error is not None:
            raise self._error
        if self._plain is not None:
            return self._plain(study, key)
        if key is not None and self._lines:
            self._said.append(trial_line(study.history, key))

    def end(self, study: Study) -> None:
        """Draws the last picture, which stays, and gives the terminal back."""
        if self._plain is not None:
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            self._draw()
        finally:
            self._live.stop()

    def _follow(self) -> None:
        pause = PERIOD
        while not self._ended.wait(pause):
            begun = time.thread_time()
            try:
                self._draw()
            except Exception as error:  # nobody reads on, or the terminal is gone: the driver is told
                self._error = error
                return
            pause = max(PERIOD, (time.thread_time() - begun) / SHARE)

    def _draw(self) -> None:
        try:
            self._draw_all()
        except SystemExit:  # Rich's answer where nobody reads on
            raise BrokenPipeError("nobody reads what is printed") from None

    def _draw_all(self) -> None:
        said, self._said = self._said, []
        if said:
            self._console.print("\n".join(said), markup=False, highlight=False, soft_wrap=True)
        self._take()
        self._live.refresh()

    def _take(self) -> None:
        """Takes a snapshot, unless the history is busy: a proposal may take seconds, and the clock goes on meanwhile."""
        study = self._study
        if study is None or not study.history.lock.acquire(blocking=False):
            return
        try:
            if self.view.shown.events != len(study.history):
                self.view.show(snapshot(study.history, self._workers))
        finally:
            study.history.lock.release()

