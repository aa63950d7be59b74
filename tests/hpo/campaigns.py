"""What campaigns share: processes that are forked from here and found again in /proc, where their logs stand, what they find."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from hpo import History, Study
from hpo.job import Job
from hpo.logs import Event, open_log, sqlite
from hpo.logs.base import canonical
from hpo.logs.urls import Place
from tests.hpo.own_servers import OWN, OwnServer

pytest.importorskip("sqlalchemy")
from hpo.logs import database

TAG = "HPO_CAMPAIGN"
PATIENCE = 900.0  # seconds until something that must happen has not happened
SEVERAL = "sqlite?study"  # a file of several studies
LOGS = ("sqlite", SEVERAL, *OWN)


class Life:
    """A driver that was forked from here, with everything imported."""

    def __init__(self, tag: str, act: Callable[[], int]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ[TAG] = tag
            code = 1
            try:
                code = act()
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(code)
        self.status: int | None = None

    def ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def family(tag: str) -> dict[int, str]:
    """Living processes that were spawned under this tag, and what was forked from them: pid -> command line."""
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            tagged = f"{TAG}={tag}\0".encode() in Path(entry.path, "environ").read_bytes()
            if tagged and Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found[int(entry.name)] = Path(entry.path, "cmdline").read_text()
        except OSError:  # it ends just now
            continue
    return found


def kill_all(lives: Iterable[Life], tag: str) -> None:
    """Kills drivers and their family: a campaign that is ended leaves none."""
    for pid in [*(life.pid for life in lives if not life.ended()), *family(tag)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def clear_up_on_termination() -> None:
    """SIGTERM ends this process like Ctrl-C, through every `finally`."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def note(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_text(text)
    half.rename(path)


class Servers:
    """Database servers of a campaign's own, each started when it is first needed, and where logs stand. Meanwhile logs wait,
    here and in what is forked from here, however busy the machine is."""

    def __init__(self) -> None:
        self._own: dict[str, OwnServer] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        for module, name in ((database, "PATIENCE"), (database, "FIRST"), (sqlite, "PATIENCE")):
            patch.setattr(module, name, PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def get(self, log: str) -> OwnServer:
        if log not in self._own:
            self._own[log] = self._stack.enter_context(OWN[log]())
        return self._own[log]

    def url(self, log: str, folder: Path) -> str:
        """Of a log in a folder, or of the study of the folder's name on a server."""
        if log in OWN:
            return f"{self.get(log).url}?study={folder.name}"
        return f"sqlite:///{folder / 'log.db'}" + ("?study=study" if log == SEVERAL else "")


def read_log(url: str, header: Any) -> tuple[list[Event], int]:
    """Every event, proved, and how many drivers have a row; none without a log. A driver that was killed inside a commit to a
    file of one study left a journal, which only somebody who may write can roll back."""
    place = Place.of(url)
    if place.path is not None and not Path(place.path).exists():
        return [], 0
    log = open_log(url, readonly="?study" in url)
    try:
        if log.header() is None:
            return [], 0
        log.open(header)
        return list(log.read(0)), len(log.drivers())
    finally:
        log.close()


# -- what must be ------------------------------------------------------------------------------------------------------


def count_other_proposals(make: Callable[[], Study], events: Sequence[Event]) -> int:
    """How many starts another driver would not have made after what these had read. make: the study on an empty log in
    memory."""
    wrong, study = 0, make()
    history = study.history
    for start in sorted((event for event in events if event.kind == "start"), key=lambda event: int(event.body["seen"])):
        for event in events[len(history) : start.body["seen"]]:
            history.log.append(event)
        history.refresh()
        job = study.optimizer.decide(history)
        wrong += job is None or job.to_json() != Job.from_json(start.body["job"]).to_json()
    return wrong


def list_jobs(events: Iterable[Event]) -> list[str]:
    """Every job that was given out, once, by key."""
    starts = (event.body["job"] for event in events if event.kind == "start" and not event.body["attempt"])
    return [canonical(job) for job in sorted(starts, key=lambda job: (job["trial"], job["until"]))]


def lineage(history: History, job: Job) -> list[Job]:
    """The jobs that made a job's weights, from a start from nothing on."""
    found = [job]
    while found[0].source is not None:
        found.insert(0, history.jobs[found[0].source])
    return found


# -- what was found ----------------------------------------------------------------------------------------------------


def read_record(root: Path) -> list[dict[str, Any]]:
    """What a campaign in this folder has found so far."""
    record = root / "found.jsonl"
    return [json.loads(row) for row in record.read_text().splitlines()] if record.exists() else []


def append_record(root: Path, found: dict[str, Any]) -> None:
    with (root / "found.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def tabulate(counts: Counter[Any], rows: Sequence[str], columns: Sequence[str], keys: Callable[[str, str], Any]) -> list[str]:
    """Lines of a table of counts with sums."""
    lines = [f"{'':14}" + "".join(f"{column:>13}" for column in [*columns, "all"])]
    table = [[counts[keys(row, column)] for column in columns] for row in rows]
    sums = [sum(column) for column in zip(*table, strict=True)]
    for name, numbers in zip([*rows, "all"], [*table, sums], strict=True):
        lines.append(f"{name:14}" + "".join(f"{number:>13}" for number in [*numbers, sum(numbers)]))
    return lines
