"""Runs a prepared study to its end: the search, the judging, and all files in the folder."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from experiments.tune.folder import Folder
from experiments.tune.handover import Handover, is_before_finals, sentence
from experiments.tune.live import make_panel, summary
from experiments.tune.prepare import Search
from hpo.executors.processes import Processes
from hpo.loop import Stop
from hpo.run import run
from hpo.signals import Terminated, handle_termination
from hpo.stopping import Turn, search_end
from hpo.values import quantity

INTERRUPTED = 130


def carry_out(work: Search) -> int:
    """Runs the whole job, and returns the exit code."""
    return end_cleanly(lambda: finish(work), lambda: conclude(work, hurry=True), work.command)


def end_cleanly(finish: Callable[[], None], conclude: Callable[[], None], command: str) -> int:
    """Runs a job to its end by `finish`, and returns the exit code. After a Ctrl-C in the search or in the measurements
    `conclude` still writes a report; after a second one, or after SIGTERM, when there may be no time, only the log is left."""
    code = INTERRUPTED
    with handle_termination():
        try:
            try:
                finish()
                return 0
            except KeyboardInterrupt:
                conclude()
        except KeyboardInterrupt:
            pass
        except Terminated as end:
            code = int(end.code or 0)
    typer.echo(f"interrupted; everything told is in the log, and this goes on: {command}")
    return code


def finish(work: Search) -> None:
    """Runs what is left of the search, and writes the files beside the log."""
    late = is_before_finals(work.study) and "reserve" not in (search_end(work.study.history) or {})  # it was not ended by a Turn
    if late and work.study.history.results:
        typer.echo(f"the study in {str(work.folder.path)!r} comes from before there were finals, and ends with them now")
    if work.folder.is_complete(work.settings) and not late:
        typer.echo(f"{completion_sentence(work.folder)}; the report is written anew")
    else:
        search(work)
    conclude(work, hurry=False)


def search(work: Search) -> None:
    """Runs the study until its seconds or trials are used up and its finals are over. After a KeyboardInterrupt all results are
    in the log."""
    settings = work.settings
    turn = Turn(settings.seconds, settings.trials, settings.workers)
    with ignore_interrupts():
        pool = Processes(work.objective, settings.horizon, work.folder / "checkpoints", settings.workers, lookahead=1)
    run(work.study, pool, Stop(turn=turn), make_panel(settings), disk=settings.disk)
    work.folder.update_search(complete={"seconds": settings.seconds, "trials": settings.trials})


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """A context in which spawned processes ignore Ctrl-C from their first instruction on: only the driver reacts to it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def conclude(work: Search, hurry: bool) -> None:
    """Writes all files beside the log; in a hurry (after a Ctrl-C) without further measurements."""
    from experiments.tune.judge import Judge
    from experiments.tune.report import write_report

    judge = Judge(work)
    if not hurry and not judge.is_measured():
        those = quantity(len(judge.handover().ends), "configurations")
        typer.echo(f"judging {those} that reached the end on more of the validation text")
        judge.measure()
    found = judge.write_best()
    sample = judge.sample()
    write_report(work.folder, work.study, work.settings, work.corpus, found, sample, work.command)
    typer.echo("\n".join([*summary(work.study.history, work.settings.seconds), closing_sentence(work, found)]))
    typer.echo(f"report: {work.folder / 'report.html'}")


def closing_sentence(work: Search, found: Handover) -> str:
    """The sentence about the handover, and whether the default configuration was left out."""
    if found.reason == "alone" and not work.has_default:
        return f"{sentence(found, work.study)}; the default configuration does not fit into the memory, and was left out"
    return sentence(found, work.study)


def completion_sentence(folder: Folder) -> str:
    """Says that nothing is left to search in a folder, and how to go on."""
    used = folder.read_search()["complete"]
    more = f"--seconds {2 * used['seconds']:g}"
    if used["trials"] is not None:
        more += f" --trials {2 * used['trials']}"
    return f"the study in {str(folder.path)!r} is finished; go on with more: {more}"
