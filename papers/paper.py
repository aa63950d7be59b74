"""What a paper is here: claims that were written down before anything was measured, and the measurements that judge them."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import papers
from experiments.benchmark.tables import data_file
from experiments.ledger import Claim, Ledger, Measurement, Verdict
from experiments.ledger.measurement import result
from experiments.ledger.sources import STUDY, gp_rows

ROOT = Path(__file__).parent
Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Finding(Verdict):
    """A verdict with the number that it was computed from, as tables show it.

    ours      the figure, as a text
    interval  how sure it is, as a text: "[0.09, 0.11]", "+- 0.02"; empty where nothing is drawn at random
    """

    ours: str = ""
    interval: str = ""


def nothing(what: str) -> Finding:
    """The verdict where lines that the rule needs are missing."""
    return Finding(None, f"{what} is not measured yet")


@dataclass(frozen=True)
class PaperClaim(Claim):
    """A sentence of a paper's, and how it is judged. Everything here but `explains` is covered by the digest: a change is seen.

    The rule reads lines, and nothing of what made them: else a change of an optimizer would be one of the claim. It is given
    the lines of the claim's own seeds alone (a line without a seed has seed 0). So a claim that came to mind when lines could
    be seen is made for seeds that nobody has run, and is stated beforehand like any other.

    name       of the claim, within its paper
    check      the rule in words, as the protocol has it
    published  the paper's figure, as a text
    seeds      how many repeats it is judged by
    budget     what is spent on one repeat, in words
    first      the first of its seeds; the last is first + seeds - 1
    explains   the name of the claim that came out in a way that this one explains; empty for a claim of the paper's own
    """

    name: str
    check: str
    published: str
    seeds: int
    budget: str
    first: int = 0
    explains: str = ""

    @property
    def digest(self) -> str:
        """16 hex digits of all that a claim says, and of its rule's code."""
        said = [super().digest, self.name, self.check, self.published, self.seeds, self.budget]
        said += [self.first] * (self.first > 0)  # claims were stated before there was a first seed
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def select(self, lines: Lines) -> Lines:
        """The lines of its own seeds; a line without a seed has seed 0."""
        return [line for line in lines if self.first <= line.get("seed", 0) < self.first + self.seeds]

    def finding(self, lines: Lines) -> Finding:
        """What the rule says of the lines of the claim's own seeds."""
        return self._judge(self.select(lines))

    def earlier_finding(self, lines: Lines) -> Finding:
        """What the rule says of the seeds before its own: those that could be seen when the claim was made."""
        return self._judge([line for line in lines if line.get("seed", 0) < self.first])

    def _judge(self, lines: Lines) -> Finding:
        found = self.rule(lines) if lines else Finding(None, "nothing is measured yet")
        return found if isinstance(found, Finding) else Finding(found.holds, found.evidence)


@dataclass(frozen=True, eq=False)
class Paper:
    """A paper, as its folder's claims.py defines it under the name PAPER; figure.py beside it has `draw(lines) -> Figure`.

    name          of the folder
    title         of the paper
    reference     authors, year, where it is found
    claims        what is claimed
    measurements  makes the list of all that is to be measured
    quick         the key of a measurement that takes less than a minute
    needs         the files below $HPO_DATA that are read; published_at: where they are published
    """

    name: str
    title: str
    reference: str
    claims: Sequence[PaperClaim]
    measurements: Callable[[], Sequence[Measurement]]
    quick: Mapping[str, Any]
    needs: Sequence[str] = ()
    published_at: str = ""

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    def ledger(self, path: Path | None = None) -> Ledger:
        """Its lines; by default those of its folder. What a line took is no part of what is compared."""
        chosen = self.folder / "results.jsonl" if path is None else path
        return Ledger(chosen, self.measurements(), compare=without_seconds, claims=self.claims)

    def lines(self, path: Path | None = None) -> Lines:
        """What is stored."""
        return list(self.ledger(path).latest().values())

    @property
    def missing_data(self) -> str | None:
        """A sentence if a file that it reads is not there."""
        absent = [name for name in self.needs if not data_file(name).is_file()]
        if not absent:
            return None
        return f"{self.name} reads {absent[0]} below $HPO_DATA, which is not there; it is published with {self.published_at}"


def measurement(key: Mapping[str, Any], run: Callable[[], Mapping[str, Any]], *sources: str, file: str = "") -> Measurement:
    """One line of a paper: what `run` finds, with the processor time that it took, the versions and the machine.

    key      names it: {"method": "EI", "seed": 0}; all but the seed is its group, one of which speaks for the others
    sources  the code that it depends on, as experiments/ledger/digest.py reads it; of registries the rows that a plain GP
             and `minimize` use are added
    file     the file below $HPO_DATA that is measured: another content is another task
    """

    def timed() -> dict[str, Any]:
        begun = time.process_time()
        found = run()
        return {**found, "seconds": round(time.process_time() - begun, 3), "versions": versions(), "machine": platform.machine()}

    group = json.dumps({name: value for name, value in key.items() if name != "seed"}, sort_keys=True)
    rows = (*STUDY, "hpo.executors:EXECUTORS[inline]", *gp_rows().values())
    return Measurement(key, timed, (*sources, *rows), digest_file(file) if file else None, group)


@lru_cache
def digest_file(name: str) -> str | None:
    """16 hex digits of a file below $HPO_DATA; None where it is not there."""
    path = data_file(name)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None


def versions() -> dict[str, str]:
    """Of Python and of the libraries that decide last digits."""
    return {"python": platform.python_version(), **{package: version(package) for package in ("numpy", "scipy")}}


def without_seconds(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's result, without the time that it took."""
    return {name: value for name, value in result(line).items() if name != "seconds"}


def list_papers() -> list[str]:
    """The names of all papers, by year and name: every folder here with a claims.py."""
    names = [found.name for found in pkgutil.iter_modules(papers.__path__) if (ROOT / found.name / "claims.py").is_file()]
    return sorted(names, key=lambda name: (name[-4:], name))


def find_paper(name: str) -> Paper:
    """A paper by the name of its folder. ValueError for one that is not there."""
    if name not in list_papers():
        raise ValueError(f"no paper is called {name!r}; there are {', '.join(list_papers())}")
    paper: Paper = importlib.import_module(f"papers.{name}.claims").PAPER
    return paper
