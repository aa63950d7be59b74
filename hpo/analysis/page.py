"""One self-contained page: a heading, sentences, numbers, and the sections that it is given. Nothing here depends on a study."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpo.analysis.paths import check_file, write_whole

WEB = Path(__file__).parent / "web"
TEMPLATE = "page.html.j2"
SCRIPTS = ("plot.js", "data.js", "panels.js", "parameters.js", "trials.js", "page.js")


@dataclass(frozen=True)
class Card:
    """One number on top of the page. kind: chooses its colour; "best", "default" or empty."""

    number: str
    words: str
    kind: str = ""


@dataclass(frozen=True)
class Words:
    """A paragraph; muted and smaller if it only explains something."""

    text: str
    note: bool = True
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Code:
    """Preformatted text: code, or prose, whose lines may be broken."""

    text: str
    prose: bool = False
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    value   the column is sorted by it; None comes last
    tags    (kind, words) behind the text; kinds are those of a card
    look    "differs", "muted", "left" or empty
    title   shown when the pointer is over the cell
    """

    text: str
    value: float | str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    look: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells below their heads. It scrolls sideways in its own box, while the first column stays in place.

    best       rows that are tinted
    sortable   whether a click on a head sorts the rows
    left       columns that are aligned at the left; the first one always is
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    best: frozenset[int] = frozenset()
    sortable: bool = False
    left: frozenset[int] = frozenset()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Panel:
    """A picture or a table that the page's script makes of the study's data: a name in web/page.js.

    table   what stands there where no script runs, and the words above it
    """

    name: str
    table: Table | None = None
    words: str = ""
    kind: ClassVar[str] = "panel"


Part = Words | Code | Table | Panel


@dataclass(frozen=True)
class Section:
    """A heading, which may be empty, and the parts below it. On a wide screen it is as wide as the page, or half of that."""

    title: str
    parts: Sequence[Part]
    is_wide: bool = True


LIVE = (
    Section("Studies side by side", [Panel("beside")]),
    Section("Best so far", [Panel("history")], is_wide=False),
    Section("Learning curves", [Panel("curves")], is_wide=False),
    Section("Pareto front", [Panel("pareto")], is_wide=False),
    Section("Which hyperparameters mattered", [Panel("importance")], is_wide=False),
    Section("Effects", [Panel("effects")], is_wide=False),
    Section("All of it at once", [Panel("parallel")]),
    Section("Slices", [Panel("slices")]),
    Section("Lineage", [Panel("lineage")]),
    Section("Workers", [Panel("timeline"), Panel("drivers")]),
    Section("Failures", [Panel("failures")]),
    Section("Two configurations", [Panel("compare")], is_wide=False),
    Section("Rungs", [Panel("rungs")], is_wide=False),
    Section("Every trial", [Panel("trials")]),
)  # every section of a live page; those without anything to show are hidden


def plain_row(*cells: Any) -> list[Cell]:
    """A row of cells made of texts and numbers."""
    return [cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in cells]


def render_page(
    title: str, subtitle: str, lead: Sequence[str], cards: Sequence[Card], sections: Sequence[Section], data: str = ""
) -> str:
    """The page as text. ModuleNotFoundError in a sentence without Jinja2.

    data   JSON of the study that panels show: {"name": ..., "data": a document of `Feed`, "importance": ..., "lineage": ...}
    """
    script = page_script() if data else read_asset("sort.js")
    style = f"\n{page_style()}"
    policy = f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}"
    inline = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return _fill(title=title, subtitle=subtitle, lead=lead, cards=cards, sections=sections, live=False, style=style,
                 script=script, policy=policy, data=inline)  # fmt: skip


def _source(text: str) -> str:
    """By which a Content-Security-Policy allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def render_shell() -> str:
    """The live page before it has any data: it asks the server that it came from."""
    return _fill(title="", subtitle="", lead=(), cards=(), sections=LIVE, live=True)


def page_script() -> str:
    """The script of the page."""
    return "\n".join(['(() => {\n"use strict";', *map(read_asset, SCRIPTS), "})();\n"])


def page_style() -> str:
    """Its style sheet."""
    return read_asset("page.css")


def read_asset(name: str) -> str:
    """The text of a file of the page."""
    return (WEB / name).read_text(encoding="utf-8")


def check_jinja() -> None:
    """ModuleNotFoundError in a sentence without Jinja2."""
    try:
        import jinja2  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the page is written by Jinja2, which is not installed: pip install jinja2") from None


def _fill(**values: Any) -> str:
    check_jinja()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE).render(**values)


def write_page(path: Path, text: str) -> Path:
    """Writes the file, whole or not at all. Paths are refused as in `check_file`."""
    write_whole(check_file(path), text.encode())
    return path
