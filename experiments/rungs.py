"""How well a short training predicts the whole: rank correlations between the rungs of the main job.

    python -m experiments.rungs                       # trains what is missing, then prints the table
    python -m experiments.rungs --table               # only prints it, from experiments/results/rungs.jsonl

Random configurations of the main job are all trained through every rung to the horizon; nothing is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from experiments.job import HORIZON, MIN_RESOURCE, REDUCTION, GPTObjective, space
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import training_rows
from hpo.job import Job
from hpo.optimizers.random import Random

if TYPE_CHECKING:
    from models.train import TrainRun

RESULTS = Path(__file__).parent / "results" / "rungs.jsonl"
TRIALS = 40
RUNGS = tuple(MIN_RESOURCE * REDUCTION**k for k in range(4))


@lru_cache(maxsize=1)
def random_jobs() -> list[Job]:
    """The configurations that a random search with seed 0 asks for first, and their seeds."""
    optimizer = Random(space(), seed=0)
    return [job for job in (optimizer.ask() for _ in range(TRIALS)) if job is not None]


@lru_cache(maxsize=1)
def train_run(trial: int) -> TrainRun:
    """A trial's training, kept for its next rung."""
    job = random_jobs()[trial]
    return GPTObjective()(job.config, job.seed, HORIZON)


def measure_rung(trial: int, until: int) -> dict[str, Any]:
    """The loss of a trial at a rung; None where it has diverged."""
    if train_run(trial).tokens >= until:  # it is past what is asked for
        train_run.cache_clear()
    loss = float(train_run(trial).advance(until)[0]["loss"])
    return {"loss": loss if np.isfinite(loss) else None, "config": dict(random_jobs()[trial].config)}


def rungs_measurements() -> Iterator[Measurement]:
    """Trial by trial, from the lowest rung to the horizon."""
    for trial in range(TRIALS):
        for until in RUNGS:
            run = partial(measure_rung, trial, until)
            sources = ("experiments.rungs:measure_rung", *training_rows("adamw", "sgd"))
            yield Measurement({"trial": trial, "until": until}, run, sources, group="rungs")


def rungs_table(ledger: Ledger) -> str:
    """Spearman's rank correlation of every rung with the whole training: over all, and among the rung's best third.

    Left out are trials that diverged, or that are not there whole: a rung missing, or measured in another space than others.
    """
    lines = list(ledger.latest().values())
    trials = [[line for line in lines if line["trial"] == trial] for trial in range(TRIALS)]
    whole = [mine for mine in trials if is_whole(mine)]
    losses = {rung: np.array([mine[i]["loss"] for mine in whole]) for i, rung in enumerate(RUNGS)}
    end, rows = losses[HORIZON], []
    for rung, early in list(losses.items())[:-1]:
        third = np.argsort(early)[: len(early) // 3]
        cells = [rank_correlation(early[some], end[some]) for some in (slice(None), third)]
        rows.append([f"{rung:,}", f"1/{HORIZON // rung}", *cells])
    table = markdown_table(["rung, tokens", "share of the training", "all", "best third at the rung"], rows)
    return f"{table}\n\n{len(whole)} configurations that did not diverge; 95 % bootstrap intervals."


def is_whole(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a trial's lines are of every rung, of one configuration, and of losses that are finite at the horizon."""
    same = all(line["config"] == lines[0]["config"] for line in lines)
    return len(lines) == len(RUNGS) and same and all(line["loss"] is not None for line in lines)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> str:
    """`0.83 [0.71, 0.90]`; "-" for fewer than three pairs."""

    def spearman(a: np.ndarray, b: np.ndarray) -> float:
        return float(stats.spearmanr(a, b).statistic)

    if len(first) < 3:
        return "-"
    rng = np.random.default_rng(0)
    found = stats.bootstrap(
        (first, second), spearman, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=rng
    ).confidence_interval
    return f"{spearman(first, second):.2f} [{found.low:.2f}, {found.high:.2f}]"


def open_rungs(path: Path) -> Ledger:
    """The ledger of this experiment."""
    return Ledger(path, list(rungs_measurements()))


app = command(__doc__, RESULTS, open_rungs, rungs_table)

if __name__ == "__main__":
    app()
