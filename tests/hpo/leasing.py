"""Two to eight drivers on one study, stopped beyond their leases and killed: `python -m tests.hpo.leasing --count 200`.

Each run has a study of its own: a log of every kind in turn, an optimizer, and drivers of which some seem to run on other
machines, some have clocks that are minutes wrong, some execute several jobs at once, and some save inside jobs. At random moments
one is stopped for one to three leases (SIGSTOP) and goes on, one is killed, one joins; now and then the server is killed, or
stopped in order, and started again. All write down what they do (lessees.py). When all have ended, the run is judged by that and
by the log (lease_checks.py): no job is run under two valid leases, none is taken over under one, no attempt is executed twice,
every result was accepted or refused exactly once and is what an undisturbed worker tells, every proposal follows from what it had
read, where the optimizer is reproducible the jobs are those of one driver alone, and nothing is left over.

What is found stands, a line a run, in FOLDER/found.jsonl; the same command goes on from there. tests/hpo/test_hpo_leasing.py
breaks leases on purpose in several ways, and sees each of them found.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from hpo import Inline, MemoryLog, run
from hpo.executors import standing_name
from tests.hpo import lessees
from tests.hpo.campaigns import (
    LOGS,
    OWN,
    PATIENCE,
    Life,
    Servers,
    append_record,
    clear_up_on_termination,
    count_other_proposals,
    eventually,
    kill_all,
    list_jobs,
    read_log,
    read_record,
    tabulate,
)
from tests.hpo.lease_checks import Story
from tests.hpo.lessees import LEASE, NAMES, REPRODUCIBLE, Habits, Task
from tests.hpo.victims import HORIZON, Training, train

FEWEST, MOST = 2, 8  # drivers
SKEW = 600.0  # seconds by which clocks are wrong at most
AWAY = 1.5  # seconds that a server is away at most, beside its own start
COUNTS = (
    "runs", "drivers", "stops", "deaths", "restarts", "taken over", "late accepted", "late refused", "both at work", "results",
)  # fmt: skip


class Share:
    """One study from its first drivers to its end."""

    def __init__(self, root: Path, number: int, log: str, servers: Servers, drivers: int, seed: int) -> None:
        self.number, self.log, self.rng = number, log, random.Random(f"{seed} {number}")
        folder, self.tag = root / f"run-{number}", uuid4().hex
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.server = servers.get(log) if log in OWN else None
        self.task = Task(folder, servers.url(log, folder), NAMES[number % len(NAMES)], 1000 * seed + number, drivers)
        self.lives: list[Life] = []
        self.deaths: dict[int, float] = {}
        self.asleep: dict[int, float] = {}  # until when, by driver
        self.ends: dict[int, float] = {}
        self.counts: Counter[str] = Counter(runs=1)
        self.faults: Counter[str] = Counter()

    def go(self) -> dict[str, Any]:
        try:
            for _ in range(self.task.drivers):
                self._join()
            self._disturb()
            self._finish()
        finally:
            kill_all(self.lives, self.tag)
        self._check()
        if not self.faults:
            shutil.rmtree(self.task.folder)
        return {"run": self.number, "log": self.log, "optimizer": self.task.name, "counts": dict(self.counts),
                "faults": dict(self.faults)}  # fmt: skip

    def _join(self) -> None:
        rng, me = self.rng, len(self.lives)
        habits = Habits(rng.random() < 0.5, rng.uniform(-SKEW, SKEW), rng.choice([1, 1, 3]), rng.random() < 0.5,
                        rng.choice([None, 0.0, 0.1]))  # fmt: skip
        self.lives.append(Life(self.tag, lambda: lessees.drive(self.task, me, habits)))
        self.counts["drivers"] += 1

    def _living(self) -> list[int]:
        for me, life in enumerate(self.lives):
            if me not in self.ends and life.ended():
                self.ends[me] = time.monotonic()
        return [me for me in range(len(self.lives)) if me not in self.ends]

    # -- what happens to them ------------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        """Something every few tenths of a second, until nobody is left or there was enough of it."""
        rng, kills = self.rng, self.rng.randint(0, max(1, self.task.drivers // 2))
        restarts = int(self.server is not None and rng.random() < 0.5)
        for _ in range(4 * self.task.drivers):
            self._wait(rng.uniform(0.05, 3.0 / self.task.drivers))
            living = self._living()
            awake = [me for me in living if me not in self.asleep]
            if not living:
                return
            what = rng.random()
            if what < 0.2 and kills:
                kills -= 1
                self._kill(rng.choice(living))
                if rng.random() < 0.5:
                    self._join()
            elif what < 0.3 and restarts:
                restarts -= 1
                self._restart()
            elif len(awake) > 1 or (awake and rng.random() < 0.2):  # seldom all of them
                self._stop(rng.choice(awake), LEASE * rng.uniform(1.05, 3.0))

    def _stop(self, me: int, seconds: float) -> None:
        os.kill(self.lives[me].pid, signal.SIGSTOP)
        self.asleep[me] = time.monotonic() + seconds
        self.counts["stops"] += 1

    def _kill(self, me: int) -> None:
        self.deaths[me] = time.monotonic()
        self.lives[me].kill()
        eventually(self.lives[me].ended)
        self.asleep.pop(me, None)
        if self.lives[me].status != -signal.SIGKILL:  # it had ended by itself
            del self.deaths[me]
        else:
            self.counts["deaths"] += 1

    def _restart(self) -> None:
        assert self.server is not None
        if self.rng.random() < 0.5:
            self.server.kill()
        else:
            self.server.stop()
        self._wait(self.rng.random() * AWAY)
        self.server.start()
        self.counts["restarts"] += 1

    def _wait(self, seconds: float) -> None:
        """Waits, and lets those go on whose time has come."""
        end = time.monotonic() + seconds
        while True:
            for me, until in list(self.asleep.items()):
                if until <= time.monotonic():
                    del self.asleep[me]
                    with suppress(ProcessLookupError):  # it was about to end when it was stopped
                        os.kill(self.lives[me].pid, signal.SIGCONT)
            if time.monotonic() >= end:
                return
            time.sleep(0.01)

    def _finish(self) -> None:
        """Waits for everybody. Where the last one to leave could not know of a death, another one comes when it can be known."""
        end = time.monotonic() + PATIENCE
        while self._living() and time.monotonic() < end:
            self._wait(0.02)
        last = max((self.ends[me] for me in self.ends if me not in self.deaths), default=0.0)
        if any(death > last - 3 * LEASE for death in self.deaths.values()):
            self._wait(2 * LEASE)
            self._join()
            eventually(lambda: not self._living())
            if self.server is None:
                self.lives.append(Life(self.tag, lambda: lessees.clear_up(self.task)))
                eventually(lambda: not self._living())
        self.faults["stalled"] += len(self._living())
        for me, life in enumerate(self.lives):
            if me not in self.deaths and life.status is not None:
                self.faults[f"a driver ended with {life.status}"] += life.status != 0

    # -- what must be --------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        task, faults = self.task, self.faults
        events, rows = read_log(task.url, task.study().header.to_json())
        story = Story(events, task.folder / "journal", self.deaths)
        faults.update(story.check())
        self.counts.update(story.count())
        log = MemoryLog()
        for event in events:
            log.append(event)
        study = task.study(log)
        history = study.history
        faults["pending at the end"] += len(history.pending) + len(history.retries)
        faults["wrong value"] += sum(
            history.results[key].metrics.get("loss") != train(history, history.jobs[key]) for key in history.results
        )
        faults["more trials than allowed"] += task.stop.trials not in (None, history.fresh)
        faults["another proposal"] += count_other_proposals(lambda: task.study(MemoryLog()), events)
        if task.name in REPRODUCIBLE:
            faults["another search"] += list_jobs(events) != list_alone(task.name, task.seed, task.drivers)
        kept = {standing_name(history, key) for key in study.keep()}
        files = {path.name for path in (task.folder / "checkpoints").iterdir()}
        faults["file left"] += len(files - kept)
        faults["file missing"] += len(kept - files)
        faults["file of the log left"] += len([path for path in task.folder.glob("log.db*") if path.name != "log.db"])
        faults["row of a driver left"] += rows
        self.faults = +faults


@cache
def list_alone(name: str, seed: int, drivers: int) -> list[str]:
    """The jobs of a study that one driver works at alone, by key."""
    task = Task(Path(), "", name, seed, drivers)
    history = run(task.study(), Inline(lambda config, seed, horizon: Training(config, seed, horizon), HORIZON), task.stop)
    return list_jobs(history.events)


def campaign(
    root: Path, count: int, *, logs: Sequence[str] = LOGS, drivers: tuple[int, int] = (FEWEST, MOST), seed: int = 0
) -> list[dict[str, Any]]:
    """So many runs; a line of found.jsonl each."""
    root.mkdir(parents=True, exist_ok=True)
    found = read_record(root)
    with Servers() as servers:
        while (number := len(found)) < count:
            many = random.Random(f"{seed} {number} drivers").randint(*drivers)
            # optimizers go round in the same steps, so logs are moved on by one in every round
            log = logs[(number + number // len(NAMES)) % len(logs)]
            found.append(Share(root, number, log, servers, many, seed).go())
            append_record(root, found[-1])
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The counts of a campaign, as people read them."""
    counts, faults = Counter[tuple[str, str]](), Counter[str]()
    for entry in found:
        counts.update({(name, entry["log"]): count for name, count in entry["counts"].items()})
        faults.update({f"{entry['log']}: {name}": count for name, count in entry["faults"].items()})
    lines = tabulate(counts, COUNTS, LOGS, lambda row, column: (row, column))[:-1]
    many = Counter(entry["optimizer"] for entry in found)
    return "\n".join([*lines, f"by optimizer: {dict(many)}", f"faults: {dict(faults) or 'none'}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200, help="runs in all")
    parser.add_argument("--log", choices=LOGS, action="append", help="where studies stand (default: everywhere)")
    parser.add_argument("--drivers", type=int, nargs=2, default=(FEWEST, MOST), help="the fewest and the most (default: 2 8)")
    parser.add_argument("--seed", type=int, default=0)
    place = Path(tempfile.gettempdir(), "hpo-leasing")
    parser.add_argument("--folder", type=Path, default=place, help="where studies and counts stand")
    given = parser.parse_args()
    clear_up_on_termination()
    found = campaign(given.folder, given.count, logs=given.log or LOGS, drivers=tuple(given.drivers), seed=given.seed)
    print(table(found))
    sys.exit(any(entry["faults"] for entry in found))


if __name__ == "__main__":
    main()
