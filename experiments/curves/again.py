"""Whether older lines come out the same by the code as it is now: of every method and model, one is measured again.

It is the one with the lowest seed, on the first source and with the fewest results that has an older line. If all of a
part's come out the same, the change did not touch what is measured, and all older lines of that part count again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.benchmark.store import replace
from experiments.curves import plan
from experiments.curves.plan import Measurement


def recheck(path: Path) -> Iterator[str]:
    """A sentence for each that was measured again, and one for each part that has older lines."""
    rows = plan.stored(path)
    for part in plan.PARTS:
        old = {one: row for one, row in rows.items() if one.part == part and not plan.current(row)}
        same = True
        for one in sample(list(old)):
            equal = measured(one()) == measured(old[one])
            same = same and equal
            yield f"{one.part}, {one.source}, seed {one.seed}, n = {one.n}, {one.name}: {'the same' if equal else 'differs'}"
        if old and same:
            rows |= {one: {"measured_by": row["digest"], **row, "digest": plan.sources(part)} for one, row in old.items()}
            replace(path, rows.values())
            yield f"{part}: {len(old)} lines of older sources count again"
        elif old:
            yield f"{part}: the lines of older sources stay what they are, and will be measured again"


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
