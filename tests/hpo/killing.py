"""Real kill -9 of drivers, workers and database servers: `python -m tests.hpo.killing --count 200`.

Who is killed (driver, worker, both, the server) and inside what (training, saving, appending, start-up, or any moment) goes
through all combinations over every kind of log, over five optimizers, with an objective that forks a process at every job, and
every other study on a disk that is nearly full. A process that reaches the moment says so in a file and waits there until the
kill is over; at `any` moment nobody waits, and the kill comes a random time later. A server is started again after a while, and
the same driver has to go on. After every kill, and at the end of every study, the campaign counts what must never be: results
lost, results told twice, orphans, files and rows left over, jobs that are not those of an undisturbed study.

Servers are the campaign's own. What is found stands, a line a study, in FOLDER/found.jsonl; the same command goes on from there.
Linux only: processes are found by their environment in /proc. tests/hpo/test_hpo_kill.py breaks things on purpose, and
sees them found.
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
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

from hpo.executors import standing_name
from hpo.logs import MemoryLog
from tests.hpo.campaigns import (
    LOGS,
    OWN,
    Life,
    Servers,
    append_record,
    clear_up_on_termination,
    count_other_proposals,
    eventually,
    family,
    group,
    kill_all,
    list_jobs,
    note,
    read_log,
    read_record,
    tabulate,
)  # fmt: skip
from tests.hpo.victims import (
    ANY,
    DONE,
    FULL,
    HORIZON,
    LIMIT,
    MAKERS,
    REPRODUCIBLE,
    SIZE,
    drive,
    list_undisturbed,
    make_study,
    train,
)  # fmt: skip

WHO = ("driver", "worker", "both", "server")
WHERE = ("training", "saving", "appending", "start-up", ANY)
INSIDE = ("before", "commit", "after")  # of appending: in turn
DISK = 2_500_000  # bytes of the disk that is nearly full
PASSES = 30  # moments until one of any kind
SLOWEST = 0.05  # seconds from there to the kill
AWAY = 0.7  # seconds that a server is away at most, beside its own start
Kill = tuple[str, str]  # who, where


class Ordeal:
    """One study from its first driver to its end, through the kills that it is given."""

    def __init__(self, root: Path, number: int, log: str, servers: Servers, kills: Sequence[Kill], first: int, seed: int) -> None:
        names = list(MAKERS)
        self.number, self.log, self.kills, self.first = number, log, kills, first
        self.name, self.full = names[number % len(names)], (number + number // len(LOGS)) % 2 == 1  # of every log
        self.seed, self.rng = number + 1000 * seed, random.Random(f"{seed} {number}")
        self.folder, self.tag = root / f"study-{number}", uuid4().hex
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "tmp").mkdir(parents=True)
        self.server, self.url = servers.get(log) if log in OWN else None, servers.url(log, self.folder)
        self.temporary = self.name in ("random", "gp") and not self.full  # nothing is resumed there: a temporary folder will do
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        self.mounted = self.full and mount(self.disk)
        self.faults: Counter[str] = Counter()
        self.lives: list[Life] = []
        self.done: list[Kill] = []
        self.results: dict[str, Any] = {}

    def go(self) -> dict[str, Any]:
        try:
            life = self._kill_all()
            self._finish(life)
            self._check_end()
        finally:
            kill_all(self.lives, self.tag)
            if self.mounted:
                subprocess.run(["umount", str(self.disk)], check=True)
        found = {
            "study": self.number, "log": self.log, "optimizer": self.name, "full": self.full and self.mounted, "kills": self.done,
            "faults": dict(self.faults), "results": len(self.results), "lost events": self.lost,
        }  # fmt: skip
        if not self.faults:
            shutil.rmtree(self.folder)
        return found

    def _start(self) -> Life:
        disk, tmp = None if self.temporary else self.disk, str(self.folder / "tmp")

        def act() -> int:
            os.environ["TMPDIR"] = tempfile.tempdir = tmp
            return drive(self.folder, self.url, disk, self.name, self.seed)

        self.lives.append(Life(self.tag, act))
        return self.lives[-1]

    def _kill_all(self) -> Life | None:
        """Every kill in turn; the driver that is alive after the last one, if any is."""
        life: Life | None = None
        before = -1
        for number, (who, where) in enumerate(self.kills):
            moment = f"appending {INSIDE[(self.first + number) % 3]}" if where == "appending" else where
            count = self.rng.randint(1, PASSES) if where == ANY else 1 + (self.first + number) % 2
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
        """Kills; the driver, if it lives. What had ended by itself at that moment is no kill."""
        if where == ANY:
            time.sleep(self.rng.random() * SLOWEST)
        worker = there if there != life.pid else self.rng.choice(self._workers(life) or [there])
        died = False
        if who == "server":
            died = self._kill_server()
        if who in ("driver", "both"):
            life.kill()
            eventually(life.ended)
            died = life.status == -signal.SIGKILL
        if who in ("worker", "both") and worker != life.pid:
            died = self._kill_worker(worker) or died
        if died:
            self.done.append((who, where))
        if who in ("worker", "server"):
            return life
        if not eventually(lambda: not family(self.tag)):
            self.faults["orphan"] += len(family(self.tag))
            print("orphans:", family(self.tag), file=sys.stderr, flush=True)
        return life if life.status == DONE else None

    def _kill_worker(self, worker: int) -> bool:
        with_it = [pid for pid in family(self.tag) if group(pid) == worker]
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:  # the watchdog was quicker, or the study is over
            return False
        if not eventually(lambda: not any(pid in family(self.tag) for pid in with_it)):
            self.faults["orphan of a worker"] += 1
        return True

    def _kill_server(self) -> bool:
        assert self.server is not None
        self.server.kill()
        time.sleep(self.rng.random() * AWAY)
        self.server.start()
        return True

    def _workers(self, life: Life) -> list[int]:
        return sorted(pid for pid, command in family(self.tag).items() if "spawned.py" in command and group(pid) == pid)

    def _relieve(self, life: Life) -> None:
        """The driver has ended by itself: on a full disk somebody makes room."""
        if life.status != FULL:
            self.faults[f"driver ended with {life.status}"] += 1
        if not eventually(lambda: not family(self.tag)):
            self.faults["orphan"] += 1
        (self.disk / "ballast").unlink(missing_ok=True)

    def _finish(self, life: Life | None) -> None:
        (self.folder / "wanted").unlink(missing_ok=True)
        for _ in range(20):
            life = life if life is not None else self._start()
            if not eventually(life.ended):
                self.faults["stalled"] += 1
                life.kill()
                eventually(life.ended)
                return
            if life.status == DONE:
                return
            self._relieve(life)
            life = None
        self.faults["never done"] += 1

    # -- what must never be ------------------------------------------------------------------------------------------

    def _read(self) -> tuple[list[Any], int]:
        return read_log(self.url, MAKERS[self.name](self.seed).header(None, "evaluations", HORIZON, LIMIT).to_json())

    def _check_told(self) -> None:
        """Everything that was told, here or to any driver's watcher, stands in the log, once, as it was. What the watchers were
        told is read first: a driver that lives goes on meanwhile."""
        path = self.folder / "told"
        rows = path.read_text().splitlines() if path.exists() else []
        finishes = [event.body for event in self._read()[0] if event.kind == "finish"]
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
        if not eventually(lambda: not family(self.tag)):
            self.faults["orphan at the end"] += 1
        self._check_told()
        events, rows = self._read()
        self.lost = Counter(event.body["cause"] for event in events if event.kind == "lost")
        log = MemoryLog()
        for event in events:
            log.append(event)
        study = make_study(self.name, self.seed, log)
        history, faults = study.history, self.faults
        faults["pending at the end"] += len(history.pending) + len(history.retries)
        faults["wrong value"] += sum(
            history.results[key].metrics.get("loss") != train(history, history.jobs[key]) for key in history.results
        )
        faults["not all was read"] += sum(event.kind == "start" and event.body["seen"] != i for i, event in enumerate(events))
        faults["prefix"] += count_other_proposals(lambda: make_study(self.name, self.seed, MemoryLog()), events)
        if self.name in REPRODUCIBLE:
            faults["another search"] += list_jobs(events) != list_undisturbed(self.name, self.seed)
        kept = set() if self.temporary else {standing_name(history, key) for key in study.keep()}
        files = {path.name for path in self.disk.iterdir()} - {"ballast"}
        faults["file left"] += len(files - kept) + len(list((self.folder / "tmp").iterdir()))
        faults["file missing"] += len(kept - files)
        faults["file of the log left"] += len([p for p in self.folder.glob("log.db*") if p.name != "log.db"])
        faults["row of a driver left"] += rows
        self.faults += Counter()


def mount(disk: Path) -> bool:
    """A small disk of its own that is nearly full, where the system lets us mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "hpo", str(disk)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return False
    (disk / "ballast").write_bytes(b" " * (DISK - 4 * SIZE))
    return True


def campaign(
    root: Path, count: int, *, logs: Sequence[str] = LOGS, victims: Sequence[str] = WHO, where: Sequence[str] = WHERE,
    seed: int = 0, each: int = 8,
) -> list[dict[str, Any]]:  # fmt: skip
    """Studies until `count` kills are done; a line of found.jsonl each. Those logs and kills come next that were seldom."""
    root.mkdir(parents=True, exist_ok=True)
    found = read_record(root)
    logs = [log for log in logs if log in OWN or set(victims) != {"server"}]
    with Servers() as servers:
        while (left := count - sum(len(entry["kills"]) for entry in found)) > 0:
            done = Counter((entry["log"], *kill) for entry in found for kill in entry["kills"])
            number = len(found)
            sums = {name: sum(n for (log, *_), n in done.items() if log == name) for name in logs}
            log = min(logs, key=lambda name: sums[name])
            kills = [kill for kill in product(victims, where) if log in OWN or kill[0] != "server"]
            rng = random.Random(f"{seed} {number}")
            kills = sorted(rng.sample(kills, len(kills)), key=lambda kill: done[log, *kill])
            ordeal = Ordeal(root, number, log, servers, kills[: min(each, left)], sum(done.values()), seed)
            found.append(ordeal.go())
            append_record(root, found[-1])
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The counts of a campaign, as people read them."""
    kills = Counter((entry["log"], *kill) for entry in found for kill in entry["kills"])
    faults: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    for entry in found:
        faults.update({f"{entry['log']}: {name}": count for name, count in entry["faults"].items()})
        losses.update(entry["lost events"])
    lines = []
    for rows, place in ((WHO, 1), (WHERE, 2)):
        counts = Counter[Kill]()
        for kill, count in kills.items():
            counts[kill[place], kill[0]] += count
        lines += tabulate(counts, rows, LOGS, lambda row, column: (row, column))
    by = Counter(entry["optimizer"] for entry in found for _ in entry["kills"])
    full = sum(len(entry["kills"]) for entry in found if entry["full"])
    lines += [f"by optimizer: {dict(by)}; on a nearly full disk: {full}; studies: {len(found)}",
              f"results: {sum(entry['results'] for entry in found)}; jobs lost: {dict(losses)}",
              f"faults: {dict(faults) or 'none'}"]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200, help="kills in all")
    parser.add_argument("--log", choices=LOGS, action="append", help="where studies stand (default: everywhere)")
    parser.add_argument("--victim", choices=WHO, action="append", help="who is killed (default: everybody)")
    parser.add_argument("--where", choices=WHERE, action="append", help="inside what (default: everything)")
    parser.add_argument("--seed", type=int, default=0)
    place = Path(tempfile.gettempdir(), "hpo-killing")
    parser.add_argument("--folder", type=Path, default=place, help="where studies and counts stand")
    given = parser.parse_args()
    clear_up_on_termination()
    found = campaign(given.folder, given.count, logs=given.log or LOGS, victims=given.victim or WHO, where=given.where or WHERE,
                     seed=given.seed)  # fmt: skip
    print(table(found))
    sys.exit(any(entry["faults"] for entry in found))


if __name__ == "__main__":
    main()
