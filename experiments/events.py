"""What a job costs in a long study: processor time from tell to the next job, with a SQLite log, up to 30,000 events.

    python -m experiments.events                      # every optimizer without a model, 10,000 trials; appends the results
    python -m experiments.events --jobs 30000 --only asha --only random
    python -m experiments.events --table              # only prints what has been measured

A study is driven by `run` with everything that belongs to it: stopping rules, checkpoints that are given up, the log. What
is trained is a function, at once, on the simulated clock; f(config) goes through `minimize`. The last column is the study
opened anew from its file, until its next job is there.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

import hpo
from hpo import Float, Job, Key, Optimizer, Space, Stop, Study
from hpo.executors import Inline, Simulator
from hpo.logs import SQLiteLog

RESULTS = Path(__file__).parent / "results" / "events.jsonl"
SPACE = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
TOP = 27
WORKERS = 4
PARTS = (1_000, 3_000, 10_000, 30_000)  # jobs behind which a window is looked at
WINDOW = 300  # jobs

MAKERS: dict[str, Callable[[int], Optimizer]] = {
    "random": lambda jobs: hpo.Random(SPACE),
    "sobol": lambda jobs: hpo.Sobol(SPACE),
    "grid": lambda jobs: hpo.Grid(SPACE, points=int(jobs**0.5) + 1),
    "halving": lambda jobs: hpo.SuccessiveHalving(hpo.Random(SPACE), max_resource=TOP),
    "hyperband": lambda jobs: hpo.Hyperband(hpo.Random(SPACE), max_resource=TOP),
    "asha": lambda jobs: hpo.ASHA(hpo.Random(SPACE), max_resource=TOP),
    "median": lambda jobs: hpo.MedianStopping(hpo.Random(SPACE), rungs=(1, 3, 9), max_resource=TOP),
    "pbt": lambda jobs: hpo.PBT(hpo.Random(SPACE), population=jobs // 10 + 1, generations=10, max_resource=TOP),
}
OBJECTIVES = {"one": {"loss": "min"}, "two": {"loss": "min", "size": "max"}}


def value(config: dict[str, Any], until: int = 1, seed: int = 0) -> dict[str, float]:
    """A bowl that longer trainings see the better, and a second objective against it."""
    loss = (config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2 + 1.0 / until
    return {"loss": loss, "size": config["x"] + 0.1 * (seed % 97) / 97}


def measure(name: str, jobs: int, objectives: str, folder: Path) -> dict[str, Any]:
    """Drives one study; milliseconds of processor time a job around every part, and seconds in all and to reopen it."""
    path, stamps = folder / f"{name}-{objectives}.sqlite", []

    def watch(study: Study, key: Key | None) -> None:
        if key is not None:
            stamps.append(time.process_time())

    optimizer = MAKERS[name](jobs)
    study = Study(optimizer, objectives=OBJECTIVES[objectives], log=SQLiteLog(path))
    sampler = optimizer.horizon == 1
    executor: Any = Inline(lambda config: value(config)) if sampler else Simulator(value, WORKERS, straggle=1.0)
    begun = time.process_time()
    run = hpo.run(study, executor, Stop(when=lambda history: len(history.jobs) >= jobs), watch)
    whole, events = time.process_time() - begun, len(run)
    study.history.log.close()
    begun = time.process_time()
    again = Study(MAKERS[name](jobs), objectives=OBJECTIVES[objectives], log=SQLiteLog(path))
    job: Job | None = again.optimizer.decide(again.history)
    reopened = time.process_time() - begun
    again.history.log.close()
    parts = {str(part): window(stamps, part) for part in PARTS if part <= len(stamps) + 1}
    return {
        "method": name, "objectives": objectives, "jobs": len(run.jobs), "trials": len(run.trials), "events": events,
        "ms": parts, "slowest_ms": round(1e3 * max(b - a for a, b in pairwise(stamps[9:])), 2),
        "seconds": round(whole, 2), "reopened": round(reopened, 2), "proposes": job is not None,
    }  # fmt: skip


def window(stamps: list[float], part: int) -> float:
    """The median milliseconds between two finishes, over the window that ends with this job."""
    times = stamps[max(0, part - WINDOW) : part]
    return round(1e3 * median(b - a for a, b in pairwise(times)), 3)


def about() -> dict[str, Any]:
    """What the times depend on."""
    versions = {name: version(name) for name in ("numpy", "scipy")}
    return {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d"), **versions}  # fmt: skip


def table(lines: list[Mapping[str, Any]]) -> str:
    """The last measurement of every method and length."""
    latest = {(line["objectives"], line["method"], line["jobs"]): line for line in lines}
    parts = [str(part) for part in PARTS]
    rows = ["| objectives | method | jobs | events | ms a job at " + " | ".join(f"{int(p):,}" for p in parts)
            + " | slowest ms | seconds in all | reopened, s |", "|---" * (len(parts) + 7) + "|"]  # fmt: skip
    for line in latest.values():
        times = " | ".join(f"{line['ms'][part]:.2f}" if part in line["ms"] else "" for part in parts)
        rows.append(f"| {line['objectives']} | {line['method']} | {line['jobs']:,} | {line['events']:,} | {times} | "
                    f"{line['slowest_ms']:.1f} | {line['seconds']:.1f} | {line['reopened']:.2f} |")  # fmt: skip
    return "\n".join(rows)


def main(
    jobs: Annotated[int, typer.Option(help="of every study")] = 10_000,
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(MAKERS)}; may come several times")] = None,
    objectives: Annotated[str, typer.Option(help="one, or two: then fronts are kept")] = "one",
    results: Annotated[Path, typer.Option(help="the file that is appended to")] = RESULTS,
    show: Annotated[bool, typer.Option("--table", help="print what has been measured, measure nothing")] = False,
) -> None:
    """Measures, appends a line a study, and prints the table."""
    unknown = [name for name in only or () if name not in MAKERS]
    if unknown or objectives not in OBJECTIVES:
        raise typer.BadParameter(f"{(unknown or [objectives])[0]!r} came; allowed are {list(MAKERS)}, and {list(OBJECTIVES)}")
    for name in [] if show else only or list(MAKERS):
        with tempfile.TemporaryDirectory() as folder:
            line = {**measure(name, jobs, objectives, Path(folder)), **about()}
        with open(results, "a") as file:
            file.write(json.dumps(line) + "\n")
        typer.echo(json.dumps(line))
    typer.echo(table([json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []))


if __name__ == "__main__":
    typer.run(main)
