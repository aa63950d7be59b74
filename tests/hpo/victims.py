"""What the campaign of killing.py kills: a driver and its workers, which stop at the moment that they are asked for."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hpo import ASHA, GP, PBT, History, Hyperband, Inline, Optimizer, Processes, Random, Stop, Study, run
from hpo.job import Job
from hpo.logs import Event, SQLiteLog, open_log
from tests.hpo.campaigns import lineage, list_jobs, note
from tests.hpo.objectives import line, noise

HORIZON = 9
SIZE = 100_000  # bytes of a checkpoint
DONE, FULL = 0, 77  # how a driver ends
LIMIT = 1000  # deaths that one job survives

MAKERS: dict[str, Callable[[int], Optimizer]] = {
    "random": lambda seed: Random(line(), seed=seed),
    "gp": lambda seed: GP(line(), seed=seed, initial=4),
    "asha": lambda seed: ASHA(Random(line(), seed=seed), max_resource=HORIZON),
    "hyperband": lambda seed: Hyperband(Random(line(), seed=seed), max_resource=HORIZON, rounds=1),
    "pbt": lambda seed: PBT(Random(line(), seed=seed), population=4, generations=6, max_resource=HORIZON - 3, truncation=0.4),
}
TRIALS = {"random": 14, "gp": 14, "asha": 14}
WORKERS = {"gp": 1}  # of a driver; otherwise 2
REPRODUCIBLE = ("random", "gp", "hyperband", "pbt")  # with so many workers: whatever happens, it is the same search
ANY = "any"  # the moment of whoever comes by at any of them, and goes on


# -- the moments -------------------------------------------------------------------------------------------------------


def pause(folder: Path, moment: str) -> None:
    """Waits here to be killed, if this is the n-th time since it was asked for that a process comes by; else goes on. At any
    moment nobody waits: the kill comes a random time later."""
    try:
        wanted = json.loads((folder / "wanted").read_text())
    except (OSError, ValueError):
        return
    if wanted["moment"] not in (moment, ANY):
        return
    for count in range(wanted["count"]):
        if claim(folder / f"passed-{wanted['kill']}-{count}"):
            if count + 1 < wanted["count"]:
                return
            note(folder / f"there-{wanted['kill']}", str(os.getpid()))
            while wanted["moment"] != ANY and not (folder / f"go-{wanted['kill']}").exists():
                time.sleep(0.005)
            return


def claim(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Training:
    """Its loss says every step and rate that it was trained with. `slow` is the seconds that a step takes."""

    def __init__(self, config: dict[str, Any], seed: int, horizon: int, slow: float = 0.0) -> None:
        self.config, self.seed, self.slow, self.step, self.state = config, seed, slow, 0, 1.0

    def advance(
        self, until: int, checkpoint: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, float], list[tuple[int, float]]]:
        while self.step < until:
            checkpoint()
            if self.slow:
                time.sleep(self.slow)
            self.step += 1
            self.state = self.state * 0.9 + 0.1 * abs(self.config["x"] - noise(self.seed, self.step))
        return {"loss": self.state}, []

    def save(self, path: str) -> None:
        Path(path).write_bytes(self._encode())

    def load(self, path: str) -> None:
        self.step, self.state = json.loads(Path(path).read_bytes())

    def _encode(self) -> bytes:
        return json.dumps([self.step, self.state]).encode()


def train(history: History, job: Job) -> float:
    """What an undisturbed worker tells of a job."""
    parts = lineage(history, job)
    training = Training({}, 0, HORIZON)
    for part in parts:
        training.config, training.seed = dict(part.config), part.seed
        training.advance(part.until)
    return training.state


class Suffers:
    """A factory of Runs that fork at every job and pause at every moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def warm(self) -> None:
        pause(self.folder, "start-up")

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> Suffering:
        return Suffering(self.folder, config, seed)


class Suffering(Training):
    def __init__(self, folder: Path, config: dict[str, Any], seed: int) -> None:
        super().__init__(config, seed, HORIZON)
        self.folder = folder

    def advance(
        self, until: int, checkpoint: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, float], list[tuple[int, float]]]:
        if os.fork() == 0:  # a server, a loader: it never ends by itself
            signal.pause()
            os._exit(0)
        pause(self.folder, "training")
        return super().advance(until, checkpoint)

    def save(self, path: str) -> None:
        with open(path, "wb") as file:
            file.write(self._encode().ljust(SIZE // 2))
            file.flush()
            pause(self.folder, "saving")
            file.write(b" " * (SIZE // 2))


# -- the driver --------------------------------------------------------------------------------------------------------


def make_study(name: str, seed: int, log: Any = None) -> Study:
    return Study(MAKERS[name](seed), horizon=HORIZON, log=log, lost_limit=LIMIT)


@cache
def list_undisturbed(name: str, seed: int) -> list[str]:
    """The jobs of a study that nobody disturbs, by key."""
    history = run(make_study(name, seed), Inline(Training, HORIZON), Stop(trials=TRIALS.get(name)))
    return list_jobs(history.events)


def drive(folder: Path, url: str, disk: Path | None, name: str, seed: int) -> int:
    """One driver's life, in a process of its own."""
    study = make_study(name, seed, open_log(url))
    pause_at_appends(study.history.log, folder)

    def told(study: Study, key: Any) -> None:
        if key is not None:
            with open(folder / "told", "a", encoding="utf-8") as file:
                file.write(json.dumps([*key, study.history.results[key].metrics["loss"]]) + "\n")

    every = None if seed % 3 else 0.0  # every third study saves inside its jobs, at every step
    executor = Processes(Suffers(folder), HORIZON, disk, workers=WORKERS.get(name, 2), checkpoint_every=every)
    try:
        run(study, executor, Stop(trials=TRIALS.get(name)), told)
    except RuntimeError as error:
        assert "No space left" in str(error) and "pending" in str(error), error
        return FULL
    study.history.log.close()
    return DONE


def pause_at_appends(log: Any, folder: Path) -> None:
    real, at = log.append, threading.local()

    def append(event: Event) -> int:
        pause(folder, "appending before")
        at.work = True
        try:
            position = real(event)
        finally:
            at.work = False
        pause(folder, "appending after")
        return int(position)

    def watch(statement: str) -> None:
        if statement.startswith("COMMIT") and getattr(at, "work", False):  # not of a beat
            pause(folder, "appending commit")

    log.append = append
    if isinstance(log, SQLiteLog):
        assert log._db is not None
        log._db.set_trace_callback(watch)
    else:
        sa.event.listen(log._database.engine, "before_cursor_execute", lambda db, cursor, statement, *more: watch(statement))
