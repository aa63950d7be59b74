"""Several machines, one database, median pruning, 10 trials each (guide A, 12).

    python -m experiments.cookbook.several_machines mysql://user@host/lm?study=gpt&pool_size=20&max_overflow=0 --folder SHARED

is what every machine runs, as often as there are machines (`--machines`, whose trials are counted together, so that those of a
machine that dies are run by the others). `python -m experiments.cookbook several_machines` starts three such processes here,
with the database that COOKBOOK_DATABASE names, or an SQLite file of several studies. A trial that one driver paused at a rung may
be trained on by another, from its checkpoint in the shared folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import hpo
from experiments.cookbook.gpt import RANGES, default_loss, start_training
from experiments.cookbook.median_pruning import END, RUNGS
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import build_space, has_whole_heads

MACHINES = 3
EACH = 10  # trials a machine
POOL = "pool_size=20&max_overflow=0"
VARIABLE = "COOKBOOK_DATABASE"
ROOT = Path(__file__).resolve().parents[2]


def join_search(url: str, folder: Path, scale: Reduction, machines: int = MACHINES) -> hpo.Study:
    """One driver's part of the study."""
    space = build_space(RANGES, scale.seed)
    rungs = [scale.count_steps(steps) for steps in RUNGS]

    def train(config: Mapping[str, Any], seed: int, horizon: int) -> Any:
        return start_training(config, scale, END)

    optimizer = hpo.MedianStopping(hpo.TPE(space, seed=scale.seed), rungs=rungs, max_resource=rungs[-1])
    trials = machines * scale.count_trials(EACH)
    return hpo.minimize(train, space, optimizer, trials, unit="steps", log=url, folder=folder, quiet=True)


def several_machines(scale: Reduction) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get(VARIABLE, f"sqlite:///{folder}/studies.db?study=machines")
        url += f"{'&' if '?' in url else '?'}{POOL}"
        command = [sys.executable, "-m", "experiments.cookbook.several_machines", url, "--folder", f"{folder}/checkpoints"]
        sizes = [f"--{name}={value}" for name, value in vars(scale).items() if value is not None]
        drivers = [subprocess.Popen([*command, *sizes], cwd=ROOT) for _ in range(MACHINES)]
        if any([driver.wait() for driver in drivers]):
            raise RuntimeError("a driver ended with an error, which stands above")
        study = hpo.load(url, constraints=[has_whole_heads])
        study.history.log.close()
    starts = Counter(event.body.get("driver") for event in study.history.events if event.kind == "start")
    facts = {"database": url.partition(":")[0], "trials": len(study.history.trials), "to the end": len(study.successes()),
             "jobs by driver": ", ".join(str(count) for _, count in sorted(starts.items())),
             "best": format_config(study.best.config)}  # fmt: skip
    return Outcome("loss", study.best.value, {"default": default_loss(scale, END)}, facts=facts)


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
