"""What the campaign of killing.py kills: a driver and its workers, which stop at the moment that they are asked for."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo import ASHA, GP, PBT, Hyperband, Optimizer, Processes, Random, SQLiteLog, Stop, Study, run
from hpo.logs import Event
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


# -- the moments -------------------------------------------------------------------------------------------------------


def pause(folder: Path, moment: str) -> None:
    """Waits here to be killed, if this is the n-th time since it was asked for that a process comes by; else goes on."""
    try:
        wanted = json.loads((folder / "wanted").read_text())
    except (OSError, ValueError):
        return
    if wanted["moment"] != moment:
        return
    for count in range(wanted["count"]):
        if claim(folder / f"passed-{wanted['kill']}-{count}"):
            if count + 1 < wanted["count"]:
                return
            note(folder / f"there-{wanted['kill']}", str(os.getpid()))
            while not (folder / f"go-{wanted['kill']}").exists():
                time.sleep(0.005)
            return


def claim(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def note(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_text(text)
    half.rename(path)


class Suffers:
    """A factory of Runs that fork at every job and pause at every moment."""

    def __init__(self, folder: Path, disk: Path) -> None:
        self.folder, self.disk = folder, disk

    def warm(self) -> None:
        pause(self.folder, "start-up")

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> Suffering:
        return Suffering(self.folder, config, seed)


class Suffering:
    """Its loss says every step and rate that it was trained with."""

    def __init__(self, folder: Path, config: dict[str, Any], seed: int) -> None:
        self.folder, self.config, self.seed, self.step, self.state = folder, config, seed, 0, 1.0

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        if os.fork() == 0:  # a server, a loader: it never ends by itself
            signal.pause()
            os._exit(0)
        pause(self.folder, "training")
        while self.step < until:
            self.step += 1
            self.state = follow(self.state, self.config, self.seed, self.step)
        return {"loss": self.state}, []

    def save(self, path: str) -> None:
        with open(path, "wb") as file:
            file.write(json.dumps([self.step, self.state]).encode().ljust(SIZE // 2))
            file.flush()
            pause(self.folder, "saving")
            file.write(b" " * (SIZE // 2))

    def load(self, path: str) -> None:
        self.step, self.state = json.loads(Path(path).read_bytes())


def follow(state: float, config: Any, seed: int, step: int) -> float:
    return state * 0.9 + 0.1 * abs(config["x"] - noise(seed, step))


# -- the driver --------------------------------------------------------------------------------------------------------


def drive(folder: Path, disk: Path | None, name: str, seed: int) -> int:
    """One driver's life, in a process of its own."""
    study = Study(MAKERS[name](seed), horizon=HORIZON, log=SQLiteLog(folder / "log.db"), lost_limit=LIMIT)
    pause_at_appends(study.history.log, folder)

    def told(study: Study, key: Any) -> None:
        if key is not None:
            with open(folder / "told", "a", encoding="utf-8") as file:
                file.write(json.dumps([*key, study.history.results[key].metrics["loss"]]) + "\n")

    executor = Processes(Suffers(folder, folder), HORIZON, disk, workers=2)
    try:
        run(study, executor, Stop(trials=TRIALS.get(name)), told)
    except RuntimeError as error:
        assert "No space left" in str(error) and "pending" in str(error), error
        return FULL
    study.history.log.close()
    return DONE


def pause_at_appends(log: Any, folder: Path) -> None:
    real = log.append

    def append(event: Event) -> int:
        pause(folder, "appending before")
        position = real(event)
        pause(folder, "appending after")
        return int(position)

    log.append = append
    log._db.set_trace_callback(lambda sql: pause(folder, "appending commit") if sql.startswith("COMMIT") else None)
