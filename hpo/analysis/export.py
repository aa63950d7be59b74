"""A study's table as a file, in the format that its suffix names: .csv, .json, .parquet."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo import table
from hpo.analysis.paths import check_file, write_whole
from hpo.history import History
from hpo.values import plain

Rows = Sequence[Mapping[str, Any]]


def to_json(value: Any) -> Any:
    """A value as JSON has it: what is no finite number is null, a time its ISO text."""
    value = plain(value)
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_table(history: History, path: str | Path) -> int:
    """Writes the table of a study (hpo/table.py), whole or not at all; how many rows it has.

    csv       a cell without a value is empty; lists and mappings are JSON
    json      a list of objects, each with the values that its row has; what is no finite number is null
    parquet   by pandas and pyarrow, which is a ModuleNotFoundError in a sentence where they are missing

    ValueError for another suffix, FileNotFoundError where there is no such folder.
    """
    file = check_file(path, list(FORMATS))
    rows = table.rows(history)
    write_whole(file, FORMATS[file.suffix.lower()](rows, table.columns(history)))
    return len(rows)


def encode_table(history: History, suffix: str) -> bytes:
    """The content of such a file."""
    return FORMATS[suffix](table.rows(history), table.columns(history))


def _csv(rows: Rows, columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({name: cell_text(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def cell_text(value: Any) -> Any:
    """What stands in a column where it has to be one text or number."""
    return json.dumps(to_json(value)) if isinstance(value, list | tuple | Mapping) else value


def _json(rows: Rows, columns: Sequence[str]) -> bytes:
    return json.dumps([to_json(row) for row in rows], allow_nan=False).encode()


def _parquet(rows: Rows, columns: Sequence[str]) -> bytes:
    try:
        import pandas
        import pyarrow  # noqa: F401 - what pandas writes it by
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"parquet needs pandas and pyarrow ({error}); pip install pyarrow, or choose .csv") from None
    cells = [{name: cell_text(value) for name, value in row.items()} for row in rows]
    frame = pandas.DataFrame(cells, columns=list(columns))
    mixed = [name for name in frame.columns if frame[name].dtype == object]  # a column of parquet has one type
    frame[mixed] = frame[mixed].map(lambda value: value if pandas.isna(value) else str(value))
    return frame.to_parquet(index=False)  # type: ignore[no-any-return]


FORMATS: dict[str, Callable[[Rows, Sequence[str]], bytes]] = {".csv": _csv, ".json": _json, ".parquet": _parquet}
