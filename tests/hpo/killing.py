"""Real kill -9 of drivers and workers, at moments that are certain: `python -m tests.hpo.killing --count 200`.

Who is killed (driver, worker, both) and inside what (training, saving, appending, start-up) goes through all twelve
combinations, over five optimizers, with an objective that forks a process at every job, and every other study on a disk
that is nearly full. A process that reaches the moment says so in a file and waits there to be killed from outside. After
every death, and at the end of every study, the campaign counts what must never be: results lost, results told twice,
orphans, files left over, prefixes of the log that propose another job than they did.

What is found stands, a line a study, in FOLDER/found.jsonl; the same command goes on from there. Linux only: processes
are found by their environment in /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

from hpo import History, SQLiteLog, Study
from hpo.executors import standing_name
from hpo.job import Job
from hpo.logs import MemoryLog
from tests.hpo.victims import DONE, FULL, HORIZON, LIMIT, MAKERS, SIZE, drive, follow, note

WHO = ("driver", "worker", "both")
WHERE = ("training", "saving", "appending", "start-up")
INSIDE = ("before", "commit", "after")  # of appending: in turn
DISK = 2_500_000  # bytes of the disk that is nearly full
TAG = "HPO_CAMPAIGN"
PATIENCE = 900.0  # seconds until something that must happen has not happened

# -- the campaign ------------------------------------------------------------------------------------------------------


class Life:
    """A driver that was forked from here, with everything imported."""

    def __init__(self, tag: str, act: Callable[[], int]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
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


class Ordeal:
    """One study from its first driver to its end, through the kills that it is given."""

    def __init__(self, root: Path, number: int, name: str, full: bool, kills: list[tuple[str, str]], first: int) -> None:
        self.name, self.seed, self.kills, self.first = name, number, kills, first
        self.folder, self.full, self.tag = root / f"study-{number}", full, uuid4().hex
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "tmp").mkdir(parents=True)
        self.temporary = name in ("random", "gp") and not full  # nothing is resumed there: a temporary folder will do
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        self.mounted = full and mount(self.disk)
        self.faults: Counter[str] = Counter()
        self.done: list[tuple[str, str]] = []
        self.results: dict[str, Any] = {}

    def go(self) -> dict[str, Any]:
        try:
            life = self._kill_all()
            self._finish(life)
            self._check_end()
        finally:
            if self.mounted:
                subprocess.run(["umount", str(self.disk)], check=True)
        found = {"study": self.seed, "optimizer": self.name, "full": self.full and self.mounted, "kills": self.done,
                 "faults": dict(self.faults), "results": len(self.results), "lost events": self.lost}  # fmt: skip
        if not self.faults:
            shutil.rmtree(self.folder)
        return found

    def _start(self) -> Life:
        folder, disk, tmp = self.folder, None if self.temporary else self.disk, str(self.folder / "tmp")

        def act() -> int:
            os.environ["TMPDIR"] = tempfile.tempdir = tmp
            return drive(folder, disk, self.name, self.seed)

        return Life(self.tag, act)

    def _kill_all(self) -> Life | None:
        """Every kill in turn; the driver that is alive after the last one, if any is."""
        life: Life | None = None
        before = -1
        for number, (who, where) in enumerate(self.kills):
            moment = f"appending {INSIDE[(self.first + number) % 3]}" if where == "appending" else where
            count = 1 + (self.first + number) % 2
            note(self.folder / "wanted", json.dumps({"kill": number, "moment": moment, "count": count}))
            (self.folder / f"go-{before}").touch()
            before = number
            there = self.folder / f"there-{number}"
            life = self._reach(there, life)
            if life is None or life.status == DONE:
                return life
            life = self._kill(life, who, where, int(there.read_text()))
            self._check_told()
        (self.folder / f"go-{before}").touch()
        return life

    def _reach(self, there: Path, life: Life | None) -> Life | None:
        """A driver in which somebody is at the moment that this file tells of, or one that is done before; None if neither."""
        for _ in range(20):
            current = life if life is not None else self._start()
            if not eventually(lambda current=current: there.exists() or current.ended()):  # type: ignore[misc]
                self.faults["stalled"] += 1
                current.kill()
                eventually(current.ended)
                return None
            if there.exists() or current.status == DONE:
                return current
            self._relieve(current)
            life = None
        return None

    def _kill(self, life: Life, who: str, where: str, there: int) -> Life | None:
        worker = there if there != life.pid else random.Random(len(self.done)).choice(self._workers(life) or [there])
        if who in ("driver", "both"):
            life.kill()
        if who in ("worker", "both") and worker != life.pid:
            with_it = [pid for pid in family(self.tag) if group(pid) == worker]
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:
                assert who == "both"  # the watchdog was quicker
            if not eventually(lambda: not any(pid in family(self.tag) for pid in with_it), 900.0):
                self.faults["orphan of a worker"] += 1
        self.done.append((who, where))
        if who == "worker":
            return life
        eventually(life.ended)
        if not eventually(lambda: not family(self.tag), 900.0):
            self.faults["orphan"] += len(family(self.tag))
            print("orphans:", family(self.tag), file=sys.stderr, flush=True)
        return None

    def _workers(self, life: Life) -> list[int]:
        return sorted(pid for pid, command in family(self.tag).items() if "spawned.py" in command and group(pid) == pid)

    def _relieve(self, life: Life) -> None:
        """The driver has ended by itself: on a full disk somebody makes room."""
        if life.status != FULL:
            self.faults[f"driver ended with {life.status}"] += 1
        if not eventually(lambda: not family(self.tag), 900.0):
            self.faults["orphan"] += 1
        (self.disk / "ballast").unlink(missing_ok=True)

    def _finish(self, life: Life | None) -> None:
        (self.folder / "wanted").unlink(missing_ok=True)
        for _ in range(20):
            life = life if life is not None else self._start()
            current = life
            if not eventually(current.ended, 4 * PATIENCE):
                self.faults["stalled"] += 1
                current.kill()
                eventually(current.ended)
                return
            if life.status == DONE:
                return
            self._relieve(life)
            life = None
        self.faults["never done"] += 1

    # -- what must never be ------------------------------------------------------------------------------------------

    def _read(self) -> list[Any]:
        path = self.folder / "log.db"
        if not path.exists():
            return []
        log = SQLiteLog(path)  # may write: a driver that was killed inside a commit left a journal to roll back
        try:
            log.open(MAKERS[self.name](self.seed).header(None, "evaluations", HORIZON, LIMIT).to_json())
            return list(log.read(0))
        finally:
            log.close()

    def _check_told(self) -> None:
        """Everything that was told, here or to any driver's watcher, stands in the log, once, as it was. What the watchers were
        told is read first: a driver that lives goes on meanwhile."""
        path = self.folder / "told"
        rows = path.read_text().splitlines() if path.exists() else []
        finishes = [event.body for event in self._read() if event.kind == "finish"]
        results = {f"{body['trial']}-{body['until']}": body["result"] for body in finishes}
        self.faults["twice"] += len(finishes) - len(results)
        self.faults["lost"] += sum(results.get(key) != result for key, result in self.results.items())
        told: Counter[str] = Counter()
        for row in rows:
            trial, until, loss = json.loads(row)
            told[f"{trial}-{until}"] += 1
            self.faults["lost"] += results.get(f"{trial}-{until}", {}).get("metrics", {}).get("loss") != loss
        self.faults["twice"] += sum(count > 1 for count in told.values())
        self.results = results
        self.faults += Counter()  # zeros go

    def _check_end(self) -> None:
        if not eventually(lambda: not family(self.tag), 900.0):
            self.faults["orphan at the end"] += 1
        self._check_told()
        events = self._read()
        self.lost = Counter(event.body["cause"] for event in events if event.kind == "lost")
        log = MemoryLog()
        for event in events:
            log.append(event)
        study = Study(MAKERS[self.name](self.seed), horizon=HORIZON, log=log, lost_limit=LIMIT)
        self.faults["pending at the end"] += len(study.history.pending) + len(study.history.retries)
        self.faults["wrong value"] += sum(
            study.history.results[key].metrics.get("loss") != value(study.history, study.history.jobs[key])
            for key in study.history.results
        )
        self.faults["prefix"] += prefixes(self.name, self.seed, events)
        kept = set() if self.temporary else {standing_name(study.history, key) for key in study.keep()}
        files = {path.name for path in self.disk.iterdir()} - {"ballast"}
        self.faults["file left"] += len(files - kept) + len(list((self.folder / "tmp").iterdir()))
        self.faults["file missing"] += len(kept - files)
        self.faults["file of the log left"] += len([p for p in self.folder.glob("log.db*") if p.name != "log.db"])
        self.faults += Counter()


def value(history: History, job: Job) -> float:
    """What an undisturbed worker would have told for a job."""
    line_: list[Job] = [job]
    while line_[0].source is not None:
        line_.insert(0, history.jobs[line_[0].source])
    state, step = 1.0, 0
    for part in line_:
        while step < part.until:
            step += 1
            state = follow(state, part.config, part.seed, step)
    return state


def prefixes(name: str, seed: int, events: list[Any]) -> int:
    """How many starts another driver would not have made after what this one had read."""
    wrong = 0
    log = MemoryLog()
    study = Study(MAKERS[name](seed), horizon=HORIZON, log=log, lost_limit=LIMIT)
    for event in events:
        if event.kind == "start":
            job = study.optimizer.decide(study.history)
            assert event.body["seen"] == len(study.history), "one driver at a time reads everything"
            wrong += job is None or job.to_json() != Job.from_json(event.body["job"]).to_json()
        log.append(event)
        study.history.refresh()
    return wrong


def mount(disk: Path) -> bool:
    """A small disk of its own that is nearly full, where the system lets us mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "hpo", str(disk)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return False
    (disk / "ballast").write_bytes(b" " * (DISK - 4 * SIZE))
    return True


def campaign(root: Path, count: int, each: int = 8) -> list[dict[str, Any]]:
    """Studies until `count` kills are done; a line of found.jsonl each."""
    root.mkdir(parents=True, exist_ok=True)
    record = root / "found.jsonl"
    found = [json.loads(row) for row in record.read_text().splitlines()] if record.exists() else []
    names = list(MAKERS)
    while sum(len(entry["kills"]) for entry in found) < count:
        done = Counter(tuple(kill) for entry in found for kill in entry["kills"])
        number = len(found)
        combinations = sorted(product(WHO, WHERE), key=lambda pair: (done[pair], random.Random(f"{number}{pair}").random()))
        left = count - sum(done.values())
        ordeal = Ordeal(root, number, names[number % len(names)], number // len(names) % 2 == 1,
                        combinations[: min(each, left)], sum(done.values()))  # fmt: skip
        found.append(ordeal.go())
        with record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found[-1]) + "\n")
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The counts of a campaign, as people read them."""
    kills = Counter(tuple(kill) for entry in found for kill in entry["kills"])
    faults: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    for entry in found:
        faults.update(entry["faults"])
        losses.update(entry["lost events"])
    lines = [f"{'':10}" + "".join(f"{where:>11}" for where in WHERE) + f"{'all':>11}"]
    for who in WHO:
        row = [kills[who, where] for where in WHERE]
        lines.append(f"{who:10}" + "".join(f"{number:>11}" for number in [*row, sum(row)]))
    sums = [sum(kills[who, where] for who in WHO) for where in WHERE]
    lines.append(f"{'all':10}" + "".join(f"{number:>11}" for number in [*sums, sum(sums)]))
    by = Counter(entry["optimizer"] for entry in found for _ in entry["kills"])
    full = sum(len(entry["kills"]) for entry in found if entry["full"])
    lines += [f"by optimizer: {dict(by)}; on a nearly full disk: {full}; studies: {len(found)}",
              f"results: {sum(entry['results'] for entry in found)}; jobs lost: {dict(losses)}",
              f"faults: {dict(faults) or 'none'}"]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200, help="kills in all")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/hpo-killing"), help="where studies and counts stand")
    arguments = parser.parse_args()
    found = campaign(arguments.folder, arguments.count)
    print(table(found))
    sys.exit(any(entry["faults"] for entry in found))


if __name__ == "__main__":
    main()
