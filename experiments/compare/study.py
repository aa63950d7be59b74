"""One study of one minute, in a process of its own: `python -m experiments.compare.study METHOD SEED` prints its line.

The minute runs from the start of the process: spawning, importing, loading and asking are in it, judging is not.
"""

from __future__ import annotations

import time

BEGUN = time.perf_counter()  # before the imports: they are part of a study's minute

import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from experiments.job import (  # noqa: E402
    DEFAULT,
    HORIZON,
    MIN_RESOURCE,
    REDUCTION,
    TRAINABLE,
    GPTObjective,
    job_grid,
    judge_checkpoint,
    space,
)
from experiments.ledger.environment import environment  # noqa: E402
from hpo.executors import standing_name  # noqa: E402
from hpo.executors.processes import Processes  # noqa: E402
from hpo.loop import Stop  # noqa: E402
from hpo.optimizer import Optimizer  # noqa: E402
from hpo.optimizers import ASHA, GP, PBT, Grid, Hyperband, Manual, Random  # noqa: E402
from hpo.run import run  # noqa: E402
from hpo.space import Space  # noqa: E402
from hpo.study import Study  # noqa: E402

SECONDS = 60.0
LOW, HIGH, ETA = MIN_RESOURCE, HORIZON, REDUCTION
METHODS: dict[str, Callable[[Space, int], Optimizer]] = {  # as a user of the main job would make them
    "default": lambda space, seed: Manual(space, seed=seed, configs=[DEFAULT]),
    "grid": lambda space, seed: Grid(space, seed=seed, values=job_grid()),
    "random": lambda space, seed: Random(space, seed=seed),
    "GP": lambda space, seed: GP(space, seed=seed, initial=4),
    "Hyperband": lambda space, seed: Hyperband(Random(space, seed=seed), LOW, HIGH, ETA),
    "ASHA(random)": lambda space, seed: ASHA(Random(space, seed=seed), LOW, HIGH, ETA),
    "ASHA(GP)": lambda space, seed: ASHA(GP(space, seed=seed), LOW, HIGH, ETA),
    "PBT": lambda space, seed: PBT(
        Random(space, seed=seed), population=10, generations=9, max_resource=HIGH, explore=TRAINABLE
    ),
}


def study_minute(name: str, seed: int) -> dict[str, Any]:
    """A line: the study's minute, then its best checkpoint judged."""
    objective = GPTObjective()
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        study = Study(METHODS[name](space(), seed), unit="tokens", horizon=HORIZON)
        if name not in ("default", "grid"):
            study.optimizer.enqueue(DEFAULT)
        begun = time.perf_counter() - BEGUN  # the driver's own imports
        pool = Processes(objective, HORIZON, folder, workers=1, lookahead=1)
        limit = None if name == "default" else SECONDS - (time.perf_counter() - BEGUN)
        run(study, pool, Stop(seconds=limit))
        seconds = time.perf_counter() - BEGUN
        found = {"seconds": seconds, "driver_seconds": begun, **judge_best(study, Path(folder)), **worker_seconds(study)}
        return {**found, **environment("torch", "numpy", "scipy")}


def judge_best(study: Study, folder: Path) -> dict[str, Any]:
    """The best checkpoint on many tokens; without any success, the loss of guessing."""
    if not study.successes():
        return {"loss": None, "until": 0, "config": None}
    best = study.best
    loss = judge_checkpoint(folder / standing_name(study.history, best.key), best.config, best.seed, HORIZON, best.until)
    return {"loss": loss, "searched_loss": best.value, "until": best.until, "config": dict(best.config)}


def worker_seconds(study: Study) -> dict[str, Any]:
    """Where the worker's seconds went, over finished jobs."""
    results = [result.system for result in study.history.results.values()]
    names = ("seconds", "birth_seconds", "idle_seconds", "setup_seconds", "save_seconds")
    total = {f"worker_{name}": round(sum(m.get(name, 0.0) for m in results), 3) for name in names}
    return {"trials": len(study.history.trials), "jobs": len(results), **total}


if __name__ == "__main__":
    print(json.dumps(study_minute(sys.argv[1], int(sys.argv[2]))))
