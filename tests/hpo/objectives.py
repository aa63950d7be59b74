"""Objectives and Runs that the tests of hpo share; importable from spawned workers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo import Float, Space, worker_resources


def noise(*parts: Any) -> float:
    """In [0, 1), from anything with a stable text."""
    return int(hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest(), 16) / 2**48


# -- f(config) -----------------------------------------------------------------------------------------------------------


def square(config: dict[str, Any]) -> float:
    return float(config["x"] ** 2)


async def waits(config: dict[str, Any]) -> float:
    await asyncio.sleep(0.2)
    return float(config["x"] ** 2)


def two_names(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"] ** 2, "size": 1.0 - config["x"], "extra": 1.0}


def odd(config: dict[str, Any]) -> Any:
    """What objectives of people do: `what` says which."""
    what = config["what"]
    if what == "raise":
        raise RuntimeError("boom")
    if what == "exit":
        sys.exit("enough")
    if what == "memory":
        raise MemoryError
    answers = {"none": None, "text": "low", "nan": math.nan, "inf": -math.inf, "list": [1.0], "huge": 10**400,
               "empty": {}, "missing": {"other": 1.0}, "bad": {"loss": None}, "lambda": lambda: 1}  # fmt: skip
    return answers.get(what, 1.0)


ODD = ["raise", "exit", "memory", "none", "text", "nan", "inf", "list", "huge", "empty", "missing", "bad", "lambda"]


def sleeps(config: dict[str, Any]) -> float:
    time.sleep(config["x"])
    return 1.0


class Suicidal:
    """Dies of a signal, or by itself."""

    def __init__(self, how: int) -> None:
        self.how = how

    def __call__(self, config: dict[str, Any]) -> float:
        if self.how:
            os.kill(os.getpid(), self.how)
        os._exit(3)


class Forks:
    """Forks a process that outlives everything, tells its number, and then does what its configuration says."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __call__(self, config: dict[str, Any]) -> float:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        Path(self.folder, f"forked-{child}").touch()
        if config["x"] > 1:
            time.sleep(600)
        if config["x"] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(config["x"])


class Broken:
    """Cannot begin."""

    def warm(self) -> None:
        raise ValueError("no such corpus")

    def __call__(self, config: dict[str, Any]) -> float:
        return 0.0


def seen(config: dict[str, Any]) -> dict[str, float]:
    """What a worker of a cluster has, which must be what its environment says."""
    mine = worker_resources()
    assert os.environ["OMP_NUM_THREADS"] == str(mine.cpu) and os.environ["MINE"] == "here"
    assert mine.devices == tuple(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
    return {"loss": config["x"], "gpu": mine.gpu, "cpu": float(mine.cpu), "device": float(mine.devices[0])}


# -- f(config, report) ---------------------------------------------------------------------------------------------------


class Reports:
    """Reports every step up to 9 and writes a line to a journal at its start, at every step and at its end."""

    def __init__(self, journal: str | Path) -> None:
        self.journal = str(journal)

    def _write(self, *parts: Any) -> None:
        with open(self.journal, "a", encoding="utf-8") as file:
            file.write(" ".join(str(part) for part in parts) + "\n")

    def __call__(self, config: dict[str, Any], report: Any) -> None:
        self._write("begin", config["x"])
        try:
            for step in range(1, 10):
                self._write("step", config["x"], step)
                report(step, config["x"] ** 2 + 1.0 / step)
        except BaseException as error:
            self._write("raised", type(error).__name__, config["x"])
            raise
        finally:
            self._write("end", config["x"])


# -- Runs ----------------------------------------------------------------------------------------------------------------


class Trace:
    """A Run whose loss depends on every step and on the rate at every step. It writes to a journal what it trained:
    (seed, from, to). `slow` is the seconds a step takes."""

    def __init__(self, config: dict[str, Any], seed: int, journal: Path, slow: float) -> None:
        self.config, self.seed, self.journal, self.slow = config, seed, journal, slow
        self.step, self.state = 0, 0.0

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([self.seed, self.step, until, os.getpid()]) + "\n")
        curve = []
        while self.step < until:
            time.sleep(self.slow)
            self.step += 1
            self.state = math.cos(self.state + 100 * self.config["x"] * self.step + noise(self.seed, self.step))
            curve.append((self.step, self.state))
        return {"loss": self.state + 2.0}, curve

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps([self.step, self.state]), encoding="utf-8")

    def load(self, path: str) -> None:
        self.step, self.state = json.loads(Path(path).read_text(encoding="utf-8"))


class InsideTrace(Trace):
    """The same, saved between two steps, with the curve so far. It dies inside its first training of a seed in `deaths`, at the
    step that stands there: {0: 5}. It writes to the journal every step that it trains."""

    def __init__(self, config: dict[str, Any], seed: int, journal: Path, deaths: dict[int, int]) -> None:
        super().__init__(config, seed, journal, 0.0)
        self.deaths, self.curve = deaths, list[tuple[int, float]]()

    def advance(self, until: int, checkpoint: Any = None) -> tuple[dict[str, float], list[tuple[int, float]]]:
        while self.step < until:
            self._die()
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps([self.seed, self.step, self.step + 1, os.getpid()]) + "\n")
            self.step += 1
            self.state = math.cos(self.state + 100 * self.config["x"] * self.step + noise(self.seed, self.step))
            self.curve.append((self.step, self.state))
            if checkpoint is not None:
                checkpoint()
        curve, self.curve = self.curve, []
        return {"loss": self.state + 2.0}, curve

    def _die(self) -> None:
        if self.deaths.get(self.seed) == self.step:
            try:
                Path(f"{self.journal}-{self.seed}-died").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps([self.step, self.state, self.curve]), encoding="utf-8")

    def load(self, path: str) -> None:
        self.step, self.state, curve = json.loads(Path(path).read_text(encoding="utf-8"))
        self.curve = [(step, value) for step, value in curve]

    adopt = load


class InsideTraces:
    """A picklable factory of InsideTraces; `deaths` are by trial."""

    def __init__(self, journal: str | Path, deaths: dict[int, int] | None = None) -> None:
        self.journal, self.deaths = Path(journal), deaths or {}

    def bind_trial(self, number: int, seed: int) -> Any:
        found = {seed: self.deaths[number]} if number in self.deaths else {}
        return InsideTraces(self.journal, found)

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> InsideTrace:
        return InsideTrace(config, seed, self.journal, self.deaths)

    def lines(self) -> list[list[int]]:
        return [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]


class FolderTrace(Trace):
    """The same with a folder as its checkpoint."""

    def save(self, path: str) -> None:
        Path(path, "inner").mkdir(parents=True)
        super().save(f"{path}/inner/state.json")

    def load(self, path: str) -> None:
        super().load(f"{path}/inner/state.json")


class Traces:
    """A picklable factory of Traces."""

    def __init__(self, journal: str | Path, slow: float = 0.0, folders: bool = False) -> None:
        self.journal, self.slow, self.folders = Path(journal), slow, folders

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> Trace:
        return (FolderTrace if self.folders else Trace)(config, seed, self.journal, self.slow)

    def lines(self) -> list[list[int]]:
        return [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]


def line() -> Space:
    return Space(x=Float(0.0, 1.0))


@dataclass(frozen=True)
class DiesOnce:
    """A Run factory whose first worker is ended at one step between a job's training and its delivery."""

    folder: str
    point: str  # "half": checkpoint written, not yet named; "named": named; "done": result made, not yet sent; "": never
    job: int = 1  # at which job of the worker, counted from 0

    def warm(self) -> None:
        """In a fresh worker: arms the step, once for all workers together."""
        from hpo.executors import interim, worker

        flag = Path(self.folder) / "died"
        seen = [0]
        publish, execute = interim.publish, worker.Worker.execute

        def end() -> None:
            if seen[0] == self.job and not flag.exists():
                flag.touch()
                os._exit(9)

        def publishing(half: Path, path: Path) -> None:
            if self.point == "half":
                end()
            publish(half, path)
            if self.point == "named":
                end()

        def executing(self_: Any, job: Any, attempts: Any) -> Any:
            result = execute(self_, job, attempts)
            if self.point == "done":
                end()
            seen[0] += 1
            return result

        interim.publish = publishing  # type: ignore[assignment]
        worker.Worker.execute = executing  # type: ignore[method-assign]

    def __call__(self, config: Any, seed: int, horizon: int) -> Any:
        return Counting(config, seed)


class Counting:
    """A Run whose loss depends on every unit it has been trained for, and on its seed."""

    def __init__(self, config: Any, seed: int) -> None:
        self.config, self.seed, self.units, self.sum = config, seed, 0, 0.0

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        while self.units < until:
            self.units += 1
            self.sum += ((self.seed * self.units) % 97) / 97
        return {"loss": self.config["x"] + self.sum / self.units}, []

    def save(self, path: str) -> None:
        Path(path).write_text(f"{self.units} {self.sum!r}")

    def load(self, path: str) -> None:
        units, total = Path(path).read_text().split()
        self.units, self.sum = int(units), float(total)
