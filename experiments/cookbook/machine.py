"""One of several machines that search together: a driver of a study in a database.

    python -m experiments.cookbook.machine mysql://user@host/lm?study=gpt&pool_size=20&max_overflow=0 --folder SHARED

is what every machine runs, as often as there are machines (`--machines`, whose trials are counted together, so that those of a
machine that dies are run by the others). A trial that one driver paused at a rung may be trained on by another, from its
checkpoint in the shared folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import hpo
from experiments.cookbook.gpt import RANGES, start_training
from experiments.cookbook.median_pruning import END, RUNGS
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import build_space

MACHINES = 3
EACH = 10  # trials a machine


def join_search(url: str, folder: Path, scale: Reduction, machines: int = MACHINES) -> hpo.Study:
    """One driver's part of the study."""
    space = build_space(RANGES, scale.seed)
    rungs = [scale.count_steps(steps) for steps in RUNGS]

    def train(config: Mapping[str, Any], seed: int, horizon: int) -> Any:
        return start_training(config, scale, END)

    optimizer = hpo.MedianStopping(hpo.TPE(space, seed=scale.seed), rungs=rungs, max_resource=rungs[-1])
    trials = machines * scale.count_trials(EACH)
    return hpo.minimize(train, space, optimizer, trials, unit="steps", log=url, folder=folder, quiet=True)


def main(
    url: Annotated[str, typer.Argument(help="the study in a database")],
    folder: Annotated[Path, typer.Option(help="where checkpoints stand, for all machines alike")],
    machines: Annotated[int, typer.Option(help="how many there are")] = MACHINES,
    width: int = Reduction.width,
    texts: int = Reduction.texts,
    steps: int = Reduction.steps,
    trials: Annotated[int, typer.Option(help="of each machine")] = EACH,
    seed: int = Reduction.seed,
) -> None:
    """A machine's part of a distributed search with median pruning."""
    join_search(url, folder, Reduction(width, texts, steps, trials, seed), machines)


if __name__ == "__main__":
    typer.run(main)
