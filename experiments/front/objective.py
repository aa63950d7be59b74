"""A training that reports, beside its loss, the bytes of its weights and the milliseconds of a forward pass. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from experiments.job import GPTObjective

if TYPE_CHECKING:
    from models.train import TrainRun

OBJECTIVES: Mapping[str, str] = {"loss": "min", "bytes": "min", "ms": "min"}


@dataclass(frozen=True)
class FrontObjective:
    """A Run factory: the main job's, whose results have `bytes`, `ms` (the median) and its quartiles `ms_low` and `ms_high`.

    The time is measured in the process that trained, each time that a training pauses: `repeats` passes over `sequences`
    contexts, after `warmup` passes that do not count, on the device and with the precision and threads of the training.
    """

    job: GPTObjective
    sequences: int = 1
    warmup: int = 3
    repeats: int = 20

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

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        """Trains, then measures. A training that has diverged has no time, and is a failure already."""
        metrics, curve = self.run.advance(until)
        return {**metrics, **self._measure(isfinite(metrics["loss"]))}, curve

    def _measure(self, usable: bool) -> dict[str, float]:
        from models.inference import measure_inference, weight_bytes

        size = {"bytes": float(weight_bytes(self.run.model))}
        if not usable:
            return {**size, "ms": nan}
        how, job = self.objective, self.objective.job
        found = measure_inference(
            self.run.model, how.sequences, precision=job.precision, threads=job.threads, warmup=how.warmup, repeats=how.repeats
        ).forward
        return {**size, "ms": 1e3 * found.median, "ms_low": 1e3 * found.low, "ms_high": 1e3 * found.high}
