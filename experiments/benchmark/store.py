"""The lines that studies leave: one file a method, one line a study, appended whole.

A line is found again by its task, method, seed and number of evaluations. It counts only if its task is still defined as it
was then (lines from before that was recorded do count), and a line of ours only if it was made by the sources as they
are now. Older ones stay in the file until every study they hold was made anew, or until one on the same task and by the
same sources was, and came out the same to the last digit (recheck.py): then these are adopted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from experiments.benchmark import methods
from experiments.benchmark.tasks import TASKS

RESULTS = Path(__file__).resolve().parent.parent / "results" / "benchmark"
TIMING = "timing.jsonl"  # beside them, and no study
Record = dict[str, Any]
Name = tuple[str, str, int, int]
Origin = tuple[str, str | None]


def slug(method: str) -> str:
    """A method's name as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")


def name(record: Record) -> Name:
    """What a study is found by: task, method, seed, evaluations."""
    return record["task"], record["method"], record["seed"], record["n"]


def origin(record: Record) -> Origin:
    """What a recheck speaks for: task and digest of our sources, None for a peer."""
    return record["task"], record.get("digest")


def append(path: Path, record: Record) -> None:
    """One line at the end of a file, in one write; a line that was cut off by a crash is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        line = json.dumps(record, allow_nan=False, separators=(",", ":"))
        os.write(handle, (("\n" if torn else "") + line + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def lines(path: Path) -> Iterator[Record]:
    """The whole lines of a file, in order; one that was cut off by a crash is passed over."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def same_task(record: Record) -> bool:
    """Whether a line's task is defined as it was then, as far as can be said: where both digests are there."""
    then, task = record.get("task_digest"), TASKS.get(record["task"])
    return then is None or task is None or task.digest in (None, then)


def counts(record: Record) -> bool:
    """Whether a line was made by the code as it is now. Of a peer only the task: its versions stand in the line."""
    try:
        return same_task(record) and record.get("digest") == methods.find(record["method"]).digest
    except (ValueError, SyntaxError):  # a prototype whose module is gone or broken, or a method that is listed no longer
        return False


def of(folder: Path, method: str) -> dict[Name, Record]:
    """The counting records of one method; where a study was recorded twice, the first."""
    found: dict[Name, Record] = {}
    for record in lines(folder / f"{slug(method)}.jsonl"):
        if counts(record):
            found.setdefault(name(record), record)
    return found


def older(folder: Path, method: str) -> dict[Name, Record]:
    """The last lines of ours that only their sources keep from counting, of studies without one that counts."""
    current = of(folder, method)
    every = [record for record in lines(folder / f"{slug(method)}.jsonl") if same_task(record)]
    return {name(record): record for record in every if record.get("digest") and name(record) not in current}


def adopt(folder: Path, method: str, origins: Collection[Origin]) -> int:
    """Lets older lines of these origins count, with the sources that made them under "measured_by"; how many there are.

    All other lines stay, but for those of studies that have one that counts.
    """
    path, now = folder / f"{slug(method)}.jsonl", methods.find(method).digest
    old = {key: line for key, line in older(folder, method).items() if origin(line) in origins}
    told = {**of(folder, method), **{key: {"measured_by": line["digest"], **line, "digest": now} for key, line in old.items()}}
    rest = [line for line in lines(path) if name(line) not in told]
    replace(path, [*told.values(), *rest])
    return len(old)


def replace(path: Path, records: Iterable[Record]) -> None:
    """A file with these lines in its place."""
    beside = path.with_suffix(".new")
    text = "".join(json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n" for record in records)
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def clean(folder: Path, method: str) -> int:
    """Drops the lines that do not count once every study of theirs has one that does; how many were dropped."""
    path = folder / f"{slug(method)}.jsonl"
    every, current = list(lines(path)), of(folder, method)
    old = [record for record in every if not counts(record)]
    if not old or any(name(record) not in current for record in old):
        return 0
    replace(path, current.values())
    return len(every) - len(current)
