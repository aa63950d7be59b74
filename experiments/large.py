"""What a GP ask costs in a large study: CPU seconds and memory of five consecutive asks after n results.

    python -m experiments.large                       # at 1,000, 3,000, 10,000 and 20,000 results
    python -m experiments.large --n 10000 --d 12
    python -m experiments.large --table               # only prints what experiments/results/large.jsonl holds

Each size is measured in a process of its own: the peak is that of the process, its interpreter and libraries (about 100 MB)
and the history in memory among it. Results are told without being asked for, so that nothing is kept from earlier asks: the
first ask is one after reopening a study, without the reading of its log. The fits that its log would hold are recorded with
it, so that the first ask makes none but those that are due; with --due a fit falls due at the first ask.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from experiments.ledger import Data, Ledger, Measurement, Recheck, Results, Seconds, Table, conduct, new_app, use_data
from experiments.ledger.children import run_python
from experiments.ledger.command import keep_lines
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
from hpo import GP, Float, History, Job, Note, Result, Space
from hpo.optimizer import Optimizer
from surrogates import Hyperparameters

RESULTS = Path(__file__).parent / "results" / "large.jsonl"
ASKS = 5


def large_study(n: int, d: int, due: bool = False) -> Optimizer:
    """A GP that has been told n results of a noisy bowl over d numbers, the last fit standing in a note."""
    optimizer = GP(Space({f"x{i}": Float(0.0, 1.0) for i in range(d)}))
    history, rng = History(optimizer.header()), np.random.default_rng(0)
    theta = Hyperparameters((float(np.log(0.5)),) * d, 0.0, float(np.log(1e-3)), 0.0)
    length = n - n // 8 if due else n - n // 16
    fit = {"n": length, "thetas": [theta.to_list()]}
    for trial in range(n):
        x = np.clip(0.4 + 0.25 * rng.standard_normal(d), 0.0, 1.0)
        config = {f"x{i}": float(v) for i, v in enumerate(x)}
        record = {"gp": {"loss": fit, "loss overall": fit}} if trial == length else {}
        job = Job(trial, config, 1, seed=trial, note=Note(record=record))
        history.start(job, len(history))
        history.finish(job, Result({"loss": float(((x - 0.3) ** 2).sum() + 0.03 * rng.standard_normal())}))
    optimizer.bind(history)
    return optimizer


def peak_memory() -> float:
    """The largest resident size of this process so far, in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size / 1e3


def measure_asks(n: int, d: int, due: bool) -> dict[str, Any]:
    """CPU seconds of every ask, the peak in MB before and after them, in this process."""
    optimizer, seconds = large_study(n, d, due), []
    before = peak_memory()
    for i in range(ASKS):
        begun = time.process_time()
        job = optimizer.ask()
        seconds.append(round(time.process_time() - begun, 3))
        assert job is not None
        optimizer.tell(job, float(sum((v - 0.3) ** 2 for v in job.config.values())) + 0.01 * i)
    return {"seconds": seconds, "before": round(before), "after": round(peak_memory()), **environment("numpy", "scipy")}


def in_process(n: int, d: int, due: bool) -> dict[str, Any]:
    """`measure_asks` in a process of its own."""
    code = f"import json, experiments.large as large; print(json.dumps(large.measure_asks({n}, {d}, {due})))"
    return run_python("-c", code)  # type: ignore[no-any-return]


def asks_measurement(n: int, d: int, due: bool) -> Measurement:
    """Five asks after n results over d parameters."""
    key = {"n": n, "d": d, "due": due}
    sources = ("experiments.large:measure_asks", *STUDY, *gp_rows().values())
    return Measurement(key, partial(in_process, n, d, due), sources, group=str(key))


def open_large(path: Path, wanted: Sequence[Measurement] = ()) -> Ledger:
    """What is wanted; without anything wanted, what the file has."""
    return Ledger(path, wanted) if wanted else Ledger.of_file(path, ("n", "d", "due"), asks_measurement)


def asks_table(ledger: Ledger) -> str:
    """A line a size of what the file has."""
    head = ["results", "parameters", "a fit falls due", "CPU seconds of five asks", "MB before", "MB after"]
    rows = []
    for line in open_large(ledger.path).latest().values():
        times = " ".join(f"{value:.2f}" for value in line["seconds"])
        rows.append([f"{line['n']:,}", line["d"], "yes" if line["due"] else "no", times, line["before"], line["after"]])
    return markdown_table(head, rows)


app = new_app()


@app.command(help=keep_lines(__doc__))
def main(
    n: Annotated[list[int] | None, typer.Option(min=1, help="results before the asks; may come several times")] = None,
    d: Annotated[int, typer.Option(min=1, help="parameters")] = 6,
    due: Annotated[bool, typer.Option("--due", help="let a fit fall due at the first ask")] = False,
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
) -> None:  # fmt: skip
    use_data(data)
    wanted = [] if table or recheck else [asks_measurement(size, d, due) for size in n or (1_000, 3_000, 10_000, 20_000)]
    conduct(open_large(results, wanted), asks_table, table, recheck, seconds)


if __name__ == "__main__":
    app()
