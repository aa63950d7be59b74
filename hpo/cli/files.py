"""Commands that write or read a file beside the log: export, import, plot, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpo.analysis.export import write_table
from hpo.analysis.plots import Plots
from hpo.cli.app import Json, LogPlace, app
from hpo.cli.driving import parse_objectives
from hpo.cli.output import print_json
from hpo.cli.places import read_json, read_space, study_at
from hpo.values import format_value, quantity, whole

KINDS = [name for name in vars(Plots) if not name.startswith("_") and callable(getattr(Plots, name))]

Output = Annotated[str, typer.Argument(metavar="FILE", help="is written; an older one is replaced", show_default=False)]
Objective = Annotated[str | None, typer.Option(help="one of several [the first]")]


@app.command()
def export(log: LogPlace, file: Output, json: Json = False) -> None:
    """Writes every result as a table: .csv, .json or .parquet, by the suffix."""
    with study_at(log) as study:
        rows = write_table(study.history, file)
        print_json({"file": file, "rows": rows}) if json else print(f"{file}: {quantity(rows, 'rows')}")


@app.command("import")
def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help=".csv (of W&B, MLflow too), .json, .parquet", show_default=False)],
    log: Annotated[str, typer.Argument(metavar="LOG", help="is made", show_default=False)],
    space: Annotated[str, typer.Option(metavar="SPACE.json", help="as of ask --new")],
    optimizer: Annotated[str, typer.Option(metavar="NAME", help="gp, asha, module:Class ...")] = "gp",
    objective: Annotated[list[str], typer.Option(metavar="NAME[=max]", help="metrics that count, repeatedly [loss]")] = [],  # noqa: B006
    budget: Annotated[str | None, typer.Option(metavar="COLUMN", help="how far each run was trained [to the horizon]")] = None,
    horizon: Annotated[int | None, typer.Option(help="the largest budget [the optimizer's]")] = None,
    seed: Annotated[int, typer.Option(help="of the search")] = 0,
    skip: Annotated[bool, typer.Option("--skip", help="leave out runs that do not lie in the space")] = False,
    json: Json = False,
) -> None:
    """A new study with every run of a table; ask it for what comes next."""
    from hpo.integrations.tables import import_table

    study = import_table(
        _read_frame(file), read_space(space), optimizer, objectives=parse_objectives(objective), budget=budget, skip=skip,
        seed=whole("seed", seed, 0), horizon=horizon, log=log,
    )  # fmt: skip
    rows, summary = len(study.history.results), study.summary()
    study.history.log.close()
    print_json({"log": log, "results": rows}) if json else print(f"{log}: {quantity(rows, 'results')}, {summary}")


def _read_frame(file: str) -> Any:
    """The table of a file as export writes it, else the path of a CSV file. ValueError where its content is none."""
    import pandas

    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file!r}")
    if file.lower().endswith(".parquet"):
        return pandas.read_parquet(file)
    if not file.lower().endswith(".json"):
        return file
    rows = read_json(file)  # not by pandas, which rounds the last digits
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{file!r} holds {format_value(rows)}; allowed is a list of objects, one a row")
    return pandas.DataFrame(rows)


@app.command()
def plot(
    log: LogPlace,
    file: Output,
    kind: Annotated[str, typer.Option(help=f"one of {', '.join(KINDS)}")] = "history",
    objective: Objective = None,
    json: Json = False,
) -> None:
    """Draws one picture: .png, .svg or .pdf, by the suffix."""
    if kind not in KINDS:
        raise ValueError(f"there is no picture {kind!r}; allowed are {KINDS}")
    if kind == "pareto" and objective is not None:
        raise ValueError("the picture 'pareto' shows all objectives; --objective chooses one for the others")
    with study_at(log) as study:
        draw = getattr(study.plot, kind)
        draw(file) if objective is None else draw(file, objective=objective)
    print_json({"file": file, "kind": kind}) if json else print(file)


@app.command()
def report(
    log: LogPlace,
    file: Annotated[str, typer.Argument(metavar="FILE", help="is written")] = "report.html",
    title: Annotated[str | None, typer.Option(help="of the page")] = None,
    json: Json = False,
) -> None:
    """Writes one self-contained page about the study."""
    with study_at(log) as study:
        path = str(study.report(file, title))
    print_json({"file": path}) if json else print(path)
