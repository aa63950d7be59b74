"""Whether recorded runs come out the same here: of a peer, seeds 0 and 1 are run again, on a task each.

Of ours, where lines were made by older sources: the lowest seed of every task. If every value is the same, the change did
not touch what is proposed, and all of these lines count again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


def one_a_task(records: Iterable[store.Record]) -> list[store.Record]:
    """The record with the lowest seed of every task."""
    found: dict[str, store.Record] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        found.setdefault(record["task"], record)
    return list(found.values())


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
            old = one_a_task(store.older(folder, method.name).values()) if method.ours else []
            again = old or chosen(folder, method, tasks)
            if not again:
                yield f"{method.name}: nothing recorded with seed 0 or 1 on these tasks"
            same = True
            for then in again:
                plan = Plan(then["task"], then["method"], then["seed"], then["n"])
                now = processes.submit(run, plan).result()
                same = same and now["values"] == then["values"]
                yield compared(then, now)
            if old and same:
                yield f"{method.name}: {store.adopt(folder, method.name)} studies of older sources count again"
            elif old:
                yield f"{method.name}: the studies of older sources stay what they are, and will be run again"
