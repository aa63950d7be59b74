"""Trackers: watchers that write a study's results to where people look at them; and CSV, which needs no other library.

    from hpo.integrations.tensorboard import TensorBoard
    from hpo.integrations.trackers import CSV

    hpo.minimize(objective, space, trials=50, watch=[CSV("trials.csv"), TensorBoard("runs")])

Each keeps to four rules:

- A result is written once. When a run begins, a tracker asks its place what stands there of this study, so a study that is
  resumed goes on where it was, and a result whose driver was killed between the log and the tracker is written then. What other
  drivers that live have finished is theirs.
- A trial is one run in the tracker, whatever pauses and drivers it went through, with its configuration and the metrics of its
  last result. The curve within each training is logged by step, and no step twice.
- What a tracker could not write it tries again after the next results and at the end, three times in all.
- `tracker.export(study)` writes a study that was run without it.
"""

from __future__ import annotations

import csv
import io
import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hpo.analysis.export import cell_text
from hpo.analysis.paths import write_whole
from hpo.history import History
from hpo.job import Key
from hpo.leases import Heartbeats
from hpo.logs.base import canonical
from hpo.study import Study
from hpo.table import columns, row_cells
from hpo.trial import first_objective
from hpo.watchers import Watcher

try:
    import fcntl
except ImportError:  # no such locks here
    fcntl = None  # type: ignore[assignment]

TRIES = 3  # to write a result


@dataclass(frozen=True)
class Finish:
    """A result as trackers write it.

    curve            (step, value) of the first objective since the checkpoint that the job began with, its budget included
    started, ended   seconds since the epoch
    """

    key: Key
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    curve: tuple[tuple[int, float], ...]
    error: str | None
    seed: int
    source: Key | None
    system: Mapping[str, float]
    started: float
    ended: float

    @property
    def name(self) -> str:
        """What the run of its trial is called."""
        return f"trial-{self.key[0]}"


class Tracker(Watcher, ABC):
    """A watcher that writes each result once, to a place that knows what it holds. A subclass writes the three methods below."""

    def __init__(self) -> None:
        self._tried: Counter[Key] = Counter()  # how often each result was tried in vain
        self._known: set[Key] = set()
        self._left: list[Key] = []  # what is still to be written
        self._times = Times()

    @abstractmethod
    def open(self, study: Study) -> Iterable[Key]:
        """Makes ready to write; the results of this study that stand there already."""

    @abstractmethod
    def write(self, study: Study, done: Finish) -> None:
        """Writes one result, whole or not at all where that is possible."""

    def close(self) -> None:
        """Releases what `open` took."""

    def begin(self, study: Study) -> None:
        self._tried.clear()
        self._times = Times()
        self._known, self._left = set(self.open(study)), []
        self._left = [key for key in list_orphans(study.history) if key not in self._known]
        self._write_all(study)

    def __call__(self, study: Study, key: Key | None) -> None:
        if key is not None and key not in self._known:
            self._left.append(key)
            self._write_all(study)

    def end(self, study: Study) -> None:
        try:
            self._write_all(study)
        finally:
            self.close()

    def export(self, study: Study) -> int:
        """Writes every result of a study that does not stand there yet; how many these were."""
        try:
            self._tried.clear()
            self._times, self._known = Times(), set(self.open(study))
            self._left = [key for key in study.history.results if key not in self._known]
            count = len(self._left)
            self._write_all(study)
        finally:
            self.close()
        return count

    def _write_all(self, study: Study) -> None:
        """Writes what is left. The first exception is raised when all were tried, and its result is left for the next time."""
        left, self._left, failure = self._left, [], None
        for key in left:
            try:
                self.write(study, self._times.finish(study.history, key))
            except Exception as error:
                failure = failure or error
                self._tried[key] += 1
                if self._tried[key] < TRIES:
                    self._left.append(key)
            else:
                self._known.add(key)
        if failure is not None:
            raise failure


@dataclass
class Times:
    """When each job was started and finished, each event read once."""

    read: int = 0
    started: dict[Key, float] = field(default_factory=dict)
    ended: dict[Key, float] = field(default_factory=dict)

    def finish(self, history: History, key: Key) -> Finish:
        """A finished key as trackers write it."""
        for event in history.events[self.read :]:
            body = event.body.get("job", event.body)
            if event.kind in ("start", "add"):
                self.started[body["trial"], body["until"]] = event.time
            if event.kind in ("finish", "add", "lost"):
                self.ended[body["trial"], body["until"]] = event.time
        self.read = len(history.events)
        job, result = history.jobs[key], history.results[key]
        begin = 0 if job.source is None else job.source[1]  # a function that is resumed by another process begins anew
        curve, objective = {step: value for step, value in result.curve if step > begin}, first_objective(history)
        if objective in result.metrics:
            curve[key[1]] = result.metrics[objective]
        ended = self.ended.get(key, 0.0)
        return Finish(key, dict(job.config), dict(result.metrics), tuple(sorted(curve.items())), result.error, job.seed,
                      job.source, dict(result.system), self.started.get(key, ended), ended)  # fmt: skip


def list_orphans(history: History) -> list[Key]:
    """Results that no driver which lives, except this one, is about to write: all but theirs, in order of arrival."""
    heartbeats, asked = Heartbeats(history.log), time.monotonic()
    rows = [(row, age) for row, age in history.log.drivers() if row.number != history.driver]
    others = {row.number for row, age in rows if heartbeats.is_alive(row, age, asked)}
    if not others:
        return list(history.results)
    theirs = {(event.body["job"]["trial"], event.body["job"]["until"]) for event in history.events
              if event.kind == "start" and event.body.get("driver") in others}  # fmt: skip
    return [key for key in history.results if key not in theirs]


def study_identity(history: History) -> str:
    """Twelve letters that this study has wherever its log stands, and no other: of its header and its first event."""
    first = [[event.canonical(), event.time] for event in history.events[:1]]
    return blake2b(canonical([history.header.to_json(), first]).encode(), digest_size=6).hexdigest()


def study_name(history: History) -> str:
    """A name for people and folders: that of the log's file, and a few letters of the identity."""
    stem = history.log.path.stem if history.log.path is not None else "study"
    return f"{stem}-{study_identity(history)[:6]}"


def require(package: str, extra: str) -> None:
    """ModuleNotFoundError in a sentence where a tracker's package is not installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ModuleNotFoundError(f"{package} is not installed; pip install 'hpo-lm[{extra}]'", name=package)


class Diary:
    """A file beside what a tracker writes, with a line for each result that was written; for places that do not tell it."""

    def __init__(self, path: Path, study: str) -> None:
        self.path, self.study = path, study

    def read(self) -> set[Key]:
        """The results of this study that were written, by any driver."""
        if not self.path.exists():
            return set()
        rows = (line.split() for line in self.path.read_text(encoding="utf-8").splitlines())
        return {(int(row[1]), int(row[2])) for row in rows if len(row) == 3 and row[0] == self.study}

    def append(self, key: Key) -> None:
        """Notes one more. One short line by one write, so several processes may do so at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write(f"{self.study} {key[0]} {key[1]}\n".encode())


class CSV(Tracker):
    """A table of results in a file, with the columns of `study.dataframe()`; each row is there as soon as its result is.

    path   of the file. One that holds rows of this study is continued; several drivers on one machine may share it. ValueError
           where it holds something else

    A metric that comes later makes a new column, for which the file is written anew.
    """

    STUDY = "study"  # the column that tells whose rows these are

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._study = ""
        self._state: tuple[int, int] | None = None  # of the file as it was last read or written here: its number and size
        self._head: list[str] = []
        self._keys: set[tuple[str, str, str]] = set()  # study, trial, until of every row

    def open(self, study: Study) -> Iterable[Key]:
        self._study, self._state = study_identity(study.history), None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            self._look()
        return {(int(trial), int(until)) for owner, trial, until in self._keys if owner == self._study}

    def write(self, study: Study, done: Finish) -> None:
        cells = {self.STUDY: self._study, **row_cells(study.history, done.key), "started": _instant(done.started),
                 "finished": _instant(done.ended)}  # fmt: skip
        row = {name: "" if value is None else str(cell_text(value)) for name, value in cells.items()}
        key = (self._study, row["trial"], row["until"])
        with self._lock():
            self._look()
            if key in self._keys:  # another driver came first
                return
            if self._head and row.keys() <= {*self._head}:
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self._head).writerow(row)
            else:
                wanted = [self.STUDY, *columns(study.history), *self._head, *row]
                self._replace(list(dict.fromkeys(wanted)), [*self._read()[1], row])
            self._keys.add(key)
            self._state = self._stat()

    def _look(self) -> None:
        """Reads the file where somebody else has changed it."""
        if self._stat() == self._state:
            return
        self._head, rows = self._read()
        self._keys = {(row[self.STUDY], row["trial"], row["until"]) for row in rows}
        self._state = self._stat()

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The head and the rows. One that a killed driver has written in part is taken away."""
        if not self.path.exists() or not self.path.stat().st_size:
            return [], []
        text = self.path.read_bytes().decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
        head, rows = list(reader.fieldnames or ()), list(reader)
        if not {self.STUDY, "trial", "until"} <= {*head}:
            raise ValueError(f"the file {str(self.path)!r} is no table of a study; CSV continues only what it has written")
        if not text.endswith("\n"):
            self._replace(head, rows := rows[:-1])
        return head, [row for row in rows if row["trial"].isdigit() and row["until"].isdigit()]

    def _replace(self, head: list[str], rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, head, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.path, text.getvalue().encode())
        self._head = head

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Only one process of this machine at a time. The lock is on the folder: the file is replaced."""
        descriptor = os.open(self.path.parent, os.O_RDONLY) if fcntl is not None else None
        try:
            if descriptor is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
