"""The ranks on the benchmark's page are those of the stored studies, each table of its own suite."""

import re
from pathlib import Path

import pytest

from experiments.benchmark import records
from experiments.benchmark.collected import collect
from experiments.benchmark.ranking import rank_methods

PAGE = Path(records.__file__).parent / "README.md"
NAMES = {"genetic search": "genetic"}  # on the page: in the table


def shown_ranks(title: str) -> dict[str, list[str]]:
    """By method the mean rank, and those at 25, 50 and 100, of the table below a title, in its order."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in section.splitlines() if line.startswith("|")]
    ranked = [row for row in rows if len(row) == 7 and re.match(r"\d+\.\d+ \[", row[2])]
    names = [row[0].removesuffix(" (ours)") for row in ranked]
    return {NAMES.get(name, name): [row[2].split()[0], *row[3:6]] for name, row in zip(names, ranked, strict=True)}


@pytest.mark.parametrize(("title", "suite"), [("Fifteen tasks", "all"), ("Eleven tasks that were fixed afterwards", "fresh")])
def test_the_page_shows_the_ranks_of_the_stored_studies(title: str, suite: str) -> None:
    ranking, _ = rank_methods(collect(records.RESULTS, suite))
    assert ranking is not None
    shown = shown_ranks(title)
    found = {ranking.methods[place]: [f"{rank:.2f}" for rank in ranking.means[:, place]] for place in ranking.order}
    assert shown == found and list(shown) == list(found), "the table is not what --table prints"
