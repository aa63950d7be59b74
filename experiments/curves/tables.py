"""Tables of what is stored, in Markdown.

Online, regret is log2 of (loss - least) / (median - least) + 0.002, where loss is the validation loss of the best at the
highest budget reached, and least and median are those of the table's last losses: 0 is as good as a median configuration,
-9 as good as the best. Methods are compared by its mean over spent epochs, less that of BASE with the same task and seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import numpy as np

from experiments.benchmark.tables import WORST
from experiments.curves.offline import LANGUAGE_MODELS, MODELS
from experiments.curves.online import METHODS, RULES, WHOLE
from experiments.ledger.markdown import markdown_table

Row = Mapping[str, Any]
BASE = "ASHA(Random)"
HIGHEST, ANY = RULES
SCORES = ("rank", "rank_third", "density", "pick")


def curves_tables(rows: Sequence[Row]) -> str:
    """Of searches and of predictions, as far as there are any."""
    searches = [row for row in rows if row["part"] == "online"]
    models = [row for row in rows if row["part"] == "offline"]
    of_searches = [search_table(searches), task_table(searches), rule_table(searches)] if searches else []
    return "\n\n".join([*of_searches, *([prediction_table(models)] if models else [])])


def format_mean(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """`0.12 ± 0.03`: the mean and its standard error."""
    if len(values) == 0:
        return "-"
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def format_quartiles(values: Sequence[float]) -> str:
    """`0.12 [0.05, 0.20]`: the median and the quartiles, of what a few draws can dominate."""
    return "{1:.2f} [{0:.2f}, {2:.2f}]".format(*np.quantile(values, (0.25, 0.5, 0.75))) if values else "-"


# --- searches -------------------------------------------------------------------------------------------------------------


def regrets(row: Row) -> np.ndarray:
    """(marks,) of a search; before it has a result, that of guessing."""
    least, median = row["scale"]
    losses = [WORST if found is None else found[1] for found in row["handed"][HIGHEST]]
    return np.array([log2(max(loss - least, 0.0) / (median - least) + 0.002) for loss in losses])


def pair_searches(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The searches of every method that was run, over the tasks and seeds that all of them were."""
    mine = {(row["source"], row["seed"], row["n"], row["name"]): row for row in rows}
    methods = [method for method in METHODS if any(key[-1] == method for key in mine)]
    keys = sorted({key[:-1] for key in mine if all((*key[:-1], method) in mine for method in methods)})
    return {method: [mine[*key, method] for key in keys] for method in methods}


def search_table(rows: Sequence[Row]) -> str:
    """A line a method: paired with BASE, how often it was better and worse, and the regret itself."""
    found, lines = pair_searches(rows), []
    for method, searches in found.items():
        ours = np.array([regrets(row) for row in searches])
        half, end = (f"{np.median(ours[:, i]):.2f}" if len(ours) else "-" for i in ((len(ours.T) - 1) // 2, -1))
        cells = ["-", "-"]
        if BASE in found and len(ours):
            gain = (ours - [regrets(row) for row in found[BASE]]).mean(axis=1)
            cells = [format_mean(gain), f"{(gain < 0).sum()}, {(gain > 0).sum()}"]
        lines.append([method, str(len(searches)), *cells, half, end])
    head = ["method", "searches", f"regret less that of {BASE}", "better, worse", "at half", "at the end"]
    return markdown_table(head, lines) + "\n\nAt half and at the end: medians of the regret itself."


def task_table(rows: Sequence[Row]) -> str:
    """Regret less that of BASE, task by task: the seeds of one task are no independent evidence on tasks."""
    found = pair_searches(rows)
    others = [method for method in found if method != BASE]
    if BASE not in found:
        return f"{BASE} was not run, so there is nothing to compare with"
    lines = []
    for task in sorted({row["source"] for row in found[BASE]}):
        cells = []
        for method in others:
            pairs = [pair for pair in zip(found[method], found[BASE], strict=True) if pair[1]["source"] == task]
            cells.append(format_mean([float((regrets(one) - regrets(base)).mean()) for one, base in pairs]))
        lines.append([task, *cells])
    return markdown_table(["task", *others], lines)


def rule_table(rows: Sequence[Row]) -> str:
    """Test loss of the lowest at any budget less that of the lowest at the highest budget, in thousandths of a nat."""
    searches, lines = [row for row in rows if row["name"] != WHOLE], []
    for mark in sorted({mark for row in searches for mark in row["marks"]}):
        there = [(row, row["marks"].index(mark)) for row in searches if mark in row["marks"]]
        pairs = [[row["handed"][rule][i] for rule in (HIGHEST, ANY)] for row, i in there]
        both = [pair for pair in pairs if None not in pair]
        if not both:
            continue
        change = 1000 * np.array([low[2] - high[2] for high, low in both])
        differ = np.array([low != high for high, low in both])
        cells = [f"{differ.mean():.0%}", f"{(change < 0).sum()}, {(change > 0).sum()}", format_mean(change, 1)]
        lines.append([str(mark), *cells, f"{change.min():.0f}", f"{change.max():.0f}"])
    head = ["epochs spent", "they differ", "lower, higher", "mean difference", "largest gain", "largest loss"]
    return markdown_table(head, lines) + f"\n\nTest loss by the rule '{ANY}' less that by '{HIGHEST}', in thousandths of a nat."


# --- models ---------------------------------------------------------------------------------------------------------------


def prediction_table(rows: Sequence[Row]) -> str:
    """A line a kind of curves, n and model. What is compared is paired, so differences are surer than the errors shown."""
    lines = []
    for kind in ("TaskSet", LANGUAGE_MODELS):
        mine = [row for row in rows if (row["source"] == LANGUAGE_MODELS) == (kind == LANGUAGE_MODELS)]
        for n, model in itertools.product(sorted({row["n"] for row in mine}), MODELS):
            of = [row["scores"] for row in mine if row["n"] == n and row["name"] == model]
            values = {score: [found[score] for found in of if found[score] is not None] for score in SCORES}
            cells = [format_quartiles(values[score]) if score == "density" else format_mean(values[score]) for score in SCORES]
            lines.append([kind, str(n), model, *cells])
    head = ["curves", "n", "model", "rank", "rank, best third", "density", "pick"]
    note = "Means with standard errors over draws and tasks; of the density median and quartiles."
    return f"{markdown_table(head, lines)}\n\n{note}"
