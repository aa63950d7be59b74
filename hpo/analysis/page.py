"""One self-contained page: a heading, sentences, numbers, and the sections that it is given. Nothing here depends on a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpo.analysis.paths import check_file, write_whole

TEMPLATE = "page.html.j2"


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
class Picture:
    """A figure as an SVG element for the page."""

    svg: str
    kind: ClassVar[str] = "picture"


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


Part = Words | Picture | Code | Table


@dataclass(frozen=True)
class Section:
    """A heading, which may be empty, and the parts below it."""

    title: str
    parts: Sequence[Part]


def plain_row(*cells: Any) -> list[Cell]:
    """A row of cells made of texts and numbers."""
    return [cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in cells]


def render_page(title: str, subtitle: str, lead: Sequence[str], cards: Sequence[Card], sections: Sequence[Section]) -> str:
    """The page as text. ModuleNotFoundError in a sentence without Jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the page is written by Jinja2, which is not installed: pip install jinja2") from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=title, subtitle=subtitle, lead=lead, cards=cards, sections=sections
    )


def write_page(path: Path, text: str) -> Path:
    """Writes the file, whole or not at all. Paths are refused as in `check_file`."""
    write_whole(check_file(path), text.encode())
    return path
