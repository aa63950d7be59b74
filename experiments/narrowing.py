"""Coarse to fine: does `Narrowing` find better configurations than random search and Sobol's sequence of as many evaluations?

    python -m experiments.narrowing               # measures what is missing (a few minutes), then prints the tables
    python -m experiments.narrowing --table       # only prints them, from experiments/results/narrowing.jsonl

Every task of the benchmark, and two that were made to mislead: in `trap4` a wide bowl ends well above a narrower one, in
`hole2` the better one is a hole in a thirtieth of the space. 48 and 192 evaluations, twenty seeds. Regret is the true one of
what a search recommends, which with noise is the lowest observed. Beside the defaults (three stages, each half as wide) other
stages of the same number of evaluations, and stages that forget: each is around the best of the one before it alone, and the
search recommends the best of the last, as tutorials do.

The default was a quarter of the width until this was measured; half was chosen on the suite "all" (the fifteen first tasks),
so the suite "fresh" has its say alone: the table of methods shows both.

A score is log2 of a ratio of regrets, see experiments/paired.py: -1 is half the regret.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hpo
from experiments.benchmark import functions
from experiments.benchmark.tasks import SUITES, TASKS, Task
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY
from experiments.paired import count_clear, interval, over_tasks, scale_of, score
from hpo import History, Key, Narrowing, Optimizer, Space, Study
from hpo.optimizers.narrowing import Position

RESULTS = Path(__file__).parent / "results" / "narrowing.jsonl"
SIZES, SEEDS = (48, 192), 20
LONG = ("random", "Narrowing")  # with 192 evaluations
WIDE, NARROW, DEPTH = 0.25, 0.75, 0.2  # of two_bowls: where they stand, and how much higher the wide one ends


def two_bowls(config: Mapping[str, Any], slope: float) -> float:
    """Zero at (0.75, ..), in a bowl as steep as `slope`; where that is above the wide one, at least 0.2, falling towards
    (0.25, ..)."""
    x = functions.vector(config)
    wide, narrow = (float(np.sqrt(np.mean((x - place) ** 2))) for place in (WIDE, NARROW))
    return min(DEPTH + wide, slope * narrow) if slope * narrow < 1.0 else DEPTH + wide


MISLEADING = {
    "trap4": Task("trap4", "classical", partial(functions.box_space, 4, 0.0, 1.0), partial(two_bowls, slope=4.0), 0.0,
                  about="4-d, a wide bowl beside a better one of a tenth of the space; ours"),
    "hole2": Task("hole2", "classical", partial(functions.box_space, 2, 0.0, 1.0), partial(two_bowls, slope=10.0), 0.0,
                  about="2-d, a wide bowl and a hole of a thirtieth of the space; ours"),
}  # fmt: skip


class ForgetfulNarrowing(Narrowing):
    """Every stage is around the best of the one before it alone, and the last one's best is recommended."""

    def recommend(self, history: History) -> Key | None:
        stage = history.fold(self.owner, Position).stage
        keys = [key for key in history.rank(history.at(history.header.horizon)) if self.is_of(history, key, stage)]
        return next((key for key in keys if not history.is_failure(key)), None)

    def is_of(self, history: History, key: Key, stage: int) -> bool:
        found = history.jobs[key].note.record.get("narrowing")
        return found is not None and found["stage"] == stage


Make = Callable[[Space, int, int], Optimizer]  # of a space, a seed and the number of evaluations
METHODS: dict[str, Make] = {
    "random": lambda space, seed, n: hpo.Random(space, seed=seed),
    "Sobol": lambda space, seed, n: hpo.Sobol(space, seed=seed),
    "Narrowing": lambda space, seed, n: Narrowing(space, seed=seed, points=n // 3),
    "Narrowing, 2 stages": lambda space, seed, n: Narrowing(space, seed=seed, stages=2, points=n // 2),
    "Narrowing, 4 stages": lambda space, seed, n: Narrowing(space, seed=seed, stages=4, points=n // 4),
    "Narrowing, 6 stages": lambda space, seed, n: Narrowing(space, seed=seed, stages=6, points=n // 6),
    "Narrowing by a quarter": lambda space, seed, n: Narrowing(space, seed=seed, points=n // 3, factor=0.25),
    "Narrowing that forgets": lambda space, seed, n: ForgetfulNarrowing(space, seed=seed, points=n // 3),
}


def measure_searches(task: Task, make: Make, n: int) -> dict[str, Any]:
    """The regret of every seed's recommendation."""
    found = []
    for seed in range(SEEDS):
        study = Study(make(task.space(), seed, n))
        for i in range(n):
            if (job := study.optimizer.ask()) is None:
                break
            study.optimizer.tell(job, task.observe(dict(job.config), i))
        found.append(float(f"{task.true(dict(study.recommend().config)) - task.best:.6g}"))
    return {"regret": found, "scale": float(f"{scale_of(task):.6g}")}


def narrowing_measurements() -> Iterator[Measurement]:
    """Method by method, on every task."""
    pairs = [(n, method) for n in SIZES for method in (METHODS if n == SIZES[0] else LONG)]
    for (n, method), task in itertools.product(pairs, all_tasks().values()):
        sources = ("experiments.narrowing:measure_searches", f"experiments.narrowing:METHODS[{method}]", *STUDY)
        key = {"task": task.name, "method": method, "evaluations": n}
        yield Measurement(key, partial(measure_searches, task, METHODS[method], n), sources, task.digest, method)


def all_tasks() -> dict[str, Task]:
    return {**TASKS, **MISLEADING}


# -- the tables --------------------------------------------------------------------------------------------------------

Lines = Mapping[tuple[str, str, int], Any]  # by task, method, evaluations


def scores(lines: Lines, method: str, other: str, n: int) -> dict[str, np.ndarray]:
    """(seeds,) by task."""
    tasks = [task for task, name, size in lines if name == method and size == n and (task, other, n) in lines]
    return {task: score(lines[task, method, n]["regret"], lines[task, other, n]["regret"], lines[task, method, n]["scale"])
            for task in tasks}  # fmt: skip


def narrowing_tables(found: Sequence[Any]) -> str:
    """Over all tasks by method, then by task the default against random search and Sobol."""
    lines: Lines = {(line["task"], line["method"], line["evaluations"]): line for line in found}
    return "\n\n".join([narrowing_by_method(lines), narrowing_by_task(lines)])


def narrowing_by_method(lines: Lines) -> str:
    rows = []
    for n, method in itertools.product(SIZES, METHODS):
        by_task, other = scores(lines, method, "random", n), scores(lines, method, "Sobol", n)
        if by_task and method != "random":
            suites = [{task: by_task[task] for task in SUITES[suite] if task in by_task} for suite in ("all", "fresh")]
            better, worse = count_clear(by_task)
            cells = [interval(over_tasks(suite)) if suite else "" for suite in suites]
            sobol = interval(over_tasks(other)) if other else ""
            rows.append([f"{method}, {n}", *cells, f"{better}, {worse} of {len(by_task)}", sobol])
    head = ["method, evaluations", "against random, all", "fresh", "tasks better, worse", "against Sobol, every task"]
    return markdown_table(head, rows)


def narrowing_by_task(lines: Lines) -> str:
    tasks = dict.fromkeys(task for task, _, _ in lines)
    pairs = [(SIZES[0], "random"), (SIZES[0], "Sobol"), (SIZES[1], "random")]
    rows = []
    for task in tasks:
        by = [scores(lines, "Narrowing", other, n).get(task) for n, other in pairs]
        rows.append([task, *("" if values is None else interval(values) for values in by)])
    return markdown_table(["task", *(f"{n}, against {other}" for n, other in pairs)], rows)


def open_narrowing(path: Path) -> Ledger:
    return Ledger(path, list(narrowing_measurements()), can_measure=lambda one: all_tasks()[one.key["task"]].is_available)


app = command(__doc__, RESULTS, open_narrowing, lambda ledger: narrowing_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
