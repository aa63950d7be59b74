"""The command: `python -m experiments.exactness`, see the top of the package.

Exit codes: 0 every claim holds or is open, 1 one does not (the table says which), 2 arguments that do not fit.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer

from experiments.exactness.claims import CLAIMS, exactness_table
from experiments.exactness.fuzz import fuzz, replay_case
from experiments.exactness.gradients import gradients
from experiments.exactness.measure import FULL, QUICK, Extent
from experiments.exactness.normal import normal_tails
from experiments.exactness.posterior import posterior
from experiments.ledger import Data, Ledger, Measurement, Recheck, Results, Seconds, Table, conduct, new_app, use_data
from experiments.ledger.command import keep_lines
from experiments.ledger.measurement import result

RESULTS = Path(__file__).resolve().parents[1] / "results" / "exactness.jsonl"
PARTS: Mapping[str, Callable[[Extent], dict[str, Any]]] = {
    "posterior": posterior, "gradients": gradients, "tails": normal_tails, "fuzz": fuzz,
}  # fmt: skip
MADE_BY = ("numpy", "scipy", "torch", "gpytorch", "mpmath")
TIMES = ("seconds", "versions", "seconds a case", "slowest")  # of a line: what need not come out the same again


def measure_part(part: str, size: Extent) -> dict[str, Any]:
    """One part, on one thread."""
    torch.set_num_threads(1)
    begun = time.process_time()
    found = PARTS[part](size)
    for entry in found.get("errors", {}).values():
        entry["error"] = entry["error"] if isfinite(entry["error"]) else None  # JSON has no infinity
    versions = {"python": platform.python_version(), **{name: version(name) for name in MADE_BY}}
    return {"versions": versions, "seconds": round(time.process_time() - begun, 1), **found}


def exactness_measurements(size: Extent) -> Iterator[Measurement]:
    """A part each."""
    for part in PARTS:
        sources = (f"experiments.exactness.__main__:PARTS[{part}]", "experiments.exactness.measure:FULL")
        yield Measurement({"part": part}, partial(measure_part, part, size), sources, group=part)


def without_times(line: Mapping[str, Any]) -> dict[str, Any]:
    """What must come out the same again."""
    return {name: value for name, value in result(line).items() if name not in TIMES}


def open_exactness(path: Path, size: Extent = FULL) -> Ledger:
    """The ledger of this experiment."""
    return Ledger(path, list(exactness_measurements(size)), without_times, CLAIMS)


app = new_app()


@app.command(help=keep_lines(__doc__))
def main(
    quick: Annotated[bool, typer.Option("--quick", help="everything small; stores nothing")] = False,
    case: Annotated[int | None, typer.Option(min=0, help="one ugly data set again, with its traceback")] = None,
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
) -> None:  # fmt: skip
    use_data(data)
    if case is not None:
        return replay_case(case)
    with TemporaryDirectory() as folder:
        ledger = open_exactness(Path(folder) / results.name, QUICK) if quick else open_exactness(results)
        conduct(ledger, exactness_table, table, recheck, seconds)
        lines = list(ledger.latest().values())
    if any(claim.rule(lines).holds is False for claim in CLAIMS):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
