"""When a claim was made: every folder's claims.jsonl, which is committed before the first line is measured.

A record is written by `python -m papers <name> --state`: {"claim", "digest", "sentence", "rows"}. `rows` says how many lines
stood in results.jsonl then; above 0 the claim was changed, or added, after a look at them, and tables say so.
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
    """The claims that have no record as they are now."""
    there = read_statements(paper)
    return [claim for claim in paper.claims if claim.digest not in there]


def state(paper: Paper) -> list[PaperClaim]:
    """Writes records of the claims that have none, and returns these claims."""
    rows, new = len(list(read_lines(paper.folder / "results.jsonl"))), list_unstated(paper)
    for claim in new:
        record = {"claim": claim.name, "digest": claim.digest, "sentence": claim.sentence, "rows": rows}
        append_line(paper.folder / "claims.jsonl", record)
    return new


def changed_after(paper: Paper, claim: PaperClaim) -> int:
    """How many lines had been there when the claim was stated as it is now; 0 for one that was made beforehand."""
    return int(read_statements(paper).get(claim.digest, {}).get("rows", 0))


def remark(paper: Paper, claim: PaperClaim, lines: Lines) -> str:
    """What a reader of a verdict must know: that the claim is not stated as it is, that it was made after a look, that
    no line was measured for it; empty if none of it is so. Whether lines are older than the code, `describe` says."""
    made_for = sum(claim.digest in line.get("claims", ()) for line in lines)
    said = [
        "the claim is not stated as it is now" if claim.digest not in read_statements(paper) else "",
        "made after a look at lines" if changed_after(paper, claim) else "",
        "no line was measured for the claim as it is now" if lines and not made_for else "",
    ]
    return "; ".join(filter(None, said))


def refusal(paper: Paper) -> str | None:
    """Why nothing may be measured into the paper's own lines yet; None if all its claims are stated and committed."""
    if names := [claim.name for claim in list_unstated(paper)]:
        return (f"the claim {names[0]!r} of {paper.name} is not stated as it is now; state it with "
                f"`python -m papers {paper.name} --state` and commit, before anything is measured for it")
    asked = ["git", "status", "--porcelain", "--", f"{paper.name}/claims.jsonl"]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # no repository: nobody can tell
    return f"{paper.name}/claims.jsonl is not committed; commit it before anything is measured" if done.stdout.strip() else None
