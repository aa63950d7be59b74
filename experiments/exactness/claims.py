"""What is claimed of the results, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.ledger import Claim, Ledger, Verdict
from experiments.ledger.markdown import markdown_table

BOUNDS = {"posterior": 1e-8, "gradients": 1e-6, "tails": 5e-12}  # of the largest error of each part

Line = Mapping[str, Any]


def is_within(entry: Line, bound: float) -> bool:
    """Whether an error is finite and at most the bound."""
    return entry["error"] is not None and entry["error"] <= bound


def format_error(entry: Line) -> str:
    return "infinitely" if entry["error"] is None else f"{entry['error']:.1e}"


def judge_errors(lines: Sequence[Line]) -> Verdict:
    """Whether every error of every part is within its bound."""
    parts = [line for line in lines if line["part"] in BOUNDS]
    broken = [f"{line['part']}: {name} is {format_error(entry)} off at {entry['where']}" for line in parts
              for name, entry in line["errors"].items() if not is_within(entry, BOUNDS[line["part"]])]  # fmt: skip
    if not broken and {line["part"] for line in parts} != {*BOUNDS}:
        return Verdict(None, "not every part is measured yet")
    return Verdict(not broken, "; ".join(broken) or "all errors are within")


def judge_fuzz(lines: Sequence[Line]) -> Verdict:
    """Whether no ugly data set failed, and none warned."""
    line = next((line for line in lines if line["part"] == "fuzz"), None)
    if line is None:
        return Verdict(None, "no ugly data set is measured yet")
    broken = [f"case {number} failed: {said}" for number, said in line["failures"].items()]
    broken += [f"{count} warnings: {text}" for text, count in line["warnings"].items()]
    return Verdict(not broken, "; ".join(broken) or f"{line['cases']:,} cases, 0 failures, 0 warnings")


CLAIMS = (
    Claim("Errors are at most " + ", ".join(f"{bound:g} ({part})" for part, bound in BOUNDS.items()) + ".", judge_errors),
    Claim("From no ugly data set to a proposal does anything raise, warn, get infinite or illegal.", judge_fuzz),
)


def exactness_table(ledger: Ledger) -> str:
    """Errors in Markdown, and a line a part of what else there is."""
    lines = {line["part"]: line for line in ledger.latest().values()}
    rows = [[f"{part}: {name}", format_error(entry), f"{bound:g}", entry["where"]] for part, bound in BOUNDS.items()
            if part in lines for name, entry in lines[part]["errors"].items()]  # fmt: skip
    return "\n".join([markdown_table(["what", "largest error", "claim", "where"], rows), "", *map(remark, lines.values())])


def remark(line: Line) -> str:
    """How much was measured, with what, in how many processor seconds."""
    said = f"{line['part']}: {line['problems']:,} problems" if "problems" in line else fuzz_remark(line)
    if "orders" in line:
        said += f"; EI over {line['orders']['EI']:,} orders of magnitude, log EI over {line['orders']['log EI']:,}"
    made = ", ".join(f"{name} {value}" for name, value in line["versions"].items())
    return f"{said}; {line['seconds']:.0f} s; made by {made}."


def fuzz_remark(line: Line) -> str:
    """Failures, warnings, seconds, and what the ugly data sets were."""
    slowest = line["slowest"]
    return (
        f"fuzz: {line['cases']:,} cases, {len(line['failures'])} failures, {sum(line['warnings'].values())} warnings;"
        f" {1e3 * line['seconds a case']:.0f} ms a case, at most {slowest['seconds']:.1f} s (case {slowest['number']}); of these "
        + ", ".join(f"{name} {count:,}" for name, count in line["what"].items())
    )
