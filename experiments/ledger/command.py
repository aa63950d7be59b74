"""One command line for all experiments: measure what is missing, print the table.

    --table     only print what is stored
    --recheck   measure samples of older lines again; if they come out the same, the older lines count again
    --seconds   begin nothing after so many seconds
    --results   the file of lines
    --data      the folder of shared data ($HPO_DATA, or shared/data beside the checkout)

Exit codes: 0 done, 1 something failed or came out differently, 2 bad arguments, 130 ended by Ctrl-C (finished measurements are
stored).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.ledger.ledger import Ledger

Table = Annotated[bool, typer.Option("--table", help="only print the table")]
Recheck = Annotated[bool, typer.Option("--recheck", help="whether older lines come out the same: then they count again")]
Seconds = Annotated[float, typer.Option(min=0, help="begin nothing after so many seconds")]
Results = Annotated[Path, typer.Option(help="the file of results")]
Data = Annotated[Path | None, typer.Option(help="the folder of shared data; by default $HPO_DATA")]


def progress(line: str) -> None:
    """Prints a line on stderr, beside the tables."""
    typer.echo(line, err=True)


def use_data(folder: Path | None) -> None:
    """Makes a folder the folder of shared data, also for processes that are started from here. Exit code 2 if it is no folder."""
    if folder is not None and not folder.is_dir():
        typer.echo(f"--data {str(folder)!r} is no folder", err=True)
        raise typer.Exit(2)
    if folder is not None:
        os.environ["HPO_DATA"] = str(folder.resolve())


def conduct(
    ledger: Ledger, report: Callable[[Ledger], str], table: bool, recheck: bool, seconds: float, threads: int = 1
) -> None:
    """The work of the command, for experiments with further options: measures or rechecks, then prints the report, a sentence
    if lines are older than the code, and the claims with their verdicts."""
    failed = left = 0
    try:
        if recheck:
            failed = ledger.recheck(progress)
        elif not table:
            failed, left = ledger.measure(progress, seconds, threads)
    except KeyboardInterrupt:
        progress("ended by Ctrl-C; what was finished is stored")
        raise typer.Exit(130) from None
    if left:
        progress(f"{left} are left for another time")
    lines: Sequence[Any] = list(ledger.latest().values())
    typer.echo(report(ledger) if lines else "nothing is measured yet")
    for line in [*ledger.warnings(), *(said for claim in ledger.claims for said in claim.judge(lines))]:
        typer.echo(line)
    if failed:
        raise typer.Exit(1)


def new_app() -> typer.Typer:
    """A typer program with the settings that all experiments share."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def keep_lines(about: str | None) -> str:
    """A help text whose indented blocks, such as examples of a command, are shown line by line."""
    blocks = (about or "").strip().split("\n\n")
    return "\n\n".join(f"\b\n{block}" if block.startswith("    ") else block for block in blocks)


def command(about: str | None, path: Path, open_ledger: Callable[[Path], Ledger], report: Callable[[Ledger], str],
            threads: int = 1) -> typer.Typer:  # fmt: skip
    """The program of an experiment that has no further options.

    about: its help. open_ledger(path): makes its ledger, once the folder of data is known. report(ledger): the tables.
    """
    app = new_app()

    @app.command(help=keep_lines(about))
    def main(
        table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = path,
        data: Data = None,
    ) -> None:  # fmt: skip
        use_data(data)
        conduct(open_ledger(results), report, table, recheck, seconds, threads)

    return app
