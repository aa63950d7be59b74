"""Results that are kept: what is missing is measured, a line is appended, and tables know when a line is older than the code.

    lines.py        records in a file, one a line, appended whole
    digest.py       a name for the code that a line depends on, by use
    measurement.py  Measurement: a key, how it is measured, what it depends on
    ledger.py       Ledger: what is current, missing and stale; measure, recheck
    claims.py       sentences with a rule that says whether they hold
    sources.py      rows of registries that measurements use
    markdown.py     tables for pages
    environment.py  what numbers depend on beside the code
    children.py     measurements in processes of their own
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
