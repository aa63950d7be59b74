"""Every page of the repository: what it links to and names is there, its commands exist, its tables are those of the results."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.pages import ROOT, commands, execute, headings, links, paths, run_here


def is_ours(path: Path) -> bool:
    """Whether a page belongs to the repository, and not to a run, a build or a cache."""
    parts = path.relative_to(ROOT).parts
    return not {"runs", "build"} & {*parts} and not [part for part in parts if part.startswith(".") and part != ".github"]


PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md")] if is_ours(path))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_pages_are_found() -> None:
    found = {str(page.relative_to(ROOT)) for page in PAGES}
    assert found >= {"README.md", ".github/CONTRIBUTING.md", "surrogates/README.md", "hpo/README.md", "tests/README.md"}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for file, heading in links(page):
        assert file.exists(), file
        assert not heading or heading in headings(file), heading


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    for name in paths(page):
        assert any(list(folder.glob(name)) for folder in (ROOT, page.parent)), name


def test_commands_and_their_options_exist() -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    for page in PAGES:
        for module, options in commands(page):
            if module != "pytest":
                asked[module] |= set(options)
    assert len(asked) > 10
    for module, options in asked.items():
        found = run_here(*module.split(), "--help")
        said = found.stdout + found.stderr
        assert {name for name in options if not re.search(rf"{name}\b", said)} == set(), (module, said)


def printed(module: str) -> list[list[str]]:
    """The cells of every row with a decimal that a command prints of what is stored."""
    done = run_here(f"experiments.{module}", "--table")
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    found = [[cell.strip() for cell in row] for row in rows if re.search(r"\d\.\d", " ".join(row))]
    assert found, done.stderr
    return found


def shown(page: Path) -> list[list[str]]:
    """The cells of every row of the tables of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]


@pytest.mark.parametrize(
    ("name", "count"),
    [("decoding", 3), ("compare", 8), ("rungs", 3), ("events", 29), ("waiting", 31), ("curves", 6), ("fidelity", 36),
     ("objectives", 10), ("front", 7), ("population", 10)],
)  # fmt: skip
def test_tables_are_those_of_the_stored_results(name: str, count: int) -> None:
    """Every row of the first table that a command prints has one on the page, whatever it is called there: all of its cells but
    the name are printed, in this order. The page may leave columns out."""
    rows = [[cell for cell in row[1:] if cell] for row in shown(ROOT / "experiments" / "README.md")]
    found = printed(name)[:count]
    assert len(found) == count
    for row in found:
        assert any(len(other) >= 3 and is_in_order(other, row) for other in rows), row


@pytest.mark.parametrize(("name", "count"), [("narrowing", 36), ("projection", 26), ("stopping", 35)])
def test_whole_tables_are_those_of_the_stored_results(name: str, count: int) -> None:
    """The same of experiments of which the page shows all tables."""
    test_tables_are_those_of_the_stored_results(name, count)
    assert len(printed(name)) == count


def is_in_order(few: list[str], many: list[str]) -> bool:
    """Whether the first are among the second, in the same order."""
    rest = iter(many)
    return all(cell in rest for cell in few)


@pytest.mark.slow
def test_ranks_are_those_of_the_stored_results() -> None:
    """Each row begins with method, seeds, mean rank, and the ranks at 25, 50 and 100."""
    rows = shown(ROOT / "experiments" / "benchmark" / "README.md")
    found = printed("benchmark")
    assert len(found) > 14
    for row in found:
        assert any(other[1:6] == row[1:6] for other in rows), row


def test_the_first_page_is_short_and_runs(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    assert len(page.read_text(encoding="utf-8").splitlines()) < 120
    assert execute(page, tmp_path).problems == []
