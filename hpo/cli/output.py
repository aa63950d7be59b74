"""What commands print: one JSON document, or lines and tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hpo.analysis.export import to_json
from hpo.analysis.lines import join_config, short
from hpo.trial import Trial
from hpo.values import plain

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200  # columns of a table that goes into a pipe or a file


def print_json(value: Any) -> None:
    """One document on one line."""
    print(json.dumps(to_json(value), allow_nan=False))


def describe_trial(trial: Trial) -> dict[str, Any]:
    """A finished key as a document."""
    return {
        "trial": trial.number, "until": trial.until, "config": trial.config, "metrics": trial.metrics, "error": trial.error,
        "seed": trial.seed, "system": trial.system,
    }  # fmt: skip


def trial_text(trial: Trial, unit: str) -> str:
    """A finished key on one line: `trial 3 at 27 epochs: loss=0.12, lr=0.001 layers=6`."""
    value = " ".join(f"{name}={short(metric)}" for name, metric in trial.metrics.items())
    said = f"failed ({trial.error})" if trial.error else value
    return f"trial {trial.number} at {trial.until} {unit}: {said}; {join_config(trial.config)}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table whose cells are values."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else short(plain(cell))) for cell in row))
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False)
