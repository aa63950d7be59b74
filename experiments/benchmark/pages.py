"""What the benchmark writes: a page, CSV files and figures of every suite, and the short tables on the terminal.

    index.html (self-contained), summary.csv, ranks.csv, lost.csv, seconds.csv, the figures

They lie in runs/benchmark where the results are the project's own, and in the folder `page` of any others; those of the
held-out suite in the folder `fresh` below.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.benchmark import plots, sentences
from experiments.benchmark.analyse import TITLES, Analysis, analyse_suites, is_own, rank_rows, version_rows
from experiments.benchmark.collected import OURS, kind, task_of
from experiments.benchmark.ranking import Ranking
from experiments.benchmark.ranks import DRAWS

FOLDER = Path("runs") / "benchmark"
FILES = ("index.html", "summary.csv", "ranks.csv", "lost.csv", "seconds.csv", *(f"{name}.png" for name in plots.NAMES))


def write_pages(results: Path, folder: Path | None = None, asked: Collection[str] | None = None) -> None:
    """The pages, the CSV files and the figures; prints the short tables, and where the pages lie.

    The folder is the one `page_folder` names, if none is given; of what an earlier call wrote there, nothing is left. asked: see
    `analyse`. ValueError if there is no study.
    """
    folder = page_folder(results) if folder is None else folder
    places = {suite: folder if suite == "all" else folder / suite for suite in TITLES}
    for made in analyse_suites(results, asked):
        place = places.pop(made.suite)
        write_files(made, place)
        print(f"{sentences.short_table(made)}\n\nEverything: {place / 'index.html'}\n")
    for place in places.values():
        clear_folder(place)


def page_folder(results: Path) -> Path:
    """Where the pages of a folder of results lie: those of anybody's own beside them, apart from the project's."""
    return FOLDER if is_own(results) else results / "page"


def clear_folder(folder: Path) -> None:
    """Removes what `write_files` wrote to a folder, and the folder if nothing else lies in it."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def write_files(made: Analysis, folder: Path) -> None:
    """FILES of one suite: the page, the CSV files and those figures for which there is something to show."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "summary.csv", [{"kind": kind(cell.task), **asdict(cell)} for cell in made.cells])
    write_csv(folder / "ranks.csv", [] if made.ranking is None else rank_rows(made.ranking))
    write_csv(folder / "lost.csv", [asdict(loss) for loss in made.losses])
    write_csv(folder / "seconds.csv", made.seconds)
    drawn = plots.draw_figures(made.found, made.ranking)
    for name in plots.NAMES:
        (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier call with more to show
    for name, png in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    (folder / "index.html").write_text(render_page(made, drawn), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file; an empty one for no rows, so that none is left from an earlier call."""
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows({name: f"{v:.7g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)


def render_page(made: Analysis, drawn: Mapping[str, bytes]) -> str:
    """index.html: one file, figures inside."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": sentences.format_number, "percent": sentences.format_percent, "interval": sentences.format_range,
    }  # fmt: skip
    found = made.found
    return environment.get_template("index.html.j2").render(
        **ranking_parts(made.ranking), ours=OURS, title=TITLES[made.suite], draws=DRAWS, found=found, losses=made.losses,
        beside=made.beside, notes=made.notes, remarks=made.remarks, kind=kind, lost=sentences.losses_in_words(made),
        studies=sum(len(mine) for mine in found.traces.values()),
        cells={(cell.evaluations, cell.task, cell.method): cell for cell in made.cells},
        kinds=list(dict.fromkeys(kind(task) for task in found.tasks)),
        seconds={(row["method"], row["kind"]): row for row in made.seconds},
        versions=version_rows(found),
        about={name: task.about if (task := task_of(name)) else "" for name in found.tasks},
        figures={name: base64.b64encode(png).decode() for name, png in drawn.items()},
    )  # fmt: skip


def ranking_parts(made: Ranking | None) -> dict[str, Any]:
    """What the page says of a ranking, by the template's names; nothing where there is none."""
    if made is None:
        return {"headline": None, **dict.fromkeys(("ranks", "few", "tests", "places", "ranked_tasks"), ())}
    few, tests, places = (f(made) for f in (sentences.few_in_words, sentences.describe_tests, sentences.variants_in_words))
    named = {"headline": sentences.headline(made), "ranks": rank_rows(made), "ranked_tasks": made.tasks}
    return {**named, "few": few, "tests": tests, "places": places}
