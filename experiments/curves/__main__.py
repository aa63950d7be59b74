"""The command: `python -m experiments.curves`. Measures what is missing, stores it, and prints the tables.

    python -m experiments.curves                  # searches first, then predictions; half an hour on one core
    python -m experiments.curves --seconds 600    # begins nothing after ten minutes
    python -m experiments.curves --table          # only prints, from experiments/results/curves.jsonl
    python -m experiments.curves --recheck        # measures one of each again; if all are the same, older lines count again

What is stored is measured again where our sources have changed since. Exit codes: 0 done, 2 arguments that do not fit,
130 ended by Ctrl-C (everything that was finished is stored).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.curves.again import recheck as again
from experiments.curves.plan import RESULTS, measure, stored
from experiments.curves.tables import tables

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def say(line: str) -> None:
    """Progress, whole and at once, beside the tables."""
    typer.echo(line, err=True)


@app.command()
def main(
    table: Annotated[bool, typer.Option("--table", help="only print the tables")] = False,
    recheck: Annotated[bool, typer.Option("--recheck", help="whether older sources measured the same")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="begin nothing after so many seconds")] = float("inf"),
    results: Annotated[Path, typer.Option(help="file of the measurements")] = RESULTS,
) -> None:
    """What a short training says of the whole, and whether a GP that reads it searches better."""
    try:
        for line in again(results) if recheck else ():
            say(line)
        left = 0 if table or recheck else measure(results, seconds, say)
    except KeyboardInterrupt:
        say("ended by Ctrl-C; what was finished is stored")
        raise typer.Exit(130) from None
    if left:
        say(f"{left} are left for another time")
    typer.echo(tables(list(stored(results).values())))


if __name__ == "__main__":
    app()
