"""The command: `python -m experiments.exactness`, see the top of the package.

Exit codes: 0 every claim holds, 1 one does not (the table says which), 2 arguments that do not fit.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from experiments.exactness.fuzz import fuzz, replay_case
from experiments.exactness.gradients import gradients
from experiments.exactness.measure import FULL, QUICK, Size
from experiments.exactness.posterior import posterior
from experiments.exactness.store import broken, read, table, versions, write
from experiments.exactness.tails import tails

PARTS = {"posterior": posterior, "gradients": gradients, "tails": tails, "fuzz": fuzz}


def measure(size: Size) -> dict[str, Any]:
    """Everything, on one thread."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {"versions": versions(), "seconds": {}}
    for name, part in PARTS.items():
        begun = time.process_time()
        results[name] = part(size)
        results["seconds"][name] = round(time.process_time() - begun, 1)
    return results


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.exactness", description="How exact the GP is.")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--table", action="store_true", help="only print what is stored")
    chosen.add_argument("--quick", action="store_true", help="everything small; stores nothing")
    chosen.add_argument("--case", type=int, metavar="N", help="one ugly data set again")
    asked = parser.parse_args(arguments)
    if asked.case is not None:
        if asked.case < 0:
            parser.error(f"--case is {asked.case}; allowed are 0 and more")
        replay_case(asked.case)
        return 0
    results = read() if asked.table else measure(QUICK if asked.quick else FULL)
    if not (asked.table or asked.quick):
        write(results)
    print(table(results))
    return int(bool(broken(results)))


if __name__ == "__main__":
    raise SystemExit(main())
