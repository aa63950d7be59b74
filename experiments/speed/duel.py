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

WARM = 3  # steps before anything is timed
START = 900.0  # seconds within which a process must have warmed up, compiling included


@dataclass(frozen=True)
class Entry:
    """Who runs what."""

    name: str
    size: Size
    device: str
    precision: str
    nanogpt: Path | None = None


def child(pipe: Connection, entry: Entry) -> None:
    """Builds, times the first step, warms up; then n steps at every request, and the loss at the last."""
    try:
        import torch

        from experiments.speed.contenders import make

        torch.set_num_threads(1)
        started = time.perf_counter()
        contender = make(entry.name, entry.size, entry.device, entry.precision, entry.nanogpt)
        contender.steps(1)
        first = time.perf_counter() - started
        contender.steps(WARM)
        pipe.send({"first_step": first, "parameters": contender.parameters})
        while (n := pipe.recv()) is not None:
            before = time.perf_counter()
            contender.steps(n)
            pipe.send(time.perf_counter() - before)
        pipe.send(contender.loss())
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


class Process:
    """A contender at the other end of a pipe."""

    def __init__(self, entry: Entry) -> None:
        context = multiprocessing.get_context("spawn")
        self.entry, (self.pipe, there) = entry, context.Pipe()
        self.process = context.Process(target=child, args=(there, entry), daemon=True)
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

    def ask(self, n: int | None) -> Any:
        self.pipe.send(n)
        return self.receive()

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def duel(entries: Sequence[Entry], rounds: int, seconds: float, steps: int) -> Iterator[dict[str, Any]]:
    """One record a contender: tokens a second of every round, the first step, the loss after `steps` steps of each.

    A round is as many steps as take about `seconds`, for each contender in turn. What is left of the steps is trained
    afterwards, untimed, so that all are judged after equally many.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    processes = [Process(entry) for entry in entries]
    started = [process.receive() for process in processes]
    sizes, rates = [], [[] for _ in processes]  # type: ignore[var-annotated]
    for process in processes:
        sizes.append(max(1, round(seconds / max(process.ask(2) / 2, 1e-4))))
    n = min([*sizes, max(1, (steps - WARM - 3) // rounds)])
    for k in range(rounds):
        for i in sorted(range(len(processes)), key=lambda i: (i + k) % len(processes)):
            rates[i].append(n * entries[i].size.batch * entries[i].size.context / processes[i].ask(n))
    left = steps - (1 + WARM + 2 + n * rounds)
    for entry, process, first, rate in zip(entries, processes, started, rates, strict=True):
        if left > 0:
            process.ask(left)
        loss = process.ask(None)
        process.close()
        yield {
            "name": entry.name, "device": entry.device, "precision": entry.precision, "rates": [round(r, 1) for r in rate],
            "steps_a_round": n, "loss": loss, "steps": steps, **first,
        }  # fmt: skip
