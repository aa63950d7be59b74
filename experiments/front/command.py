"""Tune a small GPT for validation loss, bytes and measured inference time at once, and show the front.

    python -m experiments.front                                       # ASHA over a GP, two minutes, Shakespeare
    python -m experiments.front --optimizer gp --seconds 600 --folder runs/mine
    python -m experiments.front --table                               # the front that is stored in experiments/results

The same command goes on where it stopped. The time is the median of repeated forward passes, measured on this machine by the
worker that trains: run nothing beside it. At the end the members of the front are measured again, in turns, and the table says
which of them hold.

Exit codes: 0 done, 2 a setting or a file that cannot be used (one sentence says which), 130 ended by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.front.record import Record
from experiments.front.settings import METHODS
from experiments.front.table import HEAD, front_rows, sentences
from experiments.job import SPACES
from experiments.ledger.command import keep_lines
from experiments.ledger.lines import append_line, read_lines
from experiments.ledger.markdown import markdown_table
from experiments.tune.command import call, interpreter, refuse
from hpo.analysis.paths import check_picture

RESULTS = Path(__file__).parent.parent / "results" / "front.jsonl"
NAME = "front"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=keep_lines(__doc__))
def front(
    optimizer: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}; asha is over a GP")] = "asha",
    seconds: Annotated[float | None, typer.Option(help="of search, over all runs [120]")] = None,
    trials: Annotated[int | None, typer.Option(help="fresh trials at most [no limit]")] = None,
    space: Annotated[str | None, typer.Option(help=f"what may be tuned: {', '.join(SPACES)} [standard]")] = None,
    text: Annotated[str | None, typer.Option(help="shakespeare, a file, or hf:PATH:CONFIG [shakespeare]")] = None,
    seed: Annotated[int | None, typer.Option(help="of the search and of every training [0]")] = None,
    workers: Annotated[int | None, typer.Option(help="processes that train; several disturb what is measured [1]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N [cpu]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or fp16 [float32]")] = None,
    horizon: Annotated[int | None, typer.Option(help="tokens of a whole training [147456]")] = None,
    min_resource: Annotated[int | None, typer.Option(help="tokens of the lowest rung [16384]")] = None,
    context: Annotated[int | None, typer.Option(help="tokens that the model sees at once [64]")] = None,
    sequences: Annotated[int | None, typer.Option(help="in a pass that is measured [1]")] = None,
    warmup: Annotated[int | None, typer.Option(help="passes that do not count [3]")] = None,
    repeats: Annotated[int | None, typer.Option(help="passes whose median counts [50]")] = None,
    folder: Annotated[str | None, typer.Option(help="where everything is left [runs/front]")] = None,
    table: Annotated[bool, typer.Option("--table", help="only print what is stored, and draw it with --picture")] = False,
    picture: Annotated[Path | None, typer.Option(help="with --table: the picture of the last stored front")] = None,
    store: Annotated[Path | None, typer.Option(help="add front.json of this folder to the results; run nothing")] = None,
    results: Annotated[Path, typer.Option(help="the file of results")] = RESULTS,
) -> int:
    named = ("seconds", "trials", "space", "text", "seed", "workers", "device", "precision", "horizon", "min_resource", "context",
             "sequences", "warmup", "repeats", "folder")  # fmt: skip
    values = locals()
    flags = {name: values[name] for name in named if values[name] is not None}
    try:
        if store is not None:
            return store_record(store, results)
        if table:
            return print_results(results, picture)
        return begin_front(optimizer, flags)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return refuse(error, NAME)


def begin_front(optimizer: str, flags: dict[str, Any]) -> int:
    """Prepares the study and carries it out."""
    from experiments.front.study import carry_out_front, prepare_front

    if optimizer not in METHODS:
        raise ValueError(f"optimizer is {optimizer!r}, but must be one of {', '.join(METHODS)}")
    scheduler, sampler = METHODS[optimizer]
    command = shlex.join([interpreter(), "-m", "experiments.front", *sys.argv[1:]])
    return carry_out_front(prepare_front({**flags, "scheduler": scheduler, "sampler": sampler}, command))


def store_record(folder: Path, results: Path) -> int:
    """Adds the record of a finished study to the results. FileNotFoundError in one sentence if there is none."""
    file = folder / "front.json"
    if not file.is_file():
        raise FileNotFoundError(f"there is no front in {str(folder)!r}: {file.name} is missing")
    append_line(results, Record.from_json(json.loads(file.read_text(encoding="utf-8"))).to_json())
    return 0


def print_results(results: Path, picture: Path | None) -> int:
    """Prints the table of every stored front, and draws the last one if a path is given."""
    check_picture(picture)
    records = [Record.from_json(line) for line in read_lines(results)]
    if not records:
        raise ValueError(f"there is no front in {str(results)!r}")
    for record in records:
        typer.echo(f"{_method(record)}, seed {record.settings['seed']}, {record.machine}")
        typer.echo(markdown_table(HEAD, front_rows(record)))
        typer.echo("\n".join(sentences(record)))
    if picture is not None:
        from experiments.front.picture import draw_front

        draw_front(records[-1], picture)
    return 0


def _method(record: Record) -> str:
    pair = record.settings["scheduler"], record.settings["sampler"]
    return next((name for name, method in METHODS.items() if method == pair), "(".join(pair))


def main() -> int:
    """The command line."""
    return call(app, NAME)
