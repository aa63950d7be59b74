"""JSON records in a file, one on each line, appended whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Appends a line to a file in one write; it is on the disk when this returns.

    A line that was cut off by a crash is closed first. ValueError for NaN and infinity, which JSON does not have.
    """
    line = json.dumps(record, allow_nan=False, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (("\n" if torn else "") + line + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path) -> Iterator[Record]:
    """The complete lines of a file in order; none if there is no file. A line that was cut off by a crash is skipped."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            yield record


def replace_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replaces a file by one with these lines; a crash leaves either the old one or the new one."""
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n" for record in records)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
