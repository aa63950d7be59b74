"""What is measured, in an order in which an interrupted measurement is of use, and where it is stored: a line each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.benchmark.digest import digest
from experiments.benchmark.tables import TASKSET
from experiments.curves import data
from experiments.curves.data import WEIGHTS
from experiments.curves.offline import LANGUAGE_MODELS, MODELS, offline
from experiments.curves.online import METHODS, SPENT, online
from experiments.ledger.lines import append_line as append
from experiments.ledger.lines import read_lines as lines

RESULTS = Path(__file__).resolve().parents[1] / "results" / "curves.jsonl"
SEEDS, DRAWS = 8, 10
SIZES, FEW = (40, 80, 160), (20, 30, 40)  # results offline; of the 40 language models
PARTS: dict[str, Callable[..., dict[str, Any]]] = {"online": online, "offline": offline}
HERE = "experiments/curves/"
SOURCES = {part: (f"{HERE}data.py", f"{HERE}before.py", f"{HERE}{part}.py") for part in PARTS}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Measurement:
    """One search or one prediction.

    part    "online" | "offline"            source  a task of TaskSet, or the language models
    seed    of the search or the draw       n       epochs of the search, or results that the model is told
    name    one of METHODS or MODELS
    """

    part: str
    source: str
    seed: int
    n: int
    name: str

    def __call__(self) -> dict[str, Any]:
        """The line to store."""
        found = PARTS[self.part](self.source, self.seed, self.n, self.name)
        return {**asdict(self), **found, "digest": sources(self.part)}


def sources(part: str) -> str:
    """Names the code that decides what a part measures."""
    return digest(*SOURCES[part])


def named(row: Mapping[str, Any]) -> Measurement:
    """What a line is of."""
    return Measurement(row["part"], row["source"], row["seed"], row["n"], row["name"])


def current(row: Mapping[str, Any]) -> bool:
    """Whether a line was made by the code as it is now."""
    return row["part"] in PARTS and row.get("digest") == sources(row["part"])


def every(say: Say) -> Iterator[Measurement]:
    """All that can be measured here; one sentence for what cannot."""
    if not data.available():
        say(f"TaskSet's curves are skipped: they need {TASKSET} below the folder of shared data (HPO_DATA)")
    else:
        for seed, task, method in itertools.product(range(SEEDS), WEIGHTS, METHODS):
            yield Measurement("online", task, seed, SPENT, method)
    tasks = data.tasks() if data.available() else ()
    for draw in range(3 * DRAWS):  # there are few language models, and they cost little
        some = [*((task, SIZES) for task in tasks if draw < DRAWS), (LANGUAGE_MODELS, FEW)]
        for source, sizes in some:
            yield from (Measurement("offline", source, draw, n, model) for n in sizes for model in MODELS)


def stored(path: Path) -> dict[Measurement, dict[str, Any]]:
    """What was measured: for each the last line made by the code as it is now, else the last line."""
    found: dict[Measurement, dict[str, Any]] = {}
    for row in lines(path):
        if row["part"] in PARTS and (named(row) not in found or current(row) or not current(found[named(row)])):
            found[named(row)] = row
    return found


def measure(path: Path, seconds: float, say: Say) -> int:
    """Appends what is missing or was made by older code; how many are left when `seconds` are over."""
    there, until = stored(path), time.monotonic() + seconds
    missing = [one for one in every(say) if one not in there or not current(there[one])]
    say(f"{len(missing)} to measure")
    for i, one in enumerate(missing):
        if time.monotonic() >= until:
            return len(missing) - i
        begun = time.process_time()
        append(path, one())
        say(f"{one.part}, {one.source}, seed {one.seed}, n = {one.n}, {one.name}: {time.process_time() - begun:.1f} s")
    return 0
