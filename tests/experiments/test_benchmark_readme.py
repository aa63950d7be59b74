"""The tables of ranks in the benchmark's README are those of the stored studies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.benchmark.collected import collect
from experiments.benchmark.ranking import rank_methods
from experiments.benchmark.records import RESULTS

ROOT = Path(__file__).resolve().parents[2]
TITLES = {"all": "## Fifteen tasks", "fresh": "## Eleven tasks that were fixed afterwards"}


def read_table(title: str) -> dict[str, list[str]]:
    """The cells of the first table behind a heading, by method, without "(ours)"."""
    page = (ROOT / "experiments" / "benchmark" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?:^\|.*\n)+", page[page.index(title) :], re.M)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {name.replace(" (ours)", "").replace("genetic search", "genetic"): rest for name, *rest in cells}


@pytest.mark.parametrize("suite", TITLES)
def test_the_tables_of_ranks_are_those_of_the_stored_studies(suite: str) -> None:
    made, _ = rank_methods(collect(RESULTS, suite))
    assert made is not None
    shown = {}
    for place in made.order:
        means = [f"{value:.2f}" for value in made.means[:, place]]
        wins = made.comparisons.get(made.methods[place])
        shown[made.methods[place]] = [*means, "" if wins is None else f"{wins[0]:.2f}"]
    said = read_table(TITLES[suite])
    assert list(said) == list(shown), "best first"
    for name, (_, mean, *others) in said.items():
        assert [mean.split()[0], *others] == shown[name], name
