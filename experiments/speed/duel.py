"""Contenders side by side: each in a process of its own, in turns, so that whatever disturbs the machine disturbs all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from experiments.ledger.children import Child
from experiments.speed.sizes import Size


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


def duel(entries: Sequence[Entry], rounds: int, seconds: float, steps: int) -> Iterator[dict[str, Any]]:
    """One record a contender: the first step, the loss after `steps` steps, and tokens a second of every round after those.

    A round is as many steps as take about `seconds`, for each contender in turn.
    """
    processes, records, sizes = [], [], []
    for entry in entries:  # one after the other, so that a first step is not timed beside other beginnings
        process = Child(entry.name, serve_contender, entry)
        processes.append(process)
        first = process.receive()
        if steps > 1:
            process.ask(steps - 1)
        records.append({**first, "loss": process.ask("loss"), "steps": steps})
        sizes.append(max(1, round(seconds / max(process.ask(2) / 2, 1e-5))))
    tokens = [n * entry.size.batch * entry.size.context for entry, n in zip(entries, sizes, strict=True)]
    rates = measure_rates(processes, rounds, sizes, tokens)
    for entry, process, record, rate, n in zip(entries, processes, records, rates, sizes, strict=True):
        process.close()
        yield {
            "name": entry.name, "device": entry.device, "precision": entry.precision, "rates": [round(r, 1) for r in rate],
            "steps_a_round": n, **record,
        }  # fmt: skip


def measure_rates(processes: Sequence[Child], rounds: int, sizes: Sequence[int], tokens: Sequence[int]) -> list[list[float]]:
    """Tokens a second by contender and round of so many steps and tokens; every round begins with another contender."""
    rates: list[list[float]] = [[] for _ in processes]
    for k in range(rounds):
        for i in sorted(range(len(processes)), key=lambda i: (i + k) % len(processes)):
            rates[i].append(tokens[i] / processes[i].ask(sizes[i]))
    return rates
