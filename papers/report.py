"""Prints papers, and writes tables of claims with verdicts, computed from the stored lines, into the pages of this folder."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.ledger.markdown import markdown_table
from papers.paper import ROOT, Finding, Lines, Paper, PaperClaim, find_paper, list_papers
from papers.statements import is_beforehand, remark
from surrogates.style import STYLE

WORDS = {True: "holds", False: "**does not hold**", None: "open"}
BEGIN, END = "<!-- the table of verdicts, which `python -m papers --all` writes -->", "<!-- end of the table -->"
FIGURES = re.compile(r"[-\d., %]+")  # numbers alone, such as "0.09 %" or "-0.713, 0.307, 0.571"
READ = """Each paper below was run again here. A claim is a sentence with a rule; its verdict is what the rule makes of the stored
runs. "Stated beforehand": sentence and rule were committed before any of the runs that judge them was made; where this is
not so, the claim says it. What does not hold stays. "why:" marks a claim of our own, which tests why another came out so.
Where seeds that had been run before a claim was made say otherwise than its own, "earlier seeds" tells what they say.
"""


def order_claims(paper: Paper) -> list[PaperClaim]:
    """The paper's claims, each followed by those that explain how it came out."""
    found: list[PaperClaim] = []

    def add(claim: PaperClaim) -> None:
        found.append(claim)
        for other in paper.claims:
            if other.explains == claim.name:
                add(other)

    for claim in paper.claims:
        if not claim.explains:
            add(claim)
    return found


def verdict_rows(paper: Paper) -> list[list[str]]:
    """Rows of claim, published, ours, interval, verdict; one row for each claim."""
    lines, rows = paper.lines(), []
    for claim in order_claims(paper):
        found = claim.finding(lines)
        said = "; ".join(filter(None, (remark(paper, claim, lines), compare_seeds(claim, found, lines))))
        verdict = WORDS[found.holds] + (f" ({said})" if said else "")
        sentence = ("*why:* " if claim.explains else "") + claim.sentence
        rows.append([sentence, claim.published, found.ours or "–", found.interval or "–", verdict])
    return rows


def hours(lines: Lines) -> str:
    """The processor time of these lines, in words."""
    seconds = sum(float(line.get("seconds", 0.0)) for line in lines)
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min" if seconds >= 6 else f"{seconds:.1f} s"


def describe(paper: Paper, results: Path | None = None) -> str:
    """A paper as text for a terminal: its claims, published figures and ours, the verdicts with their evidence."""
    lines, ledger = paper.lines(results), paper.ledger(results)
    parts = [f"{paper.title}\n{paper.reference}"]
    parts += [describe_claim(paper, claim, lines) for claim in order_claims(paper)]
    left = len(ledger.list_missing())
    rest = f"; {left} of {len(ledger.measurements)} are missing or older than the code: --run, or --recheck" if left else ""
    parts.append(f"{len(lines)} lines, {hours(lines)} of one core{rest}")
    return "\n\n".join(parts)


def describe_claim(paper: Paper, claim: PaperClaim, lines: Lines) -> str:
    """A claim as text: what was published, what was found, by which rule and seeds, and the verdict."""
    found, said = claim.finding(lines), remark(paper, claim, lines)
    seeds = f"seeds {claim.first} to {claim.first + claim.seeds - 1}: " if claim.first else ""
    told = [
        f"{claim.name}: {claim.sentence}",
        *([f"  explains   {claim.explains}"] if claim.explains else []),
        f"  published  {claim.published}",
        f"  ours       {' '.join(filter(None, (found.ours, found.interval))) or '–'}   ({seeds}{claim.seeds} x {claim.budget})",
        f"  rule       {claim.check}",
        f"  verdict    {found}" + (f"  ({said})" if said else ""),
    ]
    before = claim.earlier_finding(lines)
    if claim.first and before.holds is not None:
        told.append(f"  earlier    on seeds 0 to {claim.first - 1}, which were seen before this was stated, it {before}")
    return "\n".join(told)


def list_verdicts() -> str:
    """All papers as text: a line or two for each paper, and below them one for each of its claims."""
    said = [READ]
    for paper in map(find_paper, list_papers()):
        lines = paper.lines()
        said.append(f"{paper.name}: {paper.title}\n    {count_verdicts(paper, lines)}; {hours(lines)} of one core")
        for claim in order_claims(paper):
            found, note = claim.finding(lines), remark(paper, claim, lines)
            shown = [compare_figures(claim, found), note, compare_seeds(claim, found, lines)]
            why = "    why: " if claim.explains else ""
            said.append(f"      {_word(found.holds):<15}{why}{claim.sentence}" + "".join(f" ({one})" for one in shown if one))
        said.append("")
    said.append("python -m papers <name> shows one with its rules and numbers; papers/<name>/README.md says what they mean.\n"
                "--quick measures a fresh line of each paper; <name> --run measures what is missing.")
    return "\n".join(said)


def compare_figures(claim: PaperClaim, found: Finding) -> str:
    """`0.09 % published, 0.096 % here`; empty where the paper prints no figure, or nothing was found."""
    return f"{claim.published} published, {found.ours} here" if FIGURES.fullmatch(claim.published) and found.ours else ""


def compare_seeds(claim: PaperClaim, found: Finding, lines: Lines) -> str:
    """`earlier seeds: does not hold` where the seeds that were seen before a claim was made say otherwise; else empty."""
    before = claim.earlier_finding(lines).holds
    return f"earlier seeds: {_word(before)}" if claim.first and before not in (None, found.holds) else ""


def count_verdicts(paper: Paper, lines: Lines) -> str:
    """`3 of the paper's 4 claims hold, 2 of 2 explanations do; stated beforehand: 6 of 6`."""

    def count(claims: Sequence[PaperClaim]) -> str:
        return f"{sum(claim.finding(lines).holds is True for claim in claims)} of {len(claims)}"

    own, why = ([c for c in paper.claims if bool(c.explains) == explains] for explains in (False, True))
    parts = [f"{count(own)} claims of the paper hold"] + [f"{count(why)} explanations hold"] * bool(why)
    beforehand = sum(is_beforehand(paper, claim) for claim in paper.claims)
    return ", ".join(parts) + f"; {beforehand} of {len(paper.claims)} were stated beforehand"


def _word(holds: bool | None) -> str:
    return WORDS[holds].strip("*")


def write_table() -> None:
    """Writes the table of all verdicts into README.md, and each paper's into the README.md of its folder, if it has a place."""
    header, rows = ["claim", "published", "ours", "interval", "verdict"], []
    for paper in map(find_paper, list_papers()):
        readme = paper.folder / "README.md"
        page, name = readme if readme.is_file() else paper.folder / "claims.py", paper.name
        name = f"[{name}]({page.relative_to(ROOT).as_posix()}), {hours(paper.lines())}"
        own = verdict_rows(paper)
        rows += [[name if i == 0 else "", *row] for i, row in enumerate(own)]
        if readme.is_file() and BEGIN in readme.read_text(encoding="utf-8"):
            _insert(readme, f"{markdown_table(header, own)}\n\nMeasured in {hours(paper.lines())} of one core.")
    _insert(ROOT / "README.md", markdown_table(["paper", *header], rows))


def _insert(page: Path, table: str) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def draw_figure(paper: Paper) -> bool:
    """Draws the paper's figure from its lines into its folder. Returns whether there was anything to draw."""
    lines = paper.lines()
    if not lines:
        return False
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = importlib.import_module(f"papers.{paper.name}.figure").draw(lines)
        figure.savefig(paper.folder / "figure.png", dpi=130, metadata={"Software": None})
    return True
