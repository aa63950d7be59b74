"""Whether recorded runs come out the same here: of a peer, the two lowest seeds are run again, on a task each.

Of ours, where lines were made by older sources: the lowest seed of every task. Where every value is the same, the change
did not touch what is proposed on that task, and its older lines count again. Those of a task that differs stay what they
are, and its studies will be run again. Where several older sources made lines on a task, each is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from experiments.benchmark import store
from experiments.benchmark.methods import Method
from experiments.benchmark.runner import pool
from experiments.benchmark.study import Plan, run


def chosen(folder: Path, method: Method, tasks: Sequence[str]) -> list[store.Record]:
    """The record of the lowest seed on the first of the tasks that has one, and that of the next seed on the last."""
    order = {task: place for place, task in enumerate(tasks)}
    found = [record for record in store.of(folder, method.name).values() if record["task"] in order]
    found.sort(key=lambda record: order[record["task"]])
    seeds = sorted({record["seed"] for record in found})
    lowest = [record for record in found if record["seed"] in seeds[:1]][:1]
    return lowest + [record for record in found if record["seed"] in seeds[1:2]][-1:]


def one_a_task(records: Iterable[store.Record]) -> list[store.Record]:
    """The record with the lowest seed of every task and sources."""
    found: dict[store.Origin, store.Record] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        found.setdefault(store.origin(record), record)
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


def recheck(folder: Path, methods: Sequence[Method], tasks: Sequence[str], say: Callable[[str], None]) -> int:
    """Says of each study how it came out again, of a method without any that it has none, and what becomes of older
    lines; 1 if anything differs, else 0."""
    differs = 0
    with pool(1) as processes:
        for method in methods:
            older = store.older(folder, method.name).values() if method.ours else ()
            old = one_a_task(record for record in older if record["task"] in tasks)
            again = old or chosen(folder, method, tasks)
            if not again:
                say(f"{method.name}: nothing is recorded on these tasks")
            same: dict[store.Origin, bool] = {}
            for then in again:
                plan = Plan(then["task"], then["method"], then["seed"], then["n"])
                now = processes.submit(run, plan).result()
                same[store.origin(then)] = now["values"] == then["values"]
                say(compared(then, now))
                differs |= now["values"] != then["values"]
            for line in settled(folder, method.name, same) if old else ():
                say(line)
    return differs


def settled(folder: Path, method: str, same: Mapping[store.Origin, bool]) -> Iterator[str]:
    """Lets the older lines count where one came out the same; a sentence for these, and one for the others."""
    if alike := [origin for origin, equal in same.items() if equal]:
        yield f"{method}: {store.adopt(folder, method, alike)} studies of older sources count again"
    if differ := dict.fromkeys(task for (task, _), equal in same.items() if not equal):
        yield f"{method}: the studies of older sources on {', '.join(differ)} stay what they are, and will be run again"
