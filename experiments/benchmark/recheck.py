"""Whether a peer's recorded runs come out the same here: two recorded studies of each, seeds 0 and 1, run again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from experiments.benchmark import store
from experiments.benchmark.methods import Method
from experiments.benchmark.runner import pool
from experiments.benchmark.study import Plan, run


def chosen(folder: Path, method: Method, tasks: Sequence[str]) -> list[store.Record]:
    """The record of seed 0 on the first of the tasks that has one, and that of seed 1 on the last."""
    order = {task: place for place, task in enumerate(tasks)}
    found = [record for record in store.of(folder, method.name).values() if record["task"] in order]
    found.sort(key=lambda record: order[record["task"]])
    zero = [record for record in found if record["seed"] == 0][:1]
    return zero + [record for record in found if record["seed"] == 1][-1:]


def compared(then: store.Record, now: store.Record) -> str:
    """One sentence about two records of the same study."""
    title = f"{then['method']} on {then['task']}, seed {then['seed']}"
    both = enumerate(zip_longest(then["values"], now["values"], fillvalue="nothing"), 1)
    first = next((place for place, (before, after) in both if before != after), None)
    names = sorted({*then["versions"], *now["versions"]})
    pairs = [(name, then["versions"].get(name), now["versions"].get(name)) for name in names]
    changed = [f"{name} {before} then, {after} now" for name, before, after in pairs if before != after]
    versions = "; ".join(changed) if changed else "same versions"
    if first is None:
        return f"{title}: the same {len(then['values'])} values ({versions})"
    return f"{title}: differs from evaluation {first} on ({versions})"


def recheck(folder: Path, methods: Sequence[Method], tasks: Sequence[str]) -> Iterator[str]:
    """A sentence for each study that was run again, or for a peer without any."""
    with pool(1) as processes:
        for method in methods:
            again = chosen(folder, method, tasks)
            if not again:
                yield f"{method.name}: nothing recorded with seed 0 or 1 on these tasks"
            for then in again:
                plan = Plan(then["task"], then["method"], then["seed"], then["n"])
                yield compared(then, processes.submit(run, plan).result())
