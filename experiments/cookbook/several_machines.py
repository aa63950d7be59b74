"""Several machines, one database, median pruning, 10 trials each (guide A, 12).

Starts three drivers on this machine, each of which does what machine.py says, with the database that COOKBOOK_DATABASE names, or
an SQLite file of several studies.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import hpo
from experiments.cookbook.gpt import default_loss
from experiments.cookbook.machine import MACHINES
from experiments.cookbook.median_pruning import END
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import has_whole_heads

POOL = "pool_size=20&max_overflow=0"
VARIABLE = "COOKBOOK_DATABASE"
ROOT = Path(__file__).resolve().parents[2]


def several_machines(scale: Reduction) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get(VARIABLE, f"sqlite:///{folder}/studies.db?study=machines")
        url += f"{'&' if '?' in url else '?'}{POOL}"
        command = [sys.executable, "-m", "experiments.cookbook.machine", url, "--folder", f"{folder}/checkpoints"]
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
