"""The command `python -m experiments.cookbook`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cookbook.programs import PROGRAMS, find_scale, run_program
from experiments.cookbook.scale import Reduction
from experiments.ledger import Data, Results, Seconds, new_app, use_data

app = new_app()
STORED = Path(__file__).resolve().parents[1] / "results" / "cookbook.jsonl"


@app.command()
def main(
    programs: Annotated[list[str] | None, typer.Argument(help="names of programs, as --list gives them")] = None,
    width: Annotated[int | None, typer.Option(help="what hidden and ff widths are divided by")] = None,
    texts: Annotated[int | None, typer.Option(help="how many texts a Trainer has")] = None,
    steps: Annotated[int | None, typer.Option(help="what budgets in steps are divided by")] = None,
    trials: Annotated[int | None, typer.Option(help="how many trials a search has")] = None,
    seed: Annotated[int | None, typer.Option(help="of searches and trainings")] = None,
    list_: Annotated[bool, typer.Option("--list", help="only name the programs")] = False,
    table: Annotated[bool, typer.Option("--table", help="only print the table of stored results")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="measure what is missing at the stated size, then print it")] = False,
    recheck: Annotated[bool, typer.Option("--recheck", help="whether older lines come out the same")] = False,
    seconds: Seconds = float("inf"),
    results: Results = STORED,
    data: Data = None,
) -> None:
    """Runs programs of tuning guides, each beside the default or random search. Without options at the stated size."""
    use_data(data)
    if table or measure or recheck:
        conduct_measurements(results, table, recheck, seconds)
        return
    if list_ or not programs:
        for name, (guide, about) in PROGRAMS.items():
            typer.echo(f"{name:18} {guide:8} {about}")
        return
    given = {"width": width, "texts": texts, "steps": steps, "trials": trials, "seed": seed}
    for name in programs:
        try:
            scale = Reduction(**{**vars(find_scale(name)), **{one: value for one, value in given.items() if value is not None}})
            outcome = run_program(name, scale)
        except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:  # a package, weights or a checkout may be missing
            missing = isinstance(error, ModuleNotFoundError) and error.msg.startswith("No module named")
            typer.echo(f"{name}: {error}" + ("; pip install 'hpo-lm[hf]' brings what programs need" if missing else ""), err=True)
            raise typer.Exit(2) from None
        typer.echo("\n".join([f"{name} ({PROGRAMS[name][0]})", *outcome.describe()]))


def conduct_measurements(path: Path, table: bool, recheck: bool, seconds: float) -> None:
    """What all experiments do with --table and --recheck, and without."""
    from experiments.cookbook.measure import open_cookbook, tabulate_programs
    from experiments.ledger import conduct

    conduct(open_cookbook(path), lambda ledger: tabulate_programs(list(ledger.latest().values())), table, recheck, seconds)
