"""What the campaign of leasing.py stops and kills: one of several drivers of a study, which writes down all that it does.

A line of the journal is [what, driver, ...]. Times are seconds of this machine's monotonic clock, which all processes share:

    run      driver, number          the position of its `run` event
    beat     driver, from, to        a beat that was written between these times
    look     driver, from, to        it read the rows of the others
    losing   driver, job, attempt, time     it is about to record that the job's driver is dead
    lost     driver, job, attempt, time     and has
    begin    driver, job, attempt, time, again     it executes a job; again: whether that had a result already
    end      driver, job, attempt, time, mark, lost     mark: a number that stands in the result of this execution alone
    told     driver, job, attempt, mark, accepted     what it heard of the result
    leaving  driver, time            it ends its lease
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo import (
    ASHA,
    PBT,
    Hyperband,
    Inline,
    Job,
    Optimizer,
    Random,
    Sobol,
    Stop,
    Study,
    SuccessiveHalving,
    Threads,
    leases,
    run,
)
from hpo.executors import Executor, Lost
from hpo.executors.worker import Worker
from hpo.files import Files
from hpo.history import History
from hpo.job import Result
from hpo.logs import Event, database, open_log
from tests.hpo.objectives import line
from tests.hpo.victims import HORIZON, LIMIT, Training

LEASE = 1.0  # seconds
STEP = 0.04  # seconds of a unit of training, of which a job has 1 to 9
NAMES = ("random", "sobol", "halving", "hyperband", "asha", "pbt")
REPRODUCIBLE = ("random", "sobol", "halving", "hyperband", "pbt")  # with any number of drivers


def make(name: str, seed: int, drivers: int) -> Optimizer:
    """An optimizer with work for so many drivers."""
    makers: dict[str, Any] = {
        "random": lambda: Random(line(), seed=seed),
        "sobol": lambda: Sobol(line(), seed=seed),
        "halving": lambda: SuccessiveHalving(Random(line(), seed=seed), max_resource=HORIZON, rounds=3 * drivers),
        "hyperband": lambda: Hyperband(Random(line(), seed=seed), max_resource=HORIZON, rounds=drivers),
        "asha": lambda: ASHA(Random(line(), seed=seed), max_resource=HORIZON),
        "pbt": lambda: PBT(Random(line(), seed=seed), population=4 * drivers, generations=8, max_resource=8, truncation=0.4),
    }
    made: Optimizer = makers[name]()
    return made


def limit(name: str, drivers: int) -> int | None:
    """How many fresh trials there are; None where the optimizer ends by itself."""
    return {"random": 10 * drivers, "sobol": 10 * drivers, "asha": 20 * drivers}.get(name)


@dataclass(frozen=True)
class Task:
    """A study that several drivers share."""

    folder: Path
    url: str
    name: str
    seed: int
    drivers: int

    def study(self, log: Any = None) -> Study:
        return Study(make(self.name, self.seed, self.drivers), horizon=HORIZON, log=log, lost_limit=LIMIT)

    @property
    def stop(self) -> Stop:
        return Stop(trials=limit(self.name, self.drivers))


@dataclass(frozen=True)
class Habits:
    """How a driver is."""

    far: bool  # whether it seems to run on another machine, so that only silence tells that it is dead
    skew: float  # seconds by which its clock is wrong
    threads: int  # that execute jobs at once; 1: none beside the driver's own
    hasty: bool  # whether a server takes its connection away when it is stopped with a lock
    every: float | None  # seconds between two saves inside a job; None: none


class Journal:
    """What one driver does, a line each in a file that all share."""

    def __init__(self, path: Path, me: int) -> None:
        self.me, self.number, self._marks = me, -1, random.Random(os.urandom(8))
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, what: str, *more: Any) -> None:
        os.write(self._file, (json.dumps([what, self.me, *more]) + "\n").encode())

    def watch_log(self, log: Any) -> None:
        """Writes down what this driver does with its lease and with those of others."""
        beat, look, append, leave = log.beat, log.drivers, log.append, log.leave

        def beat_(driver: Any) -> None:
            begun = time.monotonic()
            beat(driver)
            if driver.beats == 0:
                self.number = driver.number
                self.write("run", driver.number)
            self.write("beat", begun, time.monotonic())

        def look_() -> Any:
            begun = time.monotonic()
            found = look()
            self.write("look", begun, time.monotonic())
            return found

        def append_(event: Event) -> int:
            taken = event.kind == "lost" and event.body["cause"] == "driver"
            what = [f"{event.body['trial']}-{event.body['until']}", event.body["attempt"]] if taken else []
            if taken:
                self.write("losing", *what, time.monotonic())
            position = append(event)
            if taken:
                self.write("lost", *what, time.monotonic())
            return int(position)

        def leave_(number: int, *more: Any) -> None:
            if not more and number == self.number:
                self.write("leaving", time.monotonic())
            leave(number, *more)

        log.beat, log.drivers, log.append, log.leave = beat_, look_, append_, leave_

    def watch_jobs(self, history: History) -> None:
        """Writes down what this driver executes, and what it hears of the results."""
        execute, finish = Worker.execute, history.finish

        def execute_(worker: Worker, job: Job, attempts: Any = None) -> Result | Lost:
            what = f"{job.trial}-{job.until}", (attempts or {}).get(job.key, 0)
            self.write("begin", *what, time.monotonic(), job.key in history.results)
            found, mark = execute(worker, job, attempts), self._marks.getrandbits(40)
            self.write("end", *what, time.monotonic(), mark, isinstance(found, Lost))
            return found if isinstance(found, Lost) else replace(found, metrics={**found.metrics, "mark": mark})

        def finish_(job: Job, result: Result, attempt: int | None = None) -> bool:
            answer = finish(job, result, attempt)
            self.write("told", f"{job.trial}-{job.until}", attempt, result.metrics.get("mark"), answer)
            return answer

        Worker.execute = execute_  # type: ignore[method-assign]
        history.finish = finish_  # type: ignore[method-assign]


def train_slowly(config: dict[str, Any], seed: int, horizon: int) -> Training:
    return Training(config, seed, horizon, STEP)


def clear_up(task: Task) -> int:
    """A driver that finds nothing to do and stays until it knows that it is alone. A file has no clock, so that somebody died on
    another machine is only known when a driver has watched for a lease."""
    study = task.study(open_log(task.url))
    lease = leases.Leases(study.history, study.history.run(), LEASE)
    while lease.list_living(anew=True):
        time.sleep(LEASE / 20)
    lease.close()
    executor = Inline(train_slowly, HORIZON, task.folder / "checkpoints")
    Files(study, executor, lease).clear()
    executor.close()
    study.history.log.close()
    return 0


def drive(task: Task, me: int, habits: Habits) -> int:
    """One driver's life, in a process of its own."""
    right, name = time.time, leases.this_process()
    time.time = lambda: right() + habits.skew  # type: ignore[assignment]
    if habits.far:
        leases.this_process = lambda: f"elsewhere {name}"
    if habits.hasty:
        database.SETTINGS.update({kind: [text.replace("10", "1") for text in said] for kind, said in database.SETTINGS.items()})
    study, journal = task.study(open_log(task.url)), Journal(task.folder / "journal", me)
    journal.watch_log(study.history.log)
    journal.watch_jobs(study.history)
    folder = task.folder / "checkpoints"
    executor: Executor
    if habits.threads == 1:
        executor = Inline(train_slowly, HORIZON, folder, checkpoint_every=habits.every)
    else:
        executor = Threads(train_slowly, HORIZON, folder, habits.threads, checkpoint_every=habits.every)
    run(study, executor, task.stop, lease=LEASE)
    study.history.log.close()
    return 0
