"""The studies that are kept, in the ledger's terms: a file a method, a line a study.

A line counts only if its task is still defined as it was then (lines from before that was recorded do count), and a line of
ours only if it was made by the sources as they are now, or by older ones of which a recheck said that they do the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from experiments.benchmark import methods
from experiments.benchmark.study import Plan, run
from experiments.benchmark.tasks import find_task
from experiments.ledger.ledger import Ledger
from experiments.ledger.lines import read_lines
from experiments.ledger.measurement import Measurement

RESULTS = Path(__file__).resolve().parent.parent / "results" / "benchmark"
TIMING = "timing.jsonl"  # beside them, and no study


def slug(method: str) -> str:
    """A method's name as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")


def file_of(folder: Path, method: str) -> Path:
    """Where the lines of a method lie."""
    return folder / f"{slug(method)}.jsonl"


def plan_of(line: Mapping[str, Any]) -> Plan:
    """What a line is of."""
    return Plan(line["task"], line["method"], line["seed"], line["n"])


def task_digest(task: str) -> str | None:
    """Names the definition of a task; None where that cannot be said."""
    try:
        return find_task(task).digest
    except ValueError:  # a task of somebody's own whose module is gone
        return None


def measurement(plan: Plan) -> Measurement:
    """A study as a measurement; one of a task speaks for the others in a recheck. ValueError for an unknown method."""
    sources = methods.find(plan.method).sources
    return Measurement(asdict(plan), partial(run, plan), sources, task_digest(plan.task), plan.task)


def is_same_task(line: Mapping[str, Any]) -> bool:
    """Whether a line's task is defined as it was then, as far as can be said."""
    then = line.get("task_digest")
    return then is None or task_digest(line["task"]) in (None, then)


def is_current(line: Mapping[str, Any]) -> bool:
    """Whether a line was made by the code as it is now. Of a peer only the task counts: its versions stand in the line."""
    try:
        return measurement(plan_of(line)).is_current(line)
    except ValueError:  # a prototype whose module is gone or broken, or a method that is listed no longer
        return False


def ledger_of(folder: Path, method: str, plans: Iterable[Plan] = ()) -> Ledger:
    """The ledger of a method: these studies of it, and all that its file holds, the lowest seed first."""
    path = file_of(folder, method)
    every = {*(plan for plan in plans if plan.method == method), *map(plan_of, read_lines(path))}
    ordered = sorted(every, key=lambda plan: (plan.seed, plan.task, plan.n))
    return Ledger(path, [measurement(plan) for plan in ordered], lambda line: {"values": line["values"]})


def first_two(folder: Path, method: str, tasks: Iterable[str]) -> list[tuple[Measurement, dict[str, Any]]]:
    """The current line of the lowest seed on the first of the tasks that has one, and that of the next seed on the last."""
    ledger, order = ledger_of(folder, method), {task: place for place, task in enumerate(tasks)}
    found = [(ledger.by_name[name], line) for name, line in ledger.current().items() if line["task"] in order]
    found.sort(key=lambda pair: order[pair[1]["task"]])
    seeds = sorted({line["seed"] for _, line in found})
    lowest = [pair for pair in found if pair[1]["seed"] in seeds[:1]][:1]
    return lowest + [pair for pair in found if pair[1]["seed"] in seeds[1:2]][-1:]
