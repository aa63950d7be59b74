"""Every method on one-minute studies of the main job: paired seeds, equal seconds, one worker a study.

    python -m experiments.compare                     # runs what is missing, two studies at a time, then prints the table
    python -m experiments.compare --table             # only prints the table, from experiments/results/compare.jsonl

A study's minute runs from the start of its process: spawning, importing, loading and asking are in it. What is compared
is the checkpoint that the study would hand over at the end (its best), measured anew on 65,536 tokens of the validation
text, where the search itself had looked at 8,192. Every search starts from the default configuration as its first trial,
as `experiments.tune` does (the grid has it as its first point). The default configuration is trained once to the
horizon, however long that takes. Each study writes one line of results with versions; a line that is there is not run
again.
"""

from __future__ import annotations

import time

BEGUN = time.perf_counter()  # before the imports: they are part of a study's minute

import concurrent.futures  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from experiments.job import DEFAULT, HORIZON, MIN_RESOURCE, REDUCTION, TRAINABLE, GPTObjective, grid_values, space  # noqa: E402
from hpo.executors import checkpoint_name  # noqa: E402
from hpo.executors.processes import Processes  # noqa: E402
from hpo.optimizer import Optimizer  # noqa: E402
from hpo.optimizers import ASHA, GP, PBT, Grid, Hyperband, Manual, Random  # noqa: E402
from hpo.run import Stop, run  # noqa: E402
from hpo.study import Study  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "compare.jsonl"
METHODS = ("default", "grid", "random", "GP", "Hyperband", "ASHA(random)", "ASHA(GP)", "PBT")
SEEDS = 10
SECONDS = 60.0
JUDGED_ON = 65_536  # tokens of the validation text


def method(name: str, seed: int) -> Optimizer:
    """The optimizers as a user of the main job would make them."""
    whole, low, high, eta = space(), MIN_RESOURCE, HORIZON, REDUCTION
    made: dict[str, Any] = {
        "default": lambda: Manual(whole, seed=seed, configs=[DEFAULT]),
        "grid": lambda: Grid(whole, seed=seed, values=grid_values()),
        "random": lambda: Random(whole, seed=seed),
        "GP": lambda: GP(whole, seed=seed, initial=4),
        "Hyperband": lambda: Hyperband(Random(whole, seed=seed), low, high, eta),
        "ASHA(random)": lambda: ASHA(Random(whole, seed=seed), low, high, eta),
        "ASHA(GP)": lambda: ASHA(GP(whole, seed=seed), low, high, eta),
        "PBT": lambda: PBT(Random(whole, seed=seed), population=10, generations=9, max_resource=high, explore=TRAINABLE),
    }
    optimizer: Optimizer = made[name]()
    return optimizer


def one(name: str, seed: int) -> dict[str, Any]:
    """One study: its minute, then its best checkpoint judged."""
    objective = GPTObjective()
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        study = Study(method(name, seed), unit="tokens", horizon=HORIZON)
        if name not in ("default", "grid"):
            study.optimizer.enqueue(DEFAULT)
        begun = time.perf_counter() - BEGUN  # the driver's own imports
        pool = Processes(objective, HORIZON, folder, workers=1, lookahead=1)
        limit = None if name == "default" else SECONDS - (time.perf_counter() - BEGUN)
        run(study, pool, Stop(seconds=limit))
        seconds = time.perf_counter() - BEGUN
        first = {"method": name, "seed": seed, "seconds": seconds, "driver_seconds": begun}
        return {**first, **judged(study, Path(folder)), **spent(study), **about()}


def judged(study: Study, folder: Path) -> dict[str, Any]:
    """The best checkpoint on many tokens; without any success, the loss of guessing."""
    if not study.successes():
        return {"loss": None, "until": 0, "config": None}
    best = study.best
    judge = GPTObjective(eval_tokens=JUDGED_ON)(best.config, best.seed, HORIZON)
    judge.load(str(folder / checkpoint_name(best.key)))
    metrics, _ = judge.advance(best.until)
    return {"loss": metrics["loss"], "searched_loss": best.value, "until": best.until, "config": dict(best.config)}


def spent(study: Study) -> dict[str, Any]:
    """Where the worker's seconds went, over finished jobs."""
    results = [result.system for result in study.history.results.values()]
    names = ("seconds", "birth_seconds", "idle_seconds", "setup_seconds", "save_seconds")
    total = {f"worker_{name}": round(sum(m.get(name, 0.0) for m in results), 3) for name in names}
    return {"trials": len(study.history.trials), "jobs": len(results), **total}


def about() -> dict[str, Any]:
    """What a number of seconds depends on."""
    versions = {name: version(name) for name in ("torch", "numpy", "scipy")}
    return {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(), **versions}


def rows() -> list[dict[str, Any]]:
    """What has been measured so far."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def _study(name: str, seed: int) -> None:
    """One study in a process of its own, so that its minute holds everything that a study costs."""
    command = [sys.executable, "-m", "experiments.compare", "--one", name, str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"the study {name} with seed {seed} failed:\n{done.stderr}")
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(done.stdout.splitlines()[-1] + "\n")
    print(f"{name} seed {seed}: {json.loads(done.stdout.splitlines()[-1])['loss']}", flush=True)


def missing() -> list[tuple[str, int]]:
    """Studies to run, seed by seed, so that whatever disturbs the machine disturbs every method."""
    there = {(row["method"], row["seed"]) for row in rows()}
    return [(name, seed) for seed in range(SEEDS) for name in METHODS if (name, seed) not in there]


def main(arguments: list[str]) -> None:
    """The command line: see the top of the file."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(one(arguments[1], int(arguments[2]))))
        return
    if arguments not in ([], ["--table"]):
        print(f"python -m experiments.compare takes nothing or --table, but {arguments} came", file=sys.stderr)
        raise SystemExit(2)
    if not arguments:
        GPTObjective().warm()  # tokenise once, outside everybody's minute
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running = [pool.submit(_study, *study) for study in missing()]
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_EXCEPTION)
            pool.shutdown(wait=False, cancel_futures=True)
            for future in done:
                future.result()
    from experiments.compared import table

    print(table(rows(), METHODS))


if __name__ == "__main__":
    main(sys.argv[1:])
