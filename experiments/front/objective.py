"""A training that reports, beside its loss, the bytes of its weights and the milliseconds of a forward pass. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from experiments.job import GPTObjective

if TYPE_CHECKING:
    from models.config import GPTConfig
    from models.train import TrainRun

OBJECTIVES: Mapping[str, str] = {"loss": "min", "bytes": "min", "ms": "min"}
IDLE: Mapping[str, Any] = {  # options of a model that a forward pass does not read, or does not take longer for
    "dropout": 0.0, "attention_dropout": 0.0, "embedding_dropout": 0.0, "layer_dropout": 0.0, "init_std": 0.02,
}  # fmt: skip


@dataclass(frozen=True)
class FrontObjective:
    """A Run factory: the main job's, whose results have `bytes`, `ms` (the median) and its quartiles `ms_low` and `ms_high`.

    The time is measured in the process that trained: `repeats` passes over `sequences` contexts, after `warmup` passes that do
    not count, on the device and with the precision and threads of the training. A process measures every shape once, when the
    first training of it pauses, because the time does not depend on what was learned. If each training were measured by
    itself, equal shapes would have times that differ by chance, and all of them would seem to be on the front.
    """

    job: GPTObjective
    sequences: int = 1
    warmup: int = 3
    repeats: int = 50

    def warm(self) -> None:
        """Imports and data that every trial needs."""
        import models.inference  # noqa: F401

        self.job.warm()

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> FrontRun:
        return FrontRun(self.job(config, seed, horizon), self)


class FrontRun:
    """A training of the main job with more metrics; a Run of the protocol."""

    def __init__(self, run: TrainRun, objective: FrontObjective) -> None:
        self.run, self.objective = run, objective
        self.save, self.load, self.adopt = run.save, run.load, run.adopt

    def advance(
        self, until: int, checkpoint: Callable[[], None] | None = None
    ) -> tuple[dict[str, float], list[tuple[int, float]]]:
        """Trains, then measures. A training that has diverged has no time, and is a failure already."""
        metrics, curve = self.run.advance(until, checkpoint)
        return {**metrics, **self._measure(isfinite(metrics["loss"]))}, curve

    def _measure(self, usable: bool) -> dict[str, float]:
        from models.inference import weight_bytes

        size = {"bytes": float(weight_bytes(self.run.model))}
        if not usable:
            return {**size, "ms": nan}
        low, median, high = measure_shape(replace(self.run.size, **IDLE), self.objective)
        return {**size, "ms": median, "ms_low": low, "ms_high": high}


@cache
def measure_shape(shape: GPTConfig, how: FrontObjective) -> tuple[float, float, float]:
    """The quartiles of the milliseconds of a pass, the median in the middle; measured once in a process."""
    from models.gpt import GPT
    from models.inference import measure_inference

    job = how.job
    found = measure_inference(
        GPT(shape), how.sequences, device=job.device, precision=job.precision, threads=job.threads, warmup=how.warmup,
        repeats=how.repeats,
    ).forward  # fmt: skip
    return 1e3 * found.low, 1e3 * found.median, 1e3 * found.high
