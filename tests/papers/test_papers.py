"""Every paper: its claims were made beforehand, its verdicts are what the lines say, and the page says the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.ledger import read_lines
from experiments.ledger.claims import source_of
from experiments.ledger.digest import Sources
from experiments.ledger.lines import append_line
from papers.paper import Finding, Lines, Paper, PaperClaim, find_paper, list_papers
from papers.report import BEGIN, END, compare_seeds, describe, hours, list_verdicts, order_claims, verdict_rows
from papers.statements import is_beforehand, list_unstated, read_statements
from tests.fresh import python
from tests.pages import run_here
from tests.papers.order import ask_git, late_claims, why_unknown

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("scipy.stats", "typer", "matplotlib.figure")  # what a process of its own has imported; nothing of ours
PAPERS = list_papers()


@pytest.fixture(params=PAPERS)
def paper(request: pytest.FixtureRequest) -> Paper:
    return find_paper(request.param)


def test_names_follow_folders(paper: Paper) -> None:
    assert (ROOT / "papers" / paper.name).is_dir() and re.search(r"\d{4}$", paper.name)
    assert len({claim.name for claim in paper.claims}) == len(paper.claims)
    assert any(one.key == paper.quick for one in paper.measurements())


def test_every_claim_is_stated_as_it_is(paper: Paper) -> None:
    assert [claim.name for claim in list_unstated(paper)] == []


def test_lines_are_of_claims_that_were_stated(paper: Paper) -> None:
    """Without the history of a repository: every line that judges a claim which is stated beforehand carries its digest."""
    records, lines = read_statements(paper), list(read_lines(paper.folder / "results.jsonl"))
    assert all(line["claims"] and set(line["claims"]) <= {*records} for line in lines)
    for claim in paper.claims:
        made_for = [claim.digest in line["claims"] for line in claim.select(lines)]
        assert all(made_for) if is_beforehand(paper, claim) else any(made_for), claim.name


def test_claims_are_older_than_their_lines(paper: Paper) -> None:
    """By the history of the repository; test_lines_are_of_claims_that_were_stated needs none."""
    if why := why_unknown(ROOT):
        pytest.skip(f"{why} here: the order of commits is not known")
    beforehand = {claim.digest: claim.select for claim in paper.claims if is_beforehand(paper, claim)}
    assert beforehand and late_claims(ROOT, f"papers/{paper.name}", beforehand) == []


def test_a_claim_that_is_younger_than_its_lines_is_found(tmp_path: Path) -> None:
    """In small repositories: stated first, stated with its lines, stated after them; and where git knows nothing."""

    def commit(*files: tuple[str, dict[str, Any]]) -> None:
        for name, record in files:
            append_line(tmp_path / "mine" / name, record)
        ask_git(tmp_path, "add", ".")
        ask_git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-m", "x")

    def late(digest: str, first: int) -> list[str]:
        return late_claims(tmp_path, "mine", {digest: lambda lines: [line for line in lines if line["seed"] >= first]})

    assert why_unknown(tmp_path) == "no git repository of this project"
    if not ask_git(tmp_path, "init", "--quiet", ".") and why_unknown(tmp_path):
        pytest.skip("no git here")
    commit(("claims.jsonl", {"digest": "aaaa"}))
    commit(("results.jsonl", {"seed": 0, "claims": ["aaaa"]}))
    commit(("claims.jsonl", {"digest": "bbbb"}))
    commit(("results.jsonl", {"seed": 1, "claims": ["aaaa", "bbbb"]}))
    commit(("claims.jsonl", {"digest": "cccc"}), ("results.jsonl", {"seed": 2, "claims": ["cccc"]}))
    commit(("results.jsonl", {"seed": 3, "claims": ["dddd"]}))
    commit(("claims.jsonl", {"digest": "dddd"}))
    assert late("aaaa", 0) == late("bbbb", 1) == []
    assert "1 lines that judge bbbb stood" in late("bbbb", 0)[0]
    assert "1 lines that judge cccc stood" in late("cccc", 2)[0]
    assert late("dddd", 4) == ["dddd was committed after its first line"]
    assert late("eeee", 0) == ["eeee stands in no commit of mine/claims.jsonl"]
    (tmp_path / "below").mkdir()
    assert why_unknown(tmp_path / "below") == "no git repository of this project"


def test_what_does_not_hold_is_explained_by_a_run(paper: Paper) -> None:
    """A claim of ours, judged by lines of its own, says why; and explanations lead to a claim that is the paper's."""
    names, lines = {claim.name: claim for claim in paper.claims}, paper.lines()
    assert {claim.explains for claim in paper.claims} <= {"", *names}
    assert [claim.name for claim in order_claims(paper)] != [] and {*order_claims(paper)} == {*paper.claims}
    for claim in paper.claims:
        if claim.finding(lines).holds is False and not claim.explains:
            why = [other for other in paper.claims if other.explains == claim.name]
            assert any(other.finding(lines).holds is not None for other in why), f"nothing explains {claim.name!r}"


def test_verdicts_are_computed_from_lines(paper: Paper) -> None:
    for claim in paper.claims:
        assert claim.finding([]).holds is None
        found = claim.finding(paper.lines())
        assert isinstance(found, Finding) and found.evidence
        assert found.holds is None or found.ours
    assert all(claim.sentence in describe(paper) for claim in paper.claims)


def test_the_tables_of_the_pages_are_what_the_lines_say(paper: Paper) -> None:
    for folder in (ROOT / "papers", paper.folder):
        page = (folder / "README.md").read_text(encoding="utf-8")
        table = page[page.index(BEGIN) : page.index(END)]
        for row in verdict_rows(paper):
            assert f"| {' | '.join(row)} |" in table, row
        assert hours(paper.lines()) in table


def test_numbers_of_a_reading_are_computed(paper: Paper) -> None:
    """Every number that stands in what a page reads in the results is one that `python -m papers <name>` computes or quotes."""
    page = (paper.folder / "README.md").read_text(encoding="utf-8")
    _, _, reading = page.partition("**Reading.**")
    assert reading and numbers_of(reading) <= numbers_of(describe(paper)), numbers_of(reading) - numbers_of(describe(paper))


def numbers_of(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", text))


def test_the_list_says_what_is_the_papers_and_what_is_ours() -> None:
    """Each claim stands with its verdict below its paper, and an explanation below what it explains."""
    said = list_verdicts().splitlines()
    for paper in map(find_paper, PAPERS):
        place, at = next(i for i, line in enumerate(said) if line.startswith(f"{paper.name}: ")), {}
        for claim in paper.claims:
            verdict = {True: "holds", False: "does not hold", None: "open"}[claim.finding(paper.lines()).holds]
            start = f"      {verdict:<15}{'    why: ' * bool(claim.explains)}{claim.sentence}"
            at[claim.name] = next(i for i, line in enumerate(said) if i > place and line.startswith(start))
        assert all(at[claim.name] > at.get(claim.explains, place) for claim in paper.claims)


def test_a_claim_is_known_by_all_that_it_says() -> None:
    claim = find_paper(PAPERS[0]).claims[0]
    changes = {"sentence": "x", "check": "x", "published": "x", "seeds": 1_000, "budget": "x", "name": "x", "first": 1_000}
    others = {type(claim)(**{**vars(claim), name: value}).digest for name, value in changes.items()}
    assert len({claim.digest, *others}) == len(changes) + 1
    assert replace(claim, explains="x").digest == claim.digest


def count_lines(lines: Lines) -> Finding:
    """A rule that tells which lines it was given."""
    return Finding(True, ", ".join(str(line.get("seed", "none")) for line in lines))


def test_a_claim_is_judged_by_its_own_seeds() -> None:
    lines: Lines = [{"seed": 2}, {}, {"seed": 0}, {"seed": 4}, {"seed": 1}, {"seed": 3}, {"seed": 5}]
    first = PaperClaim("x", count_lines, "x", "x", "x", 2, "x")
    later = replace(first, first=2)
    assert first.finding(lines).evidence == "none, 0, 1" and first.earlier_finding(lines).holds is None
    assert later.finding(lines).evidence == "2, 3" and later.earlier_finding(lines).evidence == "none, 0, 1"
    assert replace(first, first=6).finding(lines).holds is None


def has_a_late_seed(lines: Lines) -> Finding:
    return Finding(any(line["seed"] > 1 for line in lines), "looked")


def test_seeds_that_say_otherwise_are_shown_beside_a_verdict() -> None:
    """Where earlier seeds say the same, or there are none, nothing is said."""
    claim = PaperClaim("x", has_a_late_seed, "x", "x", "x", 2, "x", 2)
    assert compare_seeds(claim, Finding(True, ""), [{"seed": 0}, {"seed": 2}]) == "earlier seeds: does not hold"
    assert compare_seeds(claim, Finding(False, ""), [{"seed": 0}, {"seed": 2}]) == ""
    assert compare_seeds(claim, Finding(True, ""), [{"seed": 2}]) == ""
    assert compare_seeds(replace(claim, first=0), Finding(True, ""), [{"seed": 0}]) == ""


@pytest.mark.slow
def test_a_fresh_line_of_every_paper_is_measured_or_its_data_are_asked_for() -> None:
    done = subprocess.run([sys.executable, "-m", "papers", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for paper in map(find_paper, PAPERS):
        asked = paper.missing_data is not None and paper.missing_data in done.stderr
        assert asked or re.search(rf"^{paper.name}: .* s\)\n  the stored line: ", done.stdout, re.MULTILINE), done.stdout


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
        return python(*LIBRARIES).run(["-m", "papers", *arguments], tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})

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

    claims = tmp_path / "papers/mine2026/claims.py"  # whoever changes a claim after a look is known by it
    claims.write_text(claims.read_text().replace("in more than half of the seeds", "in most of the seeds"))
    assert "is not stated as it is now" in call("mine2026", "--run").stderr
    assert "verdict    holds" in call("mine2026").stdout and "(the claim is not stated as it is now;" in call("mine2026").stdout
    assert call("mine2026", "--state").returncode == 0
    assert "made after a look at lines" in call("mine2026").stdout
    assert "0 of 1 were stated beforehand" in call().stdout


def test_unknown_papers_and_lonely_options_are_refused() -> None:
    for arguments, said in ((["nobody1999"], "no paper is called 'nobody1999'"), (["--run"], "go with the name of a paper")):
        done = run_here("papers", *arguments)
        assert done.returncode == 2 and said in done.stderr


def test_a_rule_reads_lines_alone(paper: Paper) -> None:
    """Nothing of what made the lines: else every change of an optimizer would be one of the claim."""
    for claim in paper.claims:
        modules = {module for module, _ in Sources().reach(source_of(claim.rule))}
        assert {module for module in modules if module.partition(".")[0] != "papers"} <= {"experiments.ledger.claims"}, claim.name
