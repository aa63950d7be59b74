"""Command watch: a study as others drive it, in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.analysis.lines import trial_line
from hpo.analysis.snapshot import Snapshot
from hpo.analysis.status import describe_driver, describe_finals, describe_status
from hpo.cli.app import app
from hpo.cli.output import describe_trial, print_json, print_table
from hpo.cli.places import study_at
from hpo.follow import Follower
from hpo.job import Key
from hpo.load import write_call
from hpo.logs.listing import list_places
from hpo.logs.urls import hide_password
from hpo.study import Study
from hpo.terminal import is_terminal
from hpo.trial import best_front
from hpo.values import duration, format_value

if TYPE_CHECKING:
    from rich.live import Live

    from hpo.live import LivePicture

LONGEST = 50  # results of one look that are printed line by line


@app.command()
def watch(
    url: Annotated[str, typer.Argument(metavar="URL", help="a log, or a database of studies", show_default=False)],
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="which of them", show_default=False)] = None,
    once: Annotated[bool, typer.Option("--once", help="print it as it is now, and end")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="between two looks")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document a line, whenever something has changed")] = False,
) -> None:
    """How far a study is, while others work on it: trials, rungs, drivers, the best, the time left. Ends when the study does."""
    seconds = duration("--every", every, zero=False) or 1.0
    with study_at(find_place(url, study)) as found:
        follower = Follower(found)
        if json or once or not is_terminal(sys.stdout):
            return _print_changes(follower, once, seconds, json)
        _draw_changes(follower, seconds)


def find_place(url: str, study: str | None) -> str:
    """The place of a study: that of a log, of a database with one study, or of the one of this name. ValueError that names those
    there are, where it is not clear which one is meant."""
    if "://" not in url and not Path(url).exists():
        raise FileNotFoundError(f"there is no log {url!r}")
    places = list_places(url)
    if study is None and len(places) == 1:
        return next(iter(places.values()))
    if study in places:
        return places[study]
    if study is None:
        raise ValueError(f"{hide_password(url)!r} holds {len(places)} studies; say which one: hpo watch URL STUDY, with one of "
                         f"{list(places)[:20]}")  # fmt: skip
    there = list(places)[:20]
    raise ValueError(f"there is no study {format_value(study)} in {hide_password(url)!r}; there are {there}")


def _looks(follower: Follower, seconds: float) -> Iterator[tuple[Snapshot, list[Key], bool]]:
    """The study at every look, what has finished since the last one, and whether it is the last look."""
    while True:
        now, fresh = follower.look()
        is_last = follower.is_finished(now)
        yield now, fresh, is_last
        if is_last:
            return
        time.sleep(seconds)


def _print_changes(follower: Follower, once: bool, seconds: float, json: bool) -> None:
    shown: dict[str, Any] | None = None
    for now, fresh, is_last in _looks(follower, seconds):
        state = _changes(now)
        if state != shown:
            first, shown = shown is None, state
            _print_json(follower.study, now, is_last) if json else _print_look(follower.study, now, fresh, first)
            sys.stdout.flush()
        if once:
            return
    if not json:
        print(f"the study has ended: {now.stopped or 'nothing is left to ask'}")


def _changes(now: Snapshot) -> dict[str, Any]:
    """What a new line is worth: an event, or a driver that has come, gone or begun something else."""
    return {"events": now.events, "drivers": [(one.number, one.is_alive, one.in_flight) for one in now.drivers or ()]}


def _print_look(study: Study, now: Snapshot, fresh: list[Key], first: bool) -> None:
    if first:
        print(f"{study.history.log.place}: {write_call(study.header.optimizer, study.header.seed)}")
    else:
        more = len(fresh) - LONGEST
        if more > 0:
            print(f"... {more} results before these")
        for key in fresh[-LONGEST:]:
            print(trial_line(study.history, key))
    print(describe_status(now, now.idle if now.ready and now.is_alive else 0.0))
    if said := describe_finals(now):
        print(said)
    if first and now.horizon > 1 and now.rungs:
        print_table([now.unit, "finished", "failed", "paused", "running", "best"],
                    [(r.until, r.finished, r.failed, r.paused, r.running, r.best) for r in now.rungs])  # fmt: skip
    if first and now.drivers:
        print_table(["driver", "who", "in flight", "state"], [describe_driver(one, now.unit, now.horizon) for one in now.drivers])


def _print_json(study: Study, now: Snapshot, is_last: bool) -> None:
    best = None if now.best is None or now.front else describe_trial(study.trial(now.best[0]))
    front = [describe_trial(study.trial(key)) for key in best_front(study.history)] if now.front else []
    print_json({
        "log": study.history.log.place, "events": now.events, "trials": now.started, "results": now.finished,
        "failures": now.failed, "running": now.total("running"), "paused": now.total("paused"), "lost": now.lost,
        "unit": now.unit,
        "rungs": [vars(rung) for rung in now.rungs], "drivers": [vars(driver) for driver in now.drivers or ()],
        "best": best, "front": front, "summary": now.summary, "trials_limit": now.trials, "seconds_limit": now.seconds,
        "seconds": now.spent, "pace": now.pace, "seconds_left": now.seconds_left(now.idle if now.is_alive else 0.0),
        "work": now.work, "finals": now.finals, "stopped": now.stopped or None, "ended": is_last,
    })  # fmt: skip


def _draw_changes(follower: Follower, seconds: float) -> None:
    """The panel, drawn anew at every look; the last picture stays."""
    from rich.console import Console
    from rich.live import Live

    from hpo.live import LivePicture

    header = follower.study.header
    view = LivePicture(title=write_call(header.optimizer, header.seed), subtitle=follower.history.log.place)
    with Live(view, console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        _draw(follower, seconds, view, live)
    print("the study has ended")


def _draw(follower: Follower, seconds: float, view: LivePicture, live: Live) -> None:
    for now, _, _ in _looks(follower, seconds):
        view.show(now)
        live.refresh()
