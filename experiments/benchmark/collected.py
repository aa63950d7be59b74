"""What studies left in experiments/results/benchmark, as arrays, and what is missing or wrong in it.

A line is a study; where one was recorded twice the first counts, and of two lengths the longer. A study
that ended before its n evaluations, because its optimizer had no more to ask, keeps its last incumbent up to n. No
incumbent yet (null) is an infinite regret. A regret of at most 1e-10 of the median first regret of its task counts as
zero: below that, rounding would rank methods that have both solved the task. A line whose task has changed since is left
out. The two suites of tasks.py are never mixed; a task of somebody's own says itself which it belongs to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark import records
from experiments.benchmark.methods import METHODS
from experiments.benchmark.ranks import Floats
from experiments.benchmark.study import CHECKPOINTS
from experiments.benchmark.tasks import TASKS, Task, find_task
from experiments.ledger.lines import read_lines

OURS = "GP"
SOLVED = 1e-10  # of the median regret after the first evaluation


@dataclass(frozen=True)
class Trace:
    """One study: regret (n,) of the incumbent after every evaluation, and seconds in all its asks and tells."""

    task: str
    method: str
    seed: int
    regret: Floats
    ask: float
    tell: float
    versions: Mapping[str, Any]
    machine: Mapping[str, Any]
    digest: str | None
    current: bool  # it counts as made by the sources as they are now; always so for a peer
    adopted: bool = False  # by a recheck: older sources made it (see the ledger)


@dataclass(frozen=True)
class Collected:
    """All studies by (task, method), in the order of seeds; tasks in the order of TASKS; ours before the others."""

    traces: Mapping[tuple[str, str], Sequence[Trace]]
    tasks: Sequence[str]
    methods: Sequence[str]
    remarks: Sequence[str]

    def regrets(self, task: str, method: str, evaluations: Sequence[int]) -> Floats:
        """(S, C) regrets after so many evaluations, of the studies that reach all of them."""
        reach = [trace.regret for trace in self.traces.get((task, method), ()) if len(trace.regret) >= max(evaluations)]
        places = np.asarray(evaluations) - 1
        return np.array([regret[places] for regret in reach]).reshape(len(reach), len(places))

    @property
    def checkpoints(self) -> list[int]:
        """Those of CHECKPOINTS that some study reaches; the end of the longest study if none reaches any."""
        longest = max(len(trace.regret) for mine in self.traces.values() for trace in mine)
        return [count for count in CHECKPOINTS if count <= longest] or [longest]

    def of(self, method: str) -> list[Trace]:
        """A method's studies on all tasks."""
        return [trace for task in self.tasks for trace in self.traces.get((task, method), ())]


def is_variant(method: str) -> bool:
    """GP(...) is ours with an acquisition or options of somebody's: shown, but neither ours nor a peer."""
    return method.startswith(f"{OURS}(")


def task_of(name: str) -> Task | None:
    """The task of a name, also of somebody's own; None for one that is listed no longer, or whose module is gone."""
    try:
        return find_task(name)
    except ValueError:
        return None


def kind(name: str) -> str:
    """The kind of a task; "unknown" where there is no such task."""
    return str(task.kind) if (task := task_of(name)) else "unknown"


def suite_of(name: str) -> str:
    """The suite that a task is shown with; "all" where there is no such task."""
    return str(task.suite) if (task := task_of(name)) else "all"


# -- reading -----------------------------------------------------------------------------------------------------------


def collect(results: Path, suite: str = "all", asked: Collection[str] | None = None) -> Collected:
    """Every study on a suite's tasks below a folder of *.jsonl. ValueError if there is none.

    asked: the tasks that are missed where they have no study; None: all of the suite.
    """
    remarks: list[str] = []
    kept: dict[tuple[str, str, int], Trace] = {}
    for trace in _present(list(_read(results, suite, remarks)), remarks):
        name = trace.task, trace.method, trace.seed
        if name not in kept or len(kept[name].regret) < len(trace.regret):
            kept[name] = trace
    if not kept:
        missing = f"there is no study with regrets in {str(results)!r} on tasks of suite {suite!r}"
        raise ValueError("; ".join([missing, *(remarks or ["expected are lines in its *.jsonl files"])]))
    traces: dict[tuple[str, str], list[Trace]] = {}
    for _, trace in sorted(kept.items()):
        traces.setdefault((trace.task, trace.method), []).append(trace)
    tasks = [task for task in TASKS if any(key[0] == task for key in traces)]
    tasks += sorted({key[0] for key in traces} - {*TASKS})
    methods = sorted({key[1] for key in traces}, key=_place)
    settled = {key: mine for task in tasks for key, mine in _settled(traces, task, remarks)}
    every = TASKS if asked is None else [*(name for name in TASKS if name in asked), *sorted({*asked} - {*TASKS})]
    wanted = [name for name in every if suite_of(name) == suite]
    return Collected(settled, tasks, methods, [*remarks, *_missing(settled, tasks, methods, wanted)])


def _place(method: str) -> tuple[bool, bool, int, str]:
    order = list(METHODS)
    return is_variant(method), method != OURS, order.index(method) if method in order else len(order), method


def _read(results: Path, suite: str, remarks: list[str]) -> Iterator[Trace]:
    changed: Counter[str] = Counter()
    for file in sorted(results.glob("*.jsonl")):
        for row in read_lines(file):
            if "regret" not in row or suite_of(row["task"]) != suite:
                continue
            if records.is_same_task(row):
                yield _trace(row)
            else:
                changed[row["task"]] += 1
    for task, count in changed.items():
        remarks.append(f"{task}: {count} studies are of the task as it was before; they are left out.")


def _trace(row: Mapping[str, Any]) -> Trace:
    regret = [math.inf if value is None else float(value) for value in row["regret"]]
    regret += [regret[-1] if regret else math.inf] * (int(row["n"]) - len(regret))
    ask, tell = (float(row.get(name, math.nan)) for name in ("ask_seconds", "tell_seconds"))
    current, adopted = records.is_current(row), row.get("measured_by") is not None
    about = row.get("versions", {}), row.get("machine", {}), row.get("digest"), current, adopted
    return Trace(row["task"], row["method"], int(row["seed"]), np.array(regret), ask, tell, *about)


def _present(traces: Sequence[Trace], remarks: list[str]) -> list[Trace]:
    """Drops studies by older sources of methods that have current ones; of a method that has none, those of which newer sources
    have made the same study."""
    now = {trace.method for trace in traces if trace.current}
    left = Counter(trace.method for trace in traces if not trace.current and trace.method in now)
    remarks += [f"{method}: {count} studies by older sources are left out." for method, count in left.items()]
    newest = {(t.task, t.method, t.seed): t.digest for t in traces}  # the last recorded
    shown = [t for t in traces if t.method not in now and t.digest == newest[t.task, t.method, t.seed]]
    old = Counter((t.method, t.digest) for t in shown)
    for (method, digest), count in old.items():
        why = "by a method that is not listed" if digest is None else f"older than the code (digest {digest})"
        remarks.append(f"{method}: {count} studies are {why}; they are shown.")
    return [trace for trace in traces if trace.current] + shown


def _settled(
    traces: Mapping[tuple[str, str], Sequence[Trace]], task: str, remarks: list[str]
) -> Iterator[tuple[tuple[str, str], list[Trace]]]:
    """A task's studies with what is as good as zero set to zero; a remark where a regret is really negative."""
    here = {key: mine for key, mine in traces.items() if key[0] == task}
    found = [trace.regret[np.isfinite(trace.regret)] for mine in here.values() for trace in mine]
    reached = [regret for regret in found if len(regret)]
    floor = SOLVED * max(0.0, float(np.median([regret[0] for regret in reached]))) if reached else 0.0
    least = min((float(regret.min()) for regret in reached), default=0.0)
    if least < -floor:
        remarks.append(f"{task} has a regret of {least:.3g}: its best value is not the best.")
    for key, mine in here.items():
        yield key, [replace(t, regret=np.where(np.abs(t.regret) <= floor, 0.0, t.regret)) for t in mine]


# -- what is missing ---------------------------------------------------------------------------------------------------


def _missing(
    traces: Mapping[tuple[str, str], Sequence[Trace]], tasks: Sequence[str], methods: Sequence[str], suite: Sequence[str]
) -> Iterator[str]:
    """One sentence for every hole, from large to small."""
    if absent := [name for name in suite if name not in tasks]:
        yield f"No study of any method on {', '.join(absent)}."
    if absent := [name for name in METHODS if name not in methods]:
        yield f"No study of {', '.join(absent)}."
    for method in methods:
        there = {task: len(traces.get((task, method), ())) for task in tasks}
        wanted = METHODS[method].seeds if method in METHODS else max(there.values())
        if none := [task for task in tasks if not there[task]]:
            yield f"{method} has no study on {len(none)} of {len(tasks)} tasks: {', '.join(none)}."
        if few := [f"{task} {there[task]}" for task in tasks if 0 < there[task] < wanted]:
            yield f"{method} has fewer than {wanted} seeds on {len(few)} of {len(tasks)} tasks: {', '.join(few)}."
