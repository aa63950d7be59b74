"""Which trainings fit into a worker's memory: a constraint of the space, and whether it leaves anything to search.

Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.job import LARGEST, GPTObjective, default, flat, space
from experiments.tune.machine import most_workers
from experiments.tune.settings import Settings, refusal
from models.predict.memory import MARGIN, fits_memory, memory

if TYPE_CHECKING:
    from models.predict.memory import Kind

TRIED = 1_000  # random configurations; if fewer than one in so many fit, the space could hardly be sampled

# What memory depends on besides LARGEST: choices, and numbers that need more memory if they are above 0.
KINDS = ("heads", "kv_heads", "positions", "norm", "activation", "qk_norm", "tie", "optimizer")
SWITCHES = {"dropout": 0.1, "z_loss": 1e-4, "ema": 0.9, "hypergradient": 0.01}
SIZES, ON = tuple(LARGEST.values()), (True,) * len(SWITCHES)


@dataclass(frozen=True)
class Fits:
    """Whether a training is predicted to fit into memory; a constraint of a space, and a Room of models.predict.memory.

    available   bytes that the training of one worker may take, besides the library's own
    kind        the kind of memory: "cpu" or "cuda"
    fixed       (name, value) of everything that memory depends on and that configurations do not hold, such as the vocabulary
    kernels     whether trainings on a CPU use models/engines/cpu if their configuration allows it
    """

    available: int
    kind: Kind
    fixed: tuple[tuple[str, Any], ...]
    kernels: bool = True

    def __call__(self, config: Mapping[str, Any]) -> bool:
        # A prediction takes longer than everything else that is done for a row, and an acquisition checks thousands of rows.
        # Many of them differ only in what memory does not depend on, and mostly the largest model of a kind fits.
        plain = flat(config)
        kinds = tuple(plain.get(name) for name in KINDS)
        if _fits(self, kinds, SIZES, ON):
            return True
        sizes = tuple(plain[name] for name in LARGEST)
        return _fits(self, kinds, sizes, tuple(plain.get(name, 0) > 0 for name in SWITCHES))

    def bytes_needed(self, config: Mapping[str, Any]) -> int:
        """The least `available` bytes with which a configuration fits."""
        told = memory({**dict(self.fixed), **flat(config)}, device=self.kind, kernels=self.kernels)
        return int(told.process * (1 + MARGIN)) + 1


@lru_cache(maxsize=1 << 15)
def _fits(room: Fits, kinds: tuple[Any, ...], sizes: tuple[int, ...], on: tuple[bool, ...]) -> bool:
    """Whether a training fits, by everything that memory depends on; None if a choice is not one of the space's."""
    chosen = {name: value for name, value in zip(KINDS, kinds, strict=True) if value is not None}
    switched = {name: value for (name, value), one in zip(SWITCHES.items(), on, strict=True) if one}
    return fits_memory({**dict(room.fixed), **chosen, **dict(zip(LARGEST, sizes, strict=True)), **switched}, room)


def worker_room(objective: GPTObjective, available: int, vocabulary: int, kernels: bool = True) -> Fits:
    """The constraint that a configuration is predicted to fit into so many bytes of the objective's device, on a text with this
    vocabulary.

    `kernels` says whether the machine has the kernels of models/engines/cpu; only an eager engine with one thread uses them.
    """
    kind: Kind = "cpu" if objective.device == "cpu" else "cuda"
    by_hand = kernels and objective.engine == "eager" and objective.threads == 1
    return Fits(available, kind, (("vocabulary", vocabulary), *objective.fixed_config.items()), by_hand)


def memory_room(settings: Settings, objective: GPTObjective, vocabulary: int) -> Fits | None:
    """The memory constraint of a worker by the settings; None without a limit, as in studies from before there was one."""
    if settings.memory is None:
        return None
    return worker_room(objective, settings.memory, vocabulary, settings.kernels is not False)


def check_room(settings: Settings, room: Fits, given: bool = True) -> None:
    """ValueError in one sentence if the space is (nearly) empty: of TRIED configurations none fits into a worker's memory.

    If the memory was not `given`, the error says that there are too many workers for the free memory.
    """
    whole = space(settings.space)
    tried = [whole.decode(row) for row in whole.domain.random(np.random.default_rng(0), TRIED)]
    if any(map(room, tried)):
        return
    least, usual = min(map(room.bytes_needed, tried)), room.bytes_needed(default(settings.space))
    why = (
        f"of {TRIED} configurations of the {settings.space} space none takes less at context {settings.context}, "
        f"and the default one takes {usual}"
    )
    if not given:
        raise _too_many_workers(settings, least, why)
    raise refusal("memory", settings.memory, f"at least {least} bytes for each of {settings.workers} workers: {why}")


def _too_many_workers(settings: Settings, least: int, why: str) -> ValueError:
    """The error for too many workers: each gets too little of the free memory. Even one may be too many."""
    most = min(settings.workers - 1, most_workers(settings.device, least))  # meanwhile more may have become free
    if most:
        words = f"at most {most} for each to have {least} bytes to train of what is free: {why}"
        return refusal("workers", settings.workers, words)
    return ValueError(f"what is free on {settings.device} leaves no worker {least} bytes to train: {why}")
