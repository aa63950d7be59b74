"""What the benchmark found in a folder of results, suite by suite: what its tables and pages show.

Ours is "GP", the peers are everybody else except "GP(...)", which is ours with an acquisition or options of somebody's. How
ranks are made stands in ranks.py, who and what is ranked in ranking.py, how files are read in collected.py. The reasons of
reasons.toml are about the project's own results, and shown with no others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.collected import Collected, collect, suite_of
from experiments.benchmark.notes import notes
from experiments.benchmark.ranking import Ranking, rank_methods
from experiments.benchmark.records import RESULTS
from experiments.benchmark.summary import (
    Beside,
    Cell,
    Loss,
    cells,
    compare_variants,
    find_losses,
    read_reasons,
    seconds,
)
from experiments.benchmark.tasks import TASKS
from experiments.ledger.lines import read_lines

TITLES = {"all": "", "fresh": "The held-out suite, fresh: tasks that were fixed after the defaults of ours."}
REASONS = Path(__file__).parent / "reasons.toml"
Row = dict[str, Any]


@dataclass(frozen=True)
class Analysis:
    """All that the page and the short table show."""

    found: Collected
    cells: Sequence[Cell]
    ranking: Ranking | None
    losses: Sequence[Loss]
    compared: int  # (task, checkpoint) pairs at which ours had a peer
    seconds: Sequence[Row]
    remarks: Sequence[str]  # what is missing, left out, or suspicious
    beside: Sequence[Beside] = ()  # GP(...) and ours
    notes: Sequence[str] = ()  # what must be known to read the numbers
    suite: str = "all"


def analyse(results: Path, suite: str = "all", asked: Collection[str] | None = None) -> Analysis:
    """Of a folder of *.jsonl, one suite. ValueError if it holds no study of that.

    asked: tasks; what is missing of any others is not remarked on. None: the whole suite was asked for.
    """
    found = collect(results, suite, asked)
    made, said = rank_methods(found)
    reasons = {task: said for task, said in read_reasons(REASONS).items() if suite_of(task) == suite} if is_own(results) else {}
    losses, compared = find_losses(found, reasons)
    said += check_reasons(found, losses, reasons, asked) if is_own(results) else ()
    remarks = [*found.remarks, *said]
    return Analysis(
        found, cells(found), made, losses, compared, seconds(found), remarks, compare_variants(found), notes(found), suite
    )


def is_own(results: Path) -> bool:
    """Whether these are the project's own results, and not somebody else's."""
    return results.resolve() == RESULTS


def check_reasons(
    found: Collected, losses: Sequence[Loss], reasons: Mapping[str, str], asked: Collection[str] | None
) -> Iterator[str]:
    """Warns of reasons without a loss and losses without a reason, in a sentence each.

    Only for tasks that are shown and were asked for; and for names of unknown tasks, if all were asked for.
    """
    lost_on = list(dict.fromkeys(loss.task for loss in losses))
    idle = [task for task in sorted({*reasons} - {*lost_on}) if task in found.tasks or task not in TASKS]
    without = [task for task in lost_on if not reasons.get(task)]
    for names, said in ((idle, "explains tasks on which nothing was lost"), (without, "has no reason for")):
        if meant := [task for task in names if asked is None or task in asked]:
            yield f"{REASONS.name} {said}: {', '.join(meant)}."


def analyse_suites(results: Path, asked: Collection[str] | None = None) -> list[Analysis]:
    """Of every suite that has a study. ValueError if none has."""
    there = {suite_of(row["task"]) for file in results.glob("*.jsonl") for row in read_lines(file) if "regret" in row}
    return [analyse(results, suite, asked) for suite in TITLES if suite in there] or [analyse(results, asked=asked)]


# -- rows --------------------------------------------------------------------------------------------------------------


def rank_rows(made: Ranking) -> list[Row]:
    """One row a method, the best first; None for what cannot be said of it."""
    low, high = np.quantile(made.draws.seeds[:, 0], (0.025, 0.975), axis=0)
    wide = np.quantile(made.draws.tasks[:, 0], (0.025, 0.975), axis=0)
    rows = []
    for place in made.order:
        method = made.methods[place]
        beaten, p, holm = made.comparisons.get(method, (None, None, None))
        drawn: Row = {
            "low": low[place], "high": high[place], "low_tasks": wide[0, place], "high_tasks": wide[1, place],
            "first_seeds": made.first["seeds"][0, place],
            "first_tasks": made.first["tasks"][0, place],
            **{f"first_seeds_at_{count}": made.first["seeds"][1 + i, place] for i, count in enumerate(made.checkpoints)},
            **{f"first_tasks_at_{count}": made.first["tasks"][1 + i, place] for i, count in enumerate(made.checkpoints)},
        }  # fmt: skip
        rows.append({
            "method": method,
            "seeds": _seeds(made, method),
            "mean_rank": made.means[0, place],
            **{f"at_{count}": made.means[1 + i, place] for i, count in enumerate(made.checkpoints)},
            **(dict.fromkeys(drawn) if method in made.few else drawn),
            "friedman_rank": None if made.friedman[0] is None else made.friedman[0].ranks[place],
            "beaten_by_ours": beaten, "wilcoxon_p": p, "holm_p": holm,
        })  # fmt: skip
    return rows


def _seeds(made: Ranking, method: str) -> str:
    """`20`, or `3–20` where tasks differ."""
    counts = {len(made.found.regrets(task, method, made.checkpoints)) for task in made.tasks}
    return "–".join(map(str, sorted({min(counts), max(counts)})))


def version_rows(found: Collected) -> list[Row]:
    """What every method's studies were run with; a row for each set of versions, machine and sources."""
    rows = []
    for method in found.methods:
        kinds = Counter(json.dumps([t.versions, t.machine, t.digest, t.adopted], sort_keys=True) for t in found.of(method))
        for text, count in kinds.most_common():
            versions, machine, digest, adopted = json.loads(text)
            sources = f"{digest}{', through a recheck' if adopted else ''}" if digest else ""
            rows.append({"method": method, "studies": count, "versions": _listed(versions), "machine": _listed(machine),
                         "sources": sources})  # fmt: skip
    return rows


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)
