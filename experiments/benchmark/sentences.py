"""The benchmark's findings in words, and the short table that the command prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.benchmark.analyse import TITLES, Analysis, Row, analyse_suites, rank_rows
from experiments.benchmark.collected import OURS, is_variant
from experiments.benchmark.pairs import compare_pairs
from experiments.benchmark.ranking import Ranking
from experiments.benchmark.ranks import DRAWS, FEW, Friedman
from experiments.ledger.markdown import markdown_table


def format_number(value: float, digits: int = 3) -> str:
    """So many significant digits: `0.0123`, `1.2e-05`; `∞` where there was no incumbent."""
    return "∞" if value == np.inf else f"{value:.{digits}g}"


def format_percent(share: float | None) -> str:
    """To two decimals, which is what 10,000 draws can tell; `-` for nothing."""
    return "-" if share is None else f"{100 * share:.2f} %"


def format_range(low: float | None, high: float | None) -> str:
    """An interval; `-` for nothing."""
    return "-" if low is None or high is None else f"{low:.2f} – {high:.2f}"


def headline(made: Ranking) -> str:
    """Where ours stands, in one sentence, or who leads where ours is absent."""
    place = made.methods.index(OURS) if OURS in made.methods else made.order[0]
    first = {drawn: format_percent(share[0, place]) for drawn, share in made.first.items()}
    others = [other for other in made.order if other != place]
    leads = made.means[0, place] <= made.means[0, others[0]]
    name, other, counts = made.methods[place], made.methods[others[0]], ", ".join(map(str, made.checkpoints))
    said = (
        f"{name} has a mean rank of {made.means[0, place]:.2f} among {len(made.methods)} methods over {len(made.tasks)} "
        f"tasks, each after {counts} evaluations; the {'next' if leads else 'first'} is {other} with "
        f"{made.means[0, others[0]]:.2f}."
    )
    if name in made.few:
        return said
    return (
        f"{said} The mean rank of {name} is the lowest in {first['seeds']} of {DRAWS:,} bootstrap draws of the seeds on these "
        f"tasks, and in {first['tasks']} if the tasks are drawn too."
    )


def few_in_words(made: Ranking) -> list[str]:
    """One sentence about methods with too few seeds for a bootstrap; [] if there are none."""
    if not made.few:
        return []
    return [
        f"No interval and no probability of being first is shown of {', '.join(made.few)}: of fewer than {FEW} seeds a "
        f"bootstrap says nothing."
    ]


def describe_friedman(found: Friedman | None, checkpoint: str) -> str:
    """One line of the Friedman test."""
    if found is None:
        return f"{checkpoint}: no Friedman test; it needs three methods and two tasks that do not all tie."
    return (
        f"{checkpoint}: Friedman χ² = {found.chi2:.1f}, p = {found.p:.2g}; F = {found.f:.1f}, p = {found.p_f:.2g}; "
        f"critical difference of mean ranks {found.critical:.2f} (Nemenyi, 5 %, {found.tasks} tasks)."
    )


def describe_tests(made: Ranking) -> list[str]:
    """Every Friedman test in a line."""
    names = ["All checkpoints", *(f"{count} evaluations" for count in made.checkpoints)]
    return [describe_friedman(found, name) for found, name in zip(made.friedman, names, strict=True)]


def losses_in_words(made: Analysis) -> str:
    """How often some peer's median was better."""
    if not made.compared:
        return f"There is no task on which both {OURS} and a peer have studies."
    return (
        f"Some peer's median is better than {OURS}'s at {len(made.losses)} of {made.compared} pairs of a task and a number "
        f"of evaluations."
    )


def variants_in_words(made: Ranking) -> list[str]:
    """One sentence for every GP(...)."""
    said = []
    for method in filter(is_variant, made.found.methods):
        if (found := made.in_place(method)) is not None:
            tasks, means = found
            said.append(
                f"{method} in {OURS}'s place would have a mean rank of {means[0, 0]:.2f}, where {OURS} has "
                f"{means[1, 0]:.2f} ({len(tasks)} tasks)."
            )
    return said


# -- the short table ----------------------------------------------------------------------------------------------------


def short_table(made: Analysis) -> str:
    """The short table of an analysis."""
    parts = [TITLES[made.suite]] if TITLES[made.suite] else []
    if (ranked := made.ranking) is not None:
        counts = [f"at {count}" for count in ranked.checkpoints]
        head = ["method", "seeds", "mean rank [95 %]", *counts, "first, seeds drawn", "first, tasks drawn too",
                f"beaten by {OURS}", "p (Wilcoxon, Holm)"]  # fmt: skip
        parts += [headline(ranked), markdown_table(head, [_line(row, ranked) for row in rank_rows(ranked)])]
        pairs = map(str, compare_pairs(made.found))
        parts += ["\n".join([*few_in_words(ranked), describe_tests(ranked)[0], *variants_in_words(ranked), *pairs])]
    parts.append(losses_in_words(made))
    if made.beside:
        parts.append(beside_table(made))
    parts += ["\n".join(made.notes)] if made.notes else []
    if made.remarks:
        parts.append("\n".join(["Missing or left out:", *(f"- {remark}" for remark in made.remarks)]))
    return "\n\n".join(parts)


def beside_table(made: Analysis) -> str:
    """Median regrets of every GP(...) and of ours on the same seeds."""
    counts = made.found.checkpoints
    head = ["task", "method", "seeds of both", *(f"median at {count} ({OURS}'s)" for count in counts), f"lower at {counts[-1]}"]
    rows = []
    for row in made.beside:
        medians = [f"{format_number(its)} ({format_number(ours)})" for its, ours in zip(row.its, row.ours, strict=True)]
        rows.append([row.task, row.method, str(row.seeds), *medians, f"{row.lower}{f', {row.ties} tie' if row.ties else ''}"])
    return markdown_table(head, rows)


def _line(row: Row, made: Ranking) -> list[str]:
    against = ["", ""] if row["beaten_by_ours"] is None else [f"{row['beaten_by_ours']:.2f}", f"{row['holm_p']:.2g}"]
    interval = "-" if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"
    return [
        row["method"], row["seeds"], f"{row['mean_rank']:.2f} {interval}",
        *(f"{row[f'at_{count}']:.2f}" for count in made.checkpoints),
        format_percent(row["first_seeds"]), format_percent(row["first_tasks"]), *against,
    ]  # fmt: skip


def benchmark_table(results: Path) -> str:
    """Mean ranks, the test over tasks, losses and what is missing, in Markdown. ValueError if there is no study."""
    return "\n\n".join(short_table(made) for made in analyse_suites(results))
