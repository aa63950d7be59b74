"""Prints papers, and writes the table of papers/README.md: claims with verdicts that are computed from the stored lines."""

from __future__ import annotations

import importlib
from pathlib import Path

from experiments.ledger.markdown import markdown_table
from papers.paper import ROOT, Lines, Paper, find_paper, list_papers
from papers.statements import changed_after, remark
from surrogates.style import STYLE

WORDS = {True: "holds", False: "**does not hold**", None: "open"}
BEGIN, END = "<!-- the table of verdicts, which `python -m papers --all` writes -->", "<!-- end of the table -->"


def verdict_rows(paper: Paper) -> list[list[str]]:
    """Rows of claim, published, ours, interval, verdict; one row for each claim."""
    lines, rows = paper.lines(), []
    for claim in paper.claims:
        found = claim.finding(lines)
        said = remark(paper, claim, lines)
        verdict = WORDS[found.holds] + (f" ({said})" if said else "")
        rows.append([claim.sentence, claim.published, found.ours or "–", found.interval or "–", verdict])
    return rows


def hours(lines: Lines) -> str:
    """The processor time of these lines, in words."""
    seconds = sum(float(line.get("seconds", 0.0)) for line in lines)
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min" if seconds >= 6 else f"{seconds:.1f} s"


def describe(paper: Paper, results: Path | None = None) -> str:
    """A paper as text for a terminal: its claims, published figures and ours, the verdicts with their evidence."""
    lines, ledger = paper.lines(results), paper.ledger(results)
    parts = [f"{paper.title}\n{paper.reference}"]
    for claim in paper.claims:
        found = claim.finding(lines)
        ours, said = found.ours + (f" {found.interval}" if found.interval else ""), remark(paper, claim, lines)
        parts.append("\n".join([
            f"{claim.name}: {claim.sentence}",
            f"  published  {claim.published}",
            f"  ours       {ours or '–'}   ({claim.seeds} x {claim.budget})",
            f"  rule       {claim.check}",
            f"  verdict    {found}" + (f"  ({said})" if said else ""),
        ]))  # fmt: skip
    left = len(ledger.list_missing())
    rest = f"; {left} of {len(ledger.measurements)} are missing or older than the code: --run, or --recheck" if left else ""
    parts.append(f"{len(lines)} lines, {hours(lines)} of one core{rest}")
    return "\n\n".join(parts)


def list_verdicts() -> str:
    """All papers as text: one line for each paper, and below it one for each of its claims."""
    said = []
    for paper in map(find_paper, list_papers()):
        lines = paper.lines()
        said.append(f"{paper.name:<14}{paper.title} ({count_verdicts(paper, lines)}; {hours(lines)} of one core)")
        for claim in paper.claims:
            found, note = claim.finding(lines), remark(paper, claim, lines)
            said.append(f"    {_word(found.holds):<15}{claim.sentence}" + (f" ({note})" if note else ""))
    return "\n".join([*said, "", "python -m papers <name> shows one; --quick measures a fresh line of it; --run what is missing"])


def count_verdicts(paper: Paper, lines: Lines) -> str:
    """`4 of 5 claims hold, 2 of 5 were stated beforehand`."""
    hold = sum(claim.finding(lines).holds is True for claim in paper.claims)
    beforehand = sum(not changed_after(paper, claim) for claim in paper.claims)
    whole = len(paper.claims)
    return f"{hold} of {whole} claims hold, {beforehand} of {whole} were stated beforehand"


def _word(holds: bool | None) -> str:
    return WORDS[holds].strip("*")


def write_table() -> None:
    """Writes the table of all verdicts into README.md."""
    header, rows = ["paper", "claim", "published", "ours", "interval", "verdict"], []
    for paper in map(find_paper, list_papers()):
        page = f"{paper.name}/README.md" if (paper.folder / "README.md").is_file() else f"{paper.name}/claims.py"
        name = f"[{paper.name}]({page}), {hours(paper.lines())}"
        for row in verdict_rows(paper):
            rows.append([name, *row])
            name = ""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{markdown_table(header, rows)}\n{END}{after}", encoding="utf-8")


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
