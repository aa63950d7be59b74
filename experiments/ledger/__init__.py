"""Keeps results: missing ones are measured, each is a line in a file, and tables know which lines are older than the code.

    lines.py        records in a file, one on each line, appended whole
    digest.py       a digest of the code that a line depends on, and of no other code
    measurement.py  Measurement: a key, how it is measured, the code that it depends on
    ledger.py       Ledger: which lines are current, missing or stale; measure, recheck
    claims.py       sentences, each with a rule that decides whether it holds
    sources.py      rows of registries that measurements use
    markdown.py     tables for pages
    intervals.py    means with bootstrap intervals
    environment.py  what numbers depend on besides the code: versions, machine
    children.py     measurements in separate processes
    command.py      the command line of every experiment
"""

from experiments.ledger.claims import Claim, Verdict
from experiments.ledger.command import Data, Recheck, Results, Seconds, Table, command, conduct, new_app, use_data
from experiments.ledger.digest import digest
from experiments.ledger.ledger import Ledger
from experiments.ledger.lines import append_line, read_lines
from experiments.ledger.measurement import Measurement

__all__ = [
    "Claim", "Data", "Ledger", "Measurement", "Recheck", "Results", "Seconds", "Table", "Verdict", "append_line", "command",
    "conduct", "digest", "new_app", "read_lines", "use_data",
]  # fmt: skip
