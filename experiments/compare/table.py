"""The table of experiments.compare: paired differences with bootstrap intervals, and where the seconds went."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.ledger.intervals import format_interval
from experiments.ledger.markdown import markdown_table

Row = Mapping[str, Any]
HEAD = ["method", "median loss", "mean loss [95 %]", "against the default [95 %]", "trained to the end", "trials", "overhead"]


def overhead(row: Row) -> float:
    """The share of a study's seconds in which its worker could not train: the driver's imports, the worker's birth
    (spawn, imports, data), waiting for asks, building and loading Runs, writing checkpoints."""
    parts = ("driver_seconds", "worker_birth_seconds", "worker_idle_seconds", "worker_setup_seconds", "worker_save_seconds")
    return float(sum(row[part] for part in parts) / row["seconds"])


def method_row(name: str, mine: Mapping[int, Row], default: Mapping[int, Row]) -> list[str]:
    """One method's cells, from its studies by seed and those of the default."""
    losses = [row["loss"] for row in mine.values()]
    pairs = [row["loss"] - default[seed]["loss"] for seed, row in mine.items() if seed in default]
    whole = sum(row["until"] == default[seed]["until"] for seed, row in mine.items() if seed in default)
    trials = np.mean([row["trials"] for row in mine.values()])
    share = np.mean([overhead(row) for row in mine.values()])
    against = "" if name == "default" else format_interval(pairs, "+")
    ends = [f"{whole} of {len(mine)}", f"{trials:.1f}", f"{100 * share:.1f} %"]
    return [name, f"{np.median(losses):.3f}", format_interval(losses), against, *ends]


def compare_table(rows: Sequence[Row], methods: Iterable[str]) -> str:
    """All methods that have been run; a study without any success counts as the worst loss that any study has."""
    worst = max((row["loss"] for row in rows if row["loss"] is not None), default=math.nan)
    filled = [{**row, "loss": worst if row["loss"] is None else row["loss"]} for row in rows]
    by = {name: {row["seed"]: row for row in filled if row["method"] == name} for name in methods}
    return markdown_table(HEAD, [method_row(name, mine, by["default"]) for name, mine in by.items() if mine])
