"""What a job costs in a long study: processor time from tell to the next job, with a SQLite log, up to 30,000 events.

    python -m experiments.events                      # every optimizer, 10,000 jobs each; fewer with a Gaussian process
    python -m experiments.events --jobs 30000 --only asha --only random
    python -m experiments.events --table              # only prints what experiments/results/events.jsonl holds

A study is driven by `run` with everything that belongs to it: stopping rules, checkpoints that are given up, the log. What
is trained is a function, at once, on the simulated clock; f(config) goes through `minimize`. The last column is the study
opened anew from its file, until its next job is there. A window has 300 jobs: its median is what most jobs cost, its mean
counts what is done once in a while, too, such as closing a generation.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import typer

import hpo
from experiments.ledger import Data, Ledger, Measurement, Recheck, Results, Seconds, Table, conduct, new_app, use_data
from experiments.ledger.command import keep_lines
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
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
    "manual": lambda jobs: hpo.Manual(SPACE, [SPACE.decode(row) for row in SPACE.domain.sobol(0, jobs + 1)]),
    "grid": lambda jobs: hpo.Grid(SPACE, points=int(jobs**0.5) + 1),
    "random": lambda jobs: hpo.Random(SPACE),
    "sobol": lambda jobs: hpo.Sobol(SPACE),
    "narrowing": lambda jobs: hpo.Narrowing(SPACE, points=jobs // 3 + 1),
    "cmaes": lambda jobs: hpo.CMAES(SPACE),
    "llamatune": lambda jobs: hpo.LlamaTune(hpo.Random(SPACE)),
    "genetic": lambda jobs: hpo.Genetic(SPACE, generations=None),
    "de": lambda jobs: hpo.DifferentialEvolution(SPACE),
    "regularized": lambda jobs: hpo.RegularizedEvolution(SPACE),
    "nsga2": lambda jobs: hpo.NSGA2(SPACE),
    "simple_pbt": lambda jobs: hpo.SimplePBT(SPACE, generations=jobs // 4 + 1),
    "halving": lambda jobs: hpo.SuccessiveHalving(hpo.Random(SPACE), max_resource=TOP),
    "hyperband": lambda jobs: hpo.Hyperband(hpo.Random(SPACE), max_resource=TOP),
    "asha": lambda jobs: hpo.ASHA(hpo.Random(SPACE), max_resource=TOP),
    "asha_stopping": lambda jobs: hpo.ASHAStopping(hpo.Random(SPACE), max_resource=TOP),
    "pasha": lambda jobs: hpo.PASHA(hpo.Random(SPACE), max_resource=TOP),
    "dehb": lambda jobs: hpo.DEHB(hpo.Random(SPACE), max_resource=TOP),
    "median": lambda jobs: hpo.MedianStopping(hpo.Random(SPACE), rungs=(1, 3, 9), max_resource=TOP),
    "percentile": lambda jobs: hpo.PercentileStopping(hpo.Random(SPACE), rungs=(1, 3, 9), max_resource=TOP),
    "patience": lambda jobs: hpo.PatienceStopping(hpo.Random(SPACE), rungs=(1, 3, 9), max_resource=TOP),
    "pbt": lambda jobs: hpo.PBT(hpo.Random(SPACE), population=jobs // 10 + 1, generations=10, max_resource=TOP),
    # with a model
    "tpe": lambda jobs: hpo.TPE(SPACE),
    "kde": lambda jobs: hpo.KDE(SPACE),
    "bohb": lambda jobs: hpo.BOHB(hpo.KDE(SPACE), max_resource=TOP),
    "pb2": lambda jobs: hpo.PB2(hpo.Random(SPACE), population=jobs // 10 + 1, generations=10, max_resource=TOP),
    "forest": lambda jobs: hpo.RandomForest(SPACE),
    "gp": lambda jobs: hpo.GP(SPACE),
    "freezethaw": lambda jobs: hpo.FreezeThaw(hpo.GP(SPACE), max_resource=TOP),
}
# Jobs after which a study with such a model ends. A Gaussian process costs the cube of its results up to about 1000, and the same
# above (experiments/large goes on to 20,000); a forest grows anew for every ask; PB2's model reads 400 results.
MOST = {"gp": 1_000, "freezethaw": 1_000, "forest": 1_000, "pb2": 3_000}
SINGLE = ("freezethaw",)  # takes one objective only
OBJECTIVES = {"one": {"loss": "min"}, "two": {"loss": "min", "size": "max"}}


def bowl(config: dict[str, Any], until: int = 1, seed: int = 0) -> dict[str, float]:
    """A bowl that longer trainings see the better, and a second objective against it."""
    loss = (config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2 + 1.0 / until
    return {"loss": loss, "size": config["x"] + 0.1 * (seed % 97) / 97}


def measure_study(name: str, jobs: int, objectives: str) -> dict[str, Any]:
    """`drive_study` in a folder of its own, with what its times depend on."""
    with tempfile.TemporaryDirectory() as folder:
        return {**drive_study(name, jobs, objectives, Path(folder)), **environment("numpy", "scipy"), "date": time.strftime("%F")}


def drive_study(name: str, jobs: int, objectives: str, folder: Path) -> dict[str, Any]:
    """One study; milliseconds of processor time a job around every part, and seconds in all and to reopen it."""
    path, stamps = folder / f"{name}-{objectives}.sqlite", []

    def watch(study: Study, key: Key | None) -> None:
        if key is not None:
            stamps.append(time.process_time())

    optimizer = MAKERS[name](jobs)
    study = Study(optimizer, objectives=OBJECTIVES[objectives], log=SQLiteLog(path))
    sampler = optimizer.horizon == 1
    executor: Any = Inline(lambda config: bowl(config)) if sampler else Simulator(bowl, WORKERS, straggle=1.0)
    begun = time.process_time()
    run = hpo.run(study, executor, Stop(when=lambda history: len(history.jobs) >= jobs), watch)
    whole, events = time.process_time() - begun, len(run)
    study.history.log.close()
    begun = time.process_time()
    again = Study(MAKERS[name](jobs), objectives=OBJECTIVES[objectives], log=SQLiteLog(path))
    again.history.lift()  # the limit of the run above
    job: Job | None = again.optimizer.decide(again.history)
    reopened = time.process_time() - begun
    again.history.log.close()
    parts = [part for part in PARTS if part <= len(stamps) + 1]
    return {
        "started": len(run.jobs), "trials": len(run.trials), "events": events,
        "ms": {str(part): window_ms(stamps, part) for part in parts},
        "mean_ms": {str(part): window_ms(stamps, part, mean) for part in parts},
        "slowest_ms": round(1e3 * max(b - a for a, b in pairwise(stamps[9:])), 2),
        "seconds": round(whole, 2), "reopened": round(reopened, 2), "proposes": job is not None,
    }  # fmt: skip


def window_ms(stamps: list[float], part: int, average: Callable[[list[float]], float] = median) -> float:
    """The median (or mean) of the milliseconds between two finishes, over the window that ends with this job."""
    times = stamps[max(0, part - WINDOW) : part]
    return round(1e3 * average([b - a for a, b in pairwise(times)]), 3)


def events_measurement(objectives: str, method: str, jobs: int) -> Measurement:
    """One study of so many jobs."""
    key = {"objectives": objectives, "method": method, "jobs": jobs}
    sources = ("experiments.events:drive_study", f"experiments.events:MAKERS[{method}]", *STUDY, *gp_rows().values())
    return Measurement(key, partial(measure_study, method, jobs, objectives), sources, group=f"{objectives} {method} {jobs}")


def open_events(path: Path, wanted: Sequence[Measurement] = ()) -> Ledger:
    """What is wanted; without anything wanted, what the file has."""
    if wanted:
        return Ledger(path, wanted)
    fields = ("objectives", "method", "jobs")
    return Ledger.of_file(path, fields, lambda *key: events_measurement(*key) if key[1] in MAKERS else None)


def events_table(ledger: Ledger) -> str:
    """The last measurement of every method and number of jobs that the file has."""
    parts = [str(part) for part in PARTS]
    head = ["objectives", "method", "jobs", "events", *(f"ms a job at {part:,}" for part in PARTS), "mean there",
            "slowest ms", "seconds in all", "reopened, s"]  # fmt: skip
    lines = open_events(ledger.path).latest().values()
    rows = []
    for line in sorted(lines, key=lambda line: (line["objectives"], line["jobs"], list(MAKERS).index(line["method"]))):
        times = [f"{line['ms'][part]:.2f}" if part in line["ms"] else "" for part in parts]
        there = [f"{value:.2f}" for value in line["mean_ms"].values()][-1:] or [""]
        rows.append([line["objectives"], line["method"], f"{line['jobs']:,}", f"{line['events']:,}", *times, *there,
                     f"{line['slowest_ms']:.1f}", f"{line['seconds']:.1f}", f"{line['reopened']:.2f}"])  # fmt: skip
    return markdown_table(head, rows)


app = new_app()


@app.command(help=keep_lines(__doc__))
def main(
    jobs: Annotated[int, typer.Option(min=1, help="of every study; with a Gaussian process at most 1,000 or 3,000")] = 10_000,
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(MAKERS)}; may come several times")] = None,
    objectives: Annotated[str, typer.Option(help="one, or two: then fronts are kept")] = "one",
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
) -> None:  # fmt: skip
    unknown = [name for name in only or () if name not in MAKERS]
    if unknown or objectives not in OBJECTIVES:
        raise typer.BadParameter(f"{(unknown or [objectives])[0]!r} came; allowed are {list(MAKERS)}, and {list(OBJECTIVES)}")
    use_data(data)
    names = [] if table or recheck else only or [name for name in MAKERS if objectives == "one" or name not in SINGLE]
    wanted = [events_measurement(objectives, name, min(jobs, MOST.get(name, jobs))) for name in names]
    conduct(open_events(results, wanted), events_table, table, recheck, seconds)


if __name__ == "__main__":
    app()
