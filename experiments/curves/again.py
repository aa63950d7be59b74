"""Whether older lines come out the same by the code as it is now: of every source of curves, one of each is measured again.

It is the one with the lowest seed and the fewest results that has an older line, of every method or model. If all of a
source come out the same, the change did not touch what is measured there, and all its older lines count again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.curves import plan
from experiments.curves.plan import Measurement
from experiments.ledger.lines import replace_lines as replace


def recheck(path: Path) -> Iterator[str]:
    """A sentence for each that was measured again, and one for each part and source that has older lines."""
    rows = plan.stored(path)
    older = {one: row for one, row in rows.items() if not plan.current(row)}
    for part, source in dict.fromkeys((one.part, one.source) for one in older):
        old = {one: row for one, row in older.items() if (one.part, one.source) == (part, source)}
        same = True
        for one in sample(list(old)):
            equal = measured(one()) == measured(old[one])
            same = same and equal
            yield f"{part}, {source}, seed {one.seed}, n = {one.n}, {one.name}: {'the same' if equal else 'differs'}"
        if same:
            rows |= {one: {"measured_by": row["digest"], **row, "digest": plan.sources(part)} for one, row in old.items()}
            replace(path, rows.values())
            yield f"{part}, {source}: {len(old)} lines of older sources count again"
        else:
            yield f"{part}, {source}: the lines of older sources stay what they are, and will be measured again"


def sample(old: list[Measurement]) -> list[Measurement]:
    """The one to measure again of every name."""
    first: dict[str, Measurement] = {}
    for one in sorted(old, key=lambda one: (one.seed, one.n)):
        first.setdefault(one.name, one)
    return list(first.values())


def measured(row: dict[str, Any]) -> dict[str, Any]:
    """A line as it is stored, without the names of sources."""
    kept = {key: value for key, value in row.items() if key not in ("digest", "measured_by")}
    return json.loads(json.dumps(kept))  # type: ignore[no-any-return]
