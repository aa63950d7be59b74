"""How well a short training predicts the whole: rank correlations between the rungs of the main job.

    python -m experiments.rungs                       # trains what is missing (resumable), then prints the table
    python -m experiments.rungs --table               # only prints it, from experiments/results/rungs.jsonl

Random configurations of the main job are all trained through every rung to the horizon; nothing is stopped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.job import HORIZON, MIN_RESOURCE, REDUCTION, GPTObjective, space
from hpo.executors.processes import Processes
from hpo.logs import SQLiteLog
from hpo.optimizers import MedianStopping, Random
from hpo.run import Stop, run
from hpo.study import Study

RESULTS = Path(__file__).parent / "results" / "rungs.jsonl"
TRIALS = 40
RUNGS = tuple(MIN_RESOURCE * REDUCTION**k for k in range(3))


def measure(folder: Path) -> None:
    """Trains the configurations (resuming what is in the folder) and writes one line a trial and rung."""
    folder.mkdir(parents=True, exist_ok=True)
    # a rule that never stops anybody: every rung has fewer than `grace_trials` in it
    through = MedianStopping(Random(space(), seed=0), rungs=RUNGS, max_resource=HORIZON, grace_trials=TRIALS + 1)
    study = Study(through, unit="tokens", log=SQLiteLog(folder / "log.sqlite"))
    run(study, Processes(GPTObjective(), HORIZON, folder / "checkpoints", workers=1, lookahead=1), Stop(trials=TRIALS))
    rows = [
        {"trial": trial, "until": until, "loss": study.trial((trial, until)).value, "config": study.trial((trial, until)).config}
        for trial, until in study.history.finished
    ]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Spearman's rank correlation of every rung with the whole training: over all, and among the rung's best third."""
    losses = {(row["trial"], row["until"]): row["loss"] for row in rows}
    whole = sorted(trial for trial, until in losses if until == HORIZON and np.isfinite(losses[trial, until]))
    end = np.array([losses[trial, HORIZON] for trial in whole])
    lines = ["| rung, tokens | share of the training | all | best third at the rung |", "|---|---|---|---|"]
    for rung in RUNGS:
        early = np.array([losses[trial, rung] for trial in whole])
        third = np.argsort(early)[: len(early) // 3]
        lines.append(
            f"| {rung:,} | 1/{HORIZON // rung} | {correlation(early, end)} | {correlation(early[third], end[third])} |"
        )
    return "\n".join([*lines, f"\n{len(whole)} configurations that did not diverge; 95 % bootstrap intervals."])


def correlation(first: np.ndarray, second: np.ndarray) -> str:
    """`0.83 [0.71, 0.90]`."""

    def spearman(a: np.ndarray, b: np.ndarray) -> float:
        return float(stats.spearmanr(a, b).statistic)

    rng = np.random.default_rng(0)
    found = stats.bootstrap(
        (first, second), spearman, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=rng
    ).confidence_interval
    return f"{spearman(first, second):.2f} [{found.low:.2f}, {found.high:.2f}]"


def main(arguments: list[str]) -> None:
    """The command line: see the top of the file."""
    if arguments not in ([], ["--table"]):
        print(f"python -m experiments.rungs takes nothing or --table, but {arguments} came", file=sys.stderr)
        raise SystemExit(2)
    if not arguments:
        measure(Path("runs") / "rungs")
    print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))


if __name__ == "__main__":
    main(sys.argv[1:])
