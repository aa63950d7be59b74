"""Every paper: its claims were made beforehand, its verdicts are what the lines say, and the page says the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.ledger import read_lines
from experiments.ledger.claims import source_of
from experiments.ledger.digest import Sources
from papers.paper import Finding, Paper, find_paper, list_papers
from papers.report import BEGIN, END, describe, verdict_rows
from papers.statements import changed_after, list_unstated, read_statements
from tests.pages import run_here

ROOT = Path(__file__).resolve().parents[2]
PAPERS = list_papers()


@pytest.fixture(params=PAPERS)
def paper(request: pytest.FixtureRequest) -> Paper:
    return find_paper(request.param)


def ask_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def first_commit(text: str, path: Path) -> str | None:
    """The first commit in which a text stands in a file."""
    found = ask_git("log", "--reverse", "--format=%H", "-S", text, "--", str(path.relative_to(ROOT))).stdout.split()
    return found[0] if found else None


def test_names_follow_folders(paper: Paper) -> None:
    assert (ROOT / "papers" / paper.name).is_dir() and re.search(r"\d{4}$", paper.name)
    assert len({claim.name for claim in paper.claims}) == len(paper.claims)
    assert any(one.key == paper.quick for one in paper.measurements())


def test_every_claim_is_stated_as_it_is(paper: Paper) -> None:
    assert [claim.name for claim in list_unstated(paper)] == []


def test_claims_are_older_than_their_lines(paper: Paper) -> None:
    """In the history of the repository; where there is none, claims.jsonl itself says how many lines were there."""
    lines = list(read_lines(paper.folder / "results.jsonl"))
    late = {claim.digest for claim in paper.claims if changed_after(paper, claim)}
    made_for = {digest for line in lines for digest in line["claims"]}
    assert made_for <= set(read_statements(paper)), "a line was measured for a claim that was never stated"
    if ask_git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("no whole git history here")
    for digest in made_for - late:
        claim, line = first_commit(digest, paper.folder / "claims.jsonl"), first_commit(digest, paper.folder / "results.jsonl")
        if line is None:
            continue  # measured, and not committed yet
        assert claim is not None and claim != line
        assert ask_git("merge-base", "--is-ancestor", claim, line).returncode == 0


def test_verdicts_are_computed_from_lines(paper: Paper) -> None:
    for claim in paper.claims:
        assert claim.finding([]).holds is None
        found = claim.finding(paper.lines())
        assert isinstance(found, Finding) and found.evidence
        assert found.holds is None or found.ours
    assert all(claim.sentence in describe(paper) for claim in paper.claims)


def test_the_table_of_the_page_is_what_the_lines_say(paper: Paper) -> None:
    page = (ROOT / "papers" / "README.md").read_text(encoding="utf-8")
    table = page[page.index(BEGIN) : page.index(END)]
    for row in verdict_rows(paper):
        assert all(cell in table for cell in row), row


def test_a_claim_is_known_by_all_that_it_says() -> None:
    claim = find_paper(PAPERS[0]).claims[0]
    changes = {"sentence": "x", "check": "x", "published": "x", "seeds": 1_000, "budget": "x", "name": "x"}
    others = {type(claim)(**{**vars(claim), name: value}).digest for name, value in changes.items()}
    assert len({claim.digest, *others}) == len(changes) + 1


def test_the_page_says_how_to_add_a_paper(tmp_path: Path) -> None:
    """Its skeleton is stated, measured and judged in a copy of this folder."""
    for package in ("papers", "hpo", "surrogates", "experiments", "models"):
        left_out = shutil.ignore_patterns("__pycache__", "results", *(PAPERS if package == "papers" else ()))
        shutil.copytree(ROOT / package, tmp_path / package, ignore=left_out)
    page = (ROOT / "papers" / "README.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"```python\n# (papers/\S+)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "papers/mine2026/__init__.py").touch()

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        program = [sys.executable, "-m", "papers", *arguments]
        return subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    refused = call("mine2026", "--run")
    assert refused.returncode == 2 and "is not stated as it is now" in refused.stderr
    assert call("mine2026", "--state").returncode == 0
    done = call("mine2026", "--run")
    assert done.returncode == 0 and "verdict    holds" in done.stdout, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "papers/mine2026/results.jsonl").read_text().splitlines()]
    assert len(lines) == 8 and all(len(line["claims"]) == 1 for line in lines)
    assert call("--all").returncode == 0 and (tmp_path / "papers/mine2026/figure.png").stat().st_size > 1000
    quick = call("mine2026", "--quick")
    assert "the stored line: the same, to the last digit" in quick.stdout


def test_unknown_papers_and_lonely_options_are_refused() -> None:
    for arguments, said in ((["nobody1999"], "no paper is called 'nobody1999'"), (["--run"], "go with the name of a paper")):
        done = run_here("papers", *arguments)
        assert done.returncode == 2 and said in done.stderr


def test_a_rule_reads_lines_alone(paper: Paper) -> None:
    """Nothing of what made the lines: else every change of an optimizer would be one of the claim."""
    for claim in paper.claims:
        modules = {module for module, _ in Sources().reach(source_of(claim.rule))}
        assert {module for module in modules if module.partition(".")[0] != "papers"} <= {"experiments.ledger.claims"}, claim.name
