"""Contenders side by side: each in a process of its own, in turns, so that whatever disturbs the machine disturbs all."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from experiments.speed.sizes import Size

START = 900.0  # seconds within which a process must have warmed up, compiling included


@dataclass(frozen=True)
class Entry:
    """Who runs what."""

    name: str
    size: Size
    device: str
    precision: str
    nanogpt: Path | None = None


def serve_contender(pipe: Connection, entry: Entry) -> None:
    """Builds and times the first step; then, at every request, the seconds of n steps or, for "loss", what it is now."""
    try:
        import torch

        from experiments.speed.contenders import import_contender, make

        torch.set_num_threads(1)
        import_contender(entry.name)
        started = time.perf_counter()
        contender = make(entry.name, entry.size, entry.device, entry.precision, entry.nanogpt)
        contender.steps(1)
        pipe.send({"first_step": time.perf_counter() - started, "parameters": contender.parameters})
        while (asked := pipe.recv()) is not None:
            before = time.perf_counter()
            if asked == "loss":
                pipe.send(contender.loss())
            else:
                contender.steps(asked)
                pipe.send(time.perf_counter() - before)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


class Process:
    """A contender at the other end of a pipe."""

    def __init__(self, entry: Entry) -> None:
        context = multiprocessing.get_context("spawn")
        self.entry, (self.pipe, there) = entry, context.Pipe()
        self.process = context.Process(target=serve_contender, args=(there, entry), daemon=True)
        self.process.start()
        there.close()

    def receive(self, limit: float = START) -> Any:
        """What it sends; RuntimeError in one sentence if it failed or is too late."""
        try:
            answer = self.pipe.recv() if self.pipe.poll(limit) else f"no answer within {limit:.0f} seconds"
        except EOFError:
            answer = "its process died"
        if isinstance(answer, str):
            self.close()
            raise RuntimeError(f"{self.entry.name}: {answer}")
        return answer

    def ask(self, what: int | str) -> Any:
        """The seconds of so many steps, or the "loss"."""
        self.pipe.send(what)
        return self.receive()

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def duel(entries: Sequence[Entry], rounds: int, seconds: float, steps: int) -> Iterator[dict[str, Any]]:
    """One record a contender: the first step, the loss after `steps` steps, and tokens a second of every round after those.

    A round is as many steps as take about `seconds`, for each contender in turn.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    processes, records, sizes = [], [], []
    for entry in entries:  # one after the other, so that a first step is not timed beside other beginnings
        process = Process(entry)
        processes.append(process)
        first = process.receive()
        if steps > 1:
            process.ask(steps - 1)
        records.append({**first, "loss": process.ask("loss"), "steps": steps})
        sizes.append(max(1, round(seconds / max(process.ask(2) / 2, 1e-5))))
    rates = measure_rates(processes, rounds, sizes)
    for entry, process, record, rate, n in zip(entries, processes, records, rates, sizes, strict=True):
        process.close()
        yield {
            "name": entry.name, "device": entry.device, "precision": entry.precision, "rates": [round(r, 1) for r in rate],
            "steps_a_round": n, **record,
        }  # fmt: skip


def measure_rates(processes: Sequence[Process], rounds: int, sizes: Sequence[int]) -> list[list[float]]:
    """Tokens a second by contender and round of so many steps; every round begins with another contender."""
    rates: list[list[float]] = [[] for _ in processes]
    for k in range(rounds):
        for i in sorted(range(len(processes)), key=lambda i: (i + k) % len(processes)):
            size = processes[i].entry.size
            rates[i].append(sizes[i] * size.batch * size.context / processes[i].ask(sizes[i]))
    return rates
