"""Papers as executable claims.

    python -m papers                        all papers with their verdicts
    python -m papers snoek2012              one: claims, published, ours, interval, verdict
    python -m papers snoek2012 --quick      measures one fresh line, in less than a minute (without a name: one line a paper)
    python -m papers snoek2012 --run        measures what is missing, which may take hours; --seconds ends it earlier
    python -m papers snoek2012 --recheck    checks whether older lines come out the same with the code as it is now
    python -m papers snoek2012 --state      records its claims, before anything is measured for them
    python -m papers --all                  draws every figure, and writes the table of papers/README.md

Exit codes: 0 done, 1 a measurement failed, or came out differently in a recheck, 2 bad arguments, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from experiments.ledger import Data, Recheck, Seconds, new_app, use_data
from experiments.ledger.command import keep_lines, progress
from experiments.ledger.ledger import changed_versions, differences, title_of
from papers.paper import Paper, find_paper, list_papers, without_seconds
from papers.report import describe, draw_figure, list_verdicts, write_table
from papers.statements import refusal, state

app = new_app()
Name = Annotated[str, typer.Argument(help="a paper's folder; without one all papers")]
Quick = Annotated[bool, typer.Option("--quick", help="measure one fresh line, in less than a minute a paper")]
Run = Annotated[bool, typer.Option("--run", help="measure what is missing")]
State = Annotated[bool, typer.Option("--state", help="write the claims down, before anything is measured for them")]
All = Annotated[bool, typer.Option("--all", help="draw the figures, and write the table of papers/README.md")]
Results = Annotated[Path | None, typer.Option(help="the file of lines; by default results.jsonl in the paper's folder")]


@app.command(help=keep_lines(__doc__))
def main(
    name: Name = "", quick: Quick = False, run: Run = False, recheck: Recheck = False, state_claims: State = False,
    seconds: Seconds = float("inf"), everything: All = False, results: Results = None, data: Data = None,
) -> None:  # fmt: skip
    use_data(data)
    try:
        chosen = [find_paper(one) for one in ([name] if name else list_papers())]
    except ValueError as error:
        _refuse(str(error))
    if not name and (run or recheck or state_claims or results is not None):
        _refuse("--run, --recheck, --state and --results go with the name of a paper")
    chosen_ways = [flag for flag, given in (("--all", everything), ("--quick", quick), ("--state", state_claims), ("--run", run),
                                            ("--recheck", recheck)) if given]  # fmt: skip
    if len(chosen_ways) > 1:
        _refuse(f"{' and '.join(chosen_ways)} came; one of them at a time")
    if results is not None and not results.is_file() and not run:
        _refuse(f"--results {str(results)!r} is no file")
    if everything:
        drawn = [paper.name for paper in chosen if draw_figure(paper)]
        write_table()
        typer.echo(f"papers/README.md is written, and the figures of {', '.join(drawn) or 'none'}")
    elif quick:
        for paper in chosen:
            measure_quickly(paper)
    elif state_claims:
        new = state(chosen[0])
        typer.echo(f"{len(new)} claims are stated in {name}/claims.jsonl; commit it before anything is measured")
    elif not name:
        typer.echo(list_verdicts())
    else:
        conduct_paper(chosen[0], run, recheck, seconds, results)


def conduct_paper(paper: Paper, run: bool, recheck: bool, seconds: float, results: Path | None) -> None:
    """Runs or rechecks a paper if one of these is asked for, and shows it."""
    failed = left = 0
    if (run or recheck) and paper.missing_data:
        _refuse(paper.missing_data)
    if run and results is None and (why := refusal(paper)):
        _refuse(why)
    ledger = paper.ledger(results)
    try:
        if recheck:
            failed = ledger.recheck(progress)
        elif run:
            failed, left = ledger.measure(progress, seconds)
    except KeyboardInterrupt:
        progress("ended by Ctrl-C; what was finished is stored")
        raise typer.Exit(130) from None
    if left:
        progress(f"{left} are left for another time")
    typer.echo(describe(paper, results))
    if failed:
        raise typer.Exit(1)


def measure_quickly(paper: Paper) -> None:
    """Measures one line anew, and prints it and whether it equals the stored line. Stores nothing."""
    ledger = paper.ledger()
    one = next(one for one in ledger.measurements if one.key == paper.quick)
    begun = time.monotonic()
    try:
        found = one.line(one.run())
    except FileNotFoundError:
        if not paper.missing_data:
            raise
        progress(paper.missing_data)
        return
    then = ledger.latest().get(one.name)
    said = ", ".join(f"{key} {_short(value)}" for key, value in without_seconds(found).items() if key not in one.key)
    typer.echo(f"{paper.name}: {title_of(one)}: {said} ({time.monotonic() - begun:.1f} s)")
    if then is None:
        typer.echo("  no such line is stored yet")
    else:
        changed = differences(without_seconds(then), without_seconds(found))
        same = f"differs from it in {', '.join(changed)}" if changed else "the same, to the last digit"
        typer.echo(f"  the stored line: {same} ({changed_versions(then, found)})")
        if changed:
            typer.echo("  last digits depend on the kind of processor, and on the versions of numpy and scipy")


def _short(value: object) -> str:
    """A value in a few characters; a list by its first values and its last one."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list) and len(value) > 4:
        return f"[{_short(value[0])}, {_short(value[1])} … {_short(value[-1])}]"
    return f"[{', '.join(map(_short, value))}]" if isinstance(value, list) else str(value)


def _refuse(sentence: str) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
