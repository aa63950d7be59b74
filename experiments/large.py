"""What a GP ask costs in a large study: CPU seconds and memory of five consecutive asks after n results.

    python -m experiments.large                       at 1,000, 3,000, 10,000 and 20,000 results
    python -m experiments.large --n 10000 --d 12

Each size is measured in a process of its own: the peak is that of the process, its interpreter and libraries (about 100 MB)
and the history in memory among it. Results are told without being asked for, so that nothing is kept from earlier asks: the
first ask is one after reopening a study, without the reading of its log. The fits that its log would hold are recorded with
it, so that the first ask makes none but those that are due; with --due a fit falls due at the first ask.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
import typer

from hpo import GP, Float, History, Job, Note, Result, Space
from hpo.optimizer import Optimizer
from surrogates import Hyperparameters

ASKS = 5


def study(n: int, d: int, due: bool = False) -> Optimizer:
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


def peak() -> float:
    """The largest resident size of this process so far, in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size / 1e3


def measure(n: int, d: int, due: bool) -> str:
    """A line: n, CPU seconds of every ask, the peak before and after them."""
    optimizer, seconds = study(n, d, due), []
    before = peak()
    for i in range(ASKS):
        begun = time.process_time()
        job = optimizer.ask()
        seconds.append(f"{time.process_time() - begun:5.2f}")
        assert job is not None
        optimizer.tell(job, float(sum((v - 0.3) ** 2 for v in job.config.values())) + 0.01 * i)
    return f"{n:>7} {' '.join(seconds)} {before:>8.0f} {peak():>8.0f}"


def main(
    n: Annotated[list[int] | None, typer.Option(help="results before the asks; may come several times")] = None,
    d: Annotated[int, typer.Option(help="parameters")] = 6,
    due: Annotated[bool, typer.Option(help="let a fit fall due at the first ask")] = False,
    here: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """CPU seconds and peak memory (MB) of five consecutive asks of a GP; one of them looks at another part of the space."""
    if here and n:
        print(measure(n[0], d, due))
        return
    print(f"{'results':>7} {'CPU seconds of five asks':<{6 * ASKS - 1}} {'MB then':>8} {'MB after':>8}", flush=True)
    for size in n or (1_000, 3_000, 10_000, 20_000):
        command = [sys.executable, "-m", "experiments.large", "--here", "--n", str(size), "--d", str(d)]
        subprocess.run([*command, *(["--due"] if due else [])], check=True)


if __name__ == "__main__":
    typer.run(main)
