"""Rank 0 decides, all follow: a script that runs on one process and trains on all.

    torchrun --nproc_per_node 2 my_script.py          # sets the addresses from which `process_group` makes the group

    with process_group("cuda") as group:              # in my_script.py; "cuda" uses nccl, "cpu" gloo
        lead(factory, script)                         # rank 0 runs script(factory), all others do what its runs do

`factory(config, seed, horizon)` makes a TrainRun, on every rank; the one that the script gets is an objective of a study like
any other. Or every rank calls the same methods of its own TrainRun.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from models.engines.distributed.group import Group

T = TypeVar("T")
INSIDE = "saves inside"  # said of an advance between whose steps rank 0 may save


Reply = tuple[dict[str, float], list[tuple[int, float]]]
LISTEN = 16  # steps of a training between two moments at which rank 0 may save; all have to know whether it does


class Run(Protocol):
    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> Reply: ...

    def save(self, path: str | Path) -> None: ...

    def load(self, path: str | Path) -> None: ...

    def adopt(self, path: str | Path) -> None: ...


Factory = Callable[[Mapping[str, Any], int, int], Run]


class LedRun:
    """A run on all ranks. A method that is called here, on rank 0, is called on every rank."""

    def __init__(self, group: Group, number: int, run: Run) -> None:
        self.group, self.number, self.run = group, number, run
        self._saves = 0

    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> Reply:
        self.group.broadcast((self.number, "advance", (until,) if checkpoint is None else (until, INSIDE)))
        return self.run.advance(until, checkpoint and every_few(partial(self._offer, checkpoint)))

    def _offer(self, checkpoint: Callable[[], None]) -> None:
        """Calls `checkpoint`, and tells the others if it has not saved, for which they wait."""
        before = self._saves
        checkpoint()
        if self._saves == before:
            self.group.broadcast(None)

    def save(self, path: str | Path) -> None:
        self._saves += 1
        self.group.broadcast((self.number, "save", (str(path),)))
        self.run.save(path)

    def load(self, path: str | Path) -> None:
        self.group.broadcast((self.number, "load", (str(path),)))
        self.run.load(path)

    def adopt(self, path: str | Path) -> None:
        self.group.broadcast((self.number, "adopt", (str(path),)))
        self.run.adopt(path)


def every_few(function: Callable[[], None]) -> Callable[[], None]:
    """What calls the function at every LISTEN-th call."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count % LISTEN == 0:
            function()

    return step


def lead(factory: Factory, script: Callable[[Factory], T]) -> T | None:
    """On rank 0, calls `script` with a factory whose runs train on all ranks, and returns its result; others return None.

    A call that raises raises on every rank alike, because all have the same config, position and files; followers go on.
    """
    group = Group.current()
    if group.rank > 0:
        _follow(group, factory)
        return None
    made = 0

    def make(config: Mapping[str, Any], seed: int, horizon: int) -> Run:
        nonlocal made
        made += 1
        group.broadcast((made, "make", (dict(config), seed, horizon)))
        return LedRun(group, made, factory(config, seed, horizon))

    try:
        return script(make)
    finally:
        group.broadcast(None)


def _follow(group: Group, factory: Factory) -> None:
    runs: dict[int, Run] = {}
    while (call := group.broadcast(None)) is not None:
        number, method, arguments = call
        try:
            if method == "make":
                runs[number] = factory(*arguments)
            elif method == "advance" and INSIDE in arguments:
                runs[number].advance(arguments[0], every_few(partial(_save_along, group, runs[number])))
            elif number in runs:
                getattr(runs[number], method)(*arguments)
        except (ValueError, OSError):  # rank 0 raises the same
            continue


def _save_along(group: Group, run: Run) -> None:
    """Saves inside an advance if rank 0 does."""
    if (call := group.broadcast(None)) is not None:
        run.save(*call[2])
