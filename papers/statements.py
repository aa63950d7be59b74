"""Records when a claim was made, in every folder's claims.jsonl, which is committed before the first line is measured.

`python -m papers <name> --state` writes a record: {"claim", "digest", "sentence", "rows"}, and "first" where the claim's
seeds do not begin with 0. `rows` is the number of lines of the claim's own seeds in results.jsonl at that time. If it is above 0,
the claim was changed or added when the lines could be seen, and tables say so.
"""

from __future__ import annotations

import subprocess
from typing import Any

from experiments.ledger.lines import append_line, read_lines
from papers.paper import ROOT, Lines, Paper, PaperClaim


def read_statements(paper: Paper) -> dict[str, dict[str, Any]]:
    """The records of the paper by digest."""
    return {line["digest"]: line for line in read_lines(paper.folder / "claims.jsonl")}


def list_unstated(paper: Paper) -> list[PaperClaim]:
    """The claims that have no record of their present wording and rule."""
    there = read_statements(paper)
    return [claim for claim in paper.claims if claim.digest not in there]


def state(paper: Paper) -> list[PaperClaim]:
    """Writes a record for each claim that has none, and returns these claims."""
    lines, new = list(read_lines(paper.folder / "results.jsonl")), list_unstated(paper)
    for claim in new:
        record = {"claim": claim.name, "digest": claim.digest, "sentence": claim.sentence, "rows": len(claim.select(lines))}
        append_line(paper.folder / "claims.jsonl", {**record, **({"first": claim.first} if claim.first else {})})
    return new


def changed_after(paper: Paper, claim: PaperClaim) -> int:
    """How many of its lines there were when the claim was stated as it is now; 0 if it was stated before any was measured."""
    return int(read_statements(paper).get(claim.digest, {}).get("rows", 0))


def is_beforehand(paper: Paper, claim: PaperClaim) -> bool:
    """Whether a claim is recorded as it is now, and was so before any line by which it is judged."""
    return claim.digest in read_statements(paper) and not changed_after(paper, claim)


def remark(paper: Paper, claim: PaperClaim, lines: Lines) -> str:
    """A warning for readers of a verdict: the claim is not stated as it is now, it was made after a look at lines, or no line
    was measured for it; empty if nothing of this is true. `describe` says whether lines are older than the code."""
    mine = claim.select(lines)
    made_for = sum(claim.digest in line.get("claims", ()) for line in mine)
    said = [
        "the claim is not stated as it is now" if claim.digest not in read_statements(paper) else "",
        "made after a look at lines" if changed_after(paper, claim) else "",
        "no line was measured for the claim as it is now" if mine and not made_for else "",
    ]
    return "; ".join(filter(None, said))


def refusal(paper: Paper) -> str | None:
    """Why no line of the paper's own may be measured yet; None if all its claims are stated and committed."""
    if names := [claim.name for claim in list_unstated(paper)]:
        return (f"the claim {names[0]!r} of {paper.name} is not stated as it is now; state it with "
                f"`python -m papers {paper.name} --state` and commit, before anything is measured for it")
    asked = ["git", "status", "--porcelain", "--", f"{paper.name}/claims.jsonl"]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # without a repository this is not known
    return f"{paper.name}/claims.jsonl is not committed; commit it before anything is measured" if done.stdout.strip() else None
