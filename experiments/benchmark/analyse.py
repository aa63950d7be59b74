"""What the benchmark found: regrets, ranks with their uncertainty, where ours lost, seconds, versions.

    table(results)           a short Markdown table for each suite of tasks of which there are studies
    write(results, folder)   index.html (self-contained), summary.csv, ranks.csv, lost.csv, seconds.csv, the figures;
                             those of the held-out suite lie in folder/fresh. The folder is runs/benchmark for the
                             project's own results, and results/page for any others

Ours is "GP", the peers are everybody else except "GP(...)", which is ours with an acquisition or options of somebody's. How
ranks are made stands in ranks.py, who and what is ranked in field.py, how files are read in collected.py. The reasons of
reasons.toml are about the project's own results, and shown with no others.
"""

from __future__ import annotations

import base64
import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.benchmark import plots
from experiments.benchmark.collected import OURS, Collected, collect, kind, suite_of, variant
from experiments.benchmark.notes import notes
from experiments.benchmark.ranking import Ranking, rank_methods
from experiments.benchmark.ranks import DRAWS, FEW, Friedman
from experiments.benchmark.records import RESULTS
from experiments.benchmark.summary import Beside, Cell, Loss, cells, compare_variants, lost, read_reasons, seconds
from experiments.benchmark.tasks import TASKS
from experiments.ledger.lines import read_lines

FOLDER = Path("runs") / "benchmark"
FILES = ("index.html", "summary.csv", "ranks.csv", "lost.csv", "seconds.csv", *(f"{name}.png" for name in plots.NAMES))
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
    reasons = {task: said for task, said in read_reasons(REASONS).items() if suite_of(task) == suite} if own(results) else {}
    losses, compared = lost(found, reasons)
    said += unreasoned(found, losses, reasons, asked) if own(results) else ()
    remarks = [*found.remarks, *said]
    return Analysis(
        found, cells(found), made, losses, compared, seconds(found), remarks, compare_variants(found), notes(found), suite
    )


def own(results: Path) -> bool:
    """Whether these are the project's own results, and not somebody else's."""
    return results.resolve() == RESULTS


def unreasoned(
    found: Collected, losses: Sequence[Loss], reasons: Mapping[str, str], asked: Collection[str] | None
) -> Iterator[str]:
    """A sentence about reasons of tasks on which nothing was lost, and one about losses without a reason.

    Only of tasks that are shown and were asked for; and a name that no task has, if all were asked for.
    """
    lost_on = list(dict.fromkeys(loss.task for loss in losses))
    idle = [task for task in sorted({*reasons} - {*lost_on}) if task in found.tasks or task not in TASKS]
    without = [task for task in lost_on if not reasons.get(task)]
    for names, said in ((idle, "explains tasks on which nothing was lost"), (without, "has no reason for")):
        if meant := [task for task in names if asked is None or task in asked]:
            yield f"{REASONS.name} {said}: {', '.join(meant)}."


def suites(results: Path, asked: Collection[str] | None = None) -> list[Analysis]:
    """Of every suite that has a study. ValueError if none has."""
    there = {suite_of(row["task"]) for file in results.glob("*.jsonl") for row in read_lines(file) if "regret" in row}
    return [analyse(results, suite, asked) for suite in TITLES if suite in there] or [analyse(results, asked=asked)]


# -- in words ----------------------------------------------------------------------------------------------------------


def number(value: float, digits: int = 3) -> str:
    """So many significant digits: `0.0123`, `1.2e-05`; `∞` where there was no incumbent."""
    return "∞" if value == np.inf else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """To two decimals, which is what 10,000 draws can tell; `-` for nothing."""
    return "-" if share is None else f"{100 * share:.2f} %"


def between(low: float | None, high: float | None) -> str:
    """An interval; `-` for nothing."""
    return "-" if low is None or high is None else f"{low:.2f} – {high:.2f}"


def headline(made: Ranking) -> str:
    """Where ours stands, in one sentence, or who leads where ours is absent."""
    place = made.methods.index(OURS) if OURS in made.methods else made.order[0]
    first = {drawn: percent(share[0, place]) for drawn, share in made.first.items()}
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


def tested(found: Friedman | None, checkpoint: str) -> str:
    """One line of the Friedman test."""
    if found is None:
        return f"{checkpoint}: no Friedman test; it needs three methods and two tasks that do not all tie."
    return (
        f"{checkpoint}: Friedman χ² = {found.chi2:.1f}, p = {found.p:.2g}; F = {found.f:.1f}, p = {found.p_f:.2g}; "
        f"critical difference of mean ranks {found.critical:.2f} (Nemenyi, 5 %, {found.tasks} tasks)."
    )


def tests(made: Ranking) -> list[str]:
    """Every Friedman test in a line."""
    names = ["All checkpoints", *(f"{count} evaluations" for count in made.checkpoints)]
    return [tested(found, name) for found, name in zip(made.friedman, names, strict=True)]


def losses_in_words(made: Analysis) -> str:
    """How often some peer's median was better."""
    if not made.compared:
        return f"There is no task on which both {OURS} and a peer have studies."
    return (
        f"Some peer's median is better than {OURS}'s at {len(made.losses)} of {made.compared} pairs of a task and a number "
        f"of evaluations."
    )


def in_place(made: Ranking) -> list[str]:
    """One sentence for every GP(...)."""
    said = []
    for method in filter(variant, made.found.methods):
        if (found := made.in_place(method)) is not None:
            tasks, means = found
            said.append(
                f"{method} in {OURS}'s place would have a mean rank of {means[0, 0]:.2f}, where {OURS} has "
                f"{means[1, 0]:.2f} ({len(tasks)} tasks)."
            )
    return said


# -- rows --------------------------------------------------------------------------------------------------------------


def rank_rows(made: Ranking) -> list[Row]:
    """One row a method, the best first; None for what cannot be said of it."""
    low, high = np.quantile(made.draws.seeds[:, 0], (0.025, 0.975), axis=0)
    wide = np.quantile(made.draws.tasks[:, 0], (0.025, 0.975), axis=0)
    rows = []
    for place in made.order:
        method = made.methods[place]
        beaten, p, holm = made.against.get(method, (None, None, None))
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


# -- what is written ---------------------------------------------------------------------------------------------------


def short_table(made: Analysis) -> str:
    """The short table of an analysis."""
    parts = [TITLES[made.suite]] if TITLES[made.suite] else []
    if (ranked := made.ranking) is not None:
        counts = [f"at {count}" for count in ranked.checkpoints]
        head = ["method", "seeds", "mean rank [95 %]", *counts, "first, seeds drawn", "first, tasks drawn too",
                f"beaten by {OURS}", "p (Wilcoxon, Holm)"]  # fmt: skip
        parts += [headline(ranked), markdown(head, [_line(row, ranked) for row in rank_rows(ranked)])]
        parts += ["\n".join([*few_in_words(ranked), tests(ranked)[0], *in_place(ranked)])]
    parts.append(losses_in_words(made))
    if made.beside:
        parts.append(beside_table(made))
    parts += ["\n".join(made.notes)] if made.notes else []
    if made.remarks:
        parts.append("\n".join(["Missing or left out:", *(f"- {remark}" for remark in made.remarks)]))
    return "\n\n".join(parts)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def beside_table(made: Analysis) -> str:
    """Median regrets of every GP(...) and of ours on the same seeds."""
    counts = made.found.checkpoints
    head = ["task", "method", "seeds of both", *(f"median at {count} ({OURS}'s)" for count in counts), f"lower at {counts[-1]}"]
    rows = []
    for row in made.beside:
        medians = [f"{number(its)} ({number(ours)})" for its, ours in zip(row.its, row.ours, strict=True)]
        rows.append([row.task, row.method, str(row.seeds), *medians, f"{row.lower}{f', {row.ties} tie' if row.ties else ''}"])
    return markdown(head, rows)


def _line(row: Row, made: Ranking) -> list[str]:
    against = ["", ""] if row["beaten_by_ours"] is None else [f"{row['beaten_by_ours']:.2f}", f"{row['holm_p']:.2g}"]
    interval = "-" if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"
    return [
        row["method"], row["seeds"], f"{row['mean_rank']:.2f} {interval}",
        *(f"{row[f'at_{count}']:.2f}" for count in made.checkpoints),
        percent(row["first_seeds"]), percent(row["first_tasks"]), *against,
    ]  # fmt: skip


def table(results: Path) -> str:
    """Mean ranks, the test over tasks, losses and what is missing, in Markdown. ValueError if there is no study."""
    return "\n\n".join(short_table(made) for made in suites(results))


def write(results: Path, folder: Path | None = None, asked: Collection[str] | None = None) -> None:
    """The pages, the CSV files and the figures; prints the short tables, and where the pages lie.

    The folder is the one `home` names, if none is given; of what an earlier call wrote there, nothing is left. asked: see
    `analyse`. ValueError if there is no study.
    """
    folder = home(results) if folder is None else folder
    places = {suite: folder if suite == "all" else folder / suite for suite in TITLES}
    for made in suites(results, asked):
        place = places.pop(made.suite)
        files(made, place)
        print(f"{short_table(made)}\n\nEverything: {place / 'index.html'}\n")
    for place in places.values():
        clear(place)


def home(results: Path) -> Path:
    """Where the pages of a folder of results lie: those of anybody's own beside them, apart from the project's."""
    return FOLDER if own(results) else results / "page"


def clear(folder: Path) -> None:
    """Removes what `files` wrote to a folder, and the folder if nothing else lies in it."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def files(made: Analysis, folder: Path) -> None:
    """FILES of one suite: the page, the CSV files and those figures for which there is something to show."""
    folder.mkdir(parents=True, exist_ok=True)
    rows_of(folder / "summary.csv", [{"kind": kind(cell.task), **asdict(cell)} for cell in made.cells])
    rows_of(folder / "ranks.csv", [] if made.ranking is None else rank_rows(made.ranking))
    rows_of(folder / "lost.csv", [asdict(loss) for loss in made.losses])
    rows_of(folder / "seconds.csv", made.seconds)
    drawn = plots.draw_figures(made.found, made.ranking)
    for name in plots.NAMES:
        (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier call with more to show
    for name, png in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    (folder / "index.html").write_text(page(made, drawn), encoding="utf-8")


def rows_of(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file; an empty one for no rows, so that none is left from an earlier call."""
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows({name: f"{v:.7g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)


def page(made: Analysis, drawn: Mapping[str, bytes]) -> str:
    """index.html: one file, figures inside."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "between": between}
    ranked, found = made.ranking, made.found
    return environment.get_template("index.html.j2").render(
        ours=OURS,
        title=TITLES[made.suite],
        draws=DRAWS,
        found=found,
        studies=sum(len(mine) for mine in found.traces.values()),
        headline=None if ranked is None else headline(ranked),
        ranks=[] if ranked is None else rank_rows(ranked),
        few=[] if ranked is None else few_in_words(ranked),
        tests=[] if ranked is None else tests(ranked),
        places=[] if ranked is None else in_place(ranked),
        ranked_tasks=[] if ranked is None else ranked.tasks,
        cells={(cell.evaluations, cell.task, cell.method): cell for cell in made.cells},
        losses=made.losses,
        lost=losses_in_words(made),
        beside=made.beside,
        notes=made.notes,
        kinds=list(dict.fromkeys(kind(task) for task in found.tasks)),
        seconds={(row["method"], row["kind"]): row for row in made.seconds},
        versions=version_rows(found),
        about={task: TASKS[task].about if task in TASKS else "" for task in found.tasks},
        kind=kind,
        remarks=made.remarks,
        figures={name: base64.b64encode(png).decode() for name, png in drawn.items()},
    )
